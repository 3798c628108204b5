/** What one stream carries over a long line, bare and through edge; figures for docs/benchmarks.md, no test of anything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { World } from '../support/netns-world.ts';
import type { LineQuality } from '../support/slow-line.ts';
import { waitFor } from '../support/wait.ts';

const MIB = 256;
const PORT = 9000;
const RUN_WITHIN_MS = 120_000;
/** Linux's 4 MiB a socket are half of what is on such a line: buffers a host would be given that has one. */
const SEND_BUFFERS = '4096 65536 33554432';
const LINES: Record<string, LineQuality> = {
  '50 ms': { roundTripMs: 50, offload: true },
  '50 ms, packets of 1500 bytes': { roundTripMs: 50 },
  '50 ms, packets of 1500 bytes, 1 % loss': { roundTripMs: 50, lossPercent: 1, seed: 7 },
};

/** Adds a test that prints the figures; `content` is at least 256 MiB that the provider's service `web` serves. */
export function lineFigures(world: () => World, content: () => string): void {
  /** Seconds from the provider to a cloud, by TCP alone: what the line and the hosts can do. */
  async function bare(t: Parameters<World['provider']['host']['start']>[0]): Promise<number> {
    const { provider, clouds } = world();
    const [{ host }] = clouds;
    const sink = host.start(t, ['sh', '-c', `nc -l ${PORT} | wc -c`]);
    const isListening = async (): Promise<boolean> =>
      (await host.run(['ss', '-Hltn', `sport = :${PORT}`])).stdout !== '';
    await waitFor(isListening, { what: 'nc listens' });
    const start = performance.now();
    const send = `head -c ${MIB}M ${content()} | nc -N ${host.address} ${PORT}`;
    const { status, stderr } = await provider.host.run(['sh', '-c', send], { timeoutMs: RUN_WITHIN_MS });
    assert.equal(status, 0, stderr);
    await sink.exited;
    assert.equal(Number(sink.stdout), MIB * 1024 * 1024);
    return (performance.now() - start) / 1000;
  }

  /** Seconds from the provider's nginx to the consumer's curl, by name. */
  async function throughEdge(): Promise<number> {
    const start = performance.now();
    const range = `0-${MIB * 1024 * 1024 - 1}`;
    const { status, stdout, stderr } = await world().consumer.host.run(
      ['sh', '-c', `curl -sSf -r ${range} http://web.default.svc/content | wc -c`],
      { timeoutMs: RUN_WITHIN_MS },
    );
    assert.equal(status, 0, stderr);
    assert.equal(Number(stdout), MIB * 1024 * 1024);
    return (performance.now() - start) / 1000;
  }

  test('figures of one stream over a long line', async (t) => {
    const { host } = world().provider;
    t.after(() => host.heal());
    for (const each of [host, ...world().clouds.map((cloud) => cloud.host)])
      await each.run(['sh', '-c', `echo '${SEND_BUFFERS}' >/proc/sys/net/ipv4/tcp_wmem`]);
    const rate = (seconds: number): string => `${Math.round((MIB * 1024 * 1024 * 8) / 1e6 / seconds)} Mbit/s`;
    for (const [name, quality] of Object.entries(LINES)) {
      await host.degrade(quality);
      const figures: string[] = [];
      for (let round = 0; round < 3; round++)
        figures.push(`bare ${rate(await bare(t))}, edge ${rate(await throughEdge())}`);
      t.diagnostic(`${name}: ${figures.join('; ')}`);
    }
  });
}
