/** More users of a UDP service than there is room for, and the end of their flows. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { START_TIMEOUT_MS } from '../support/netns-world.ts';
import type { World } from '../support/netns-world.ts';
import { waitFor } from '../support/wait.ts';

/** Users of one port that a sidecar keeps, and that a provider keeps sockets for (docs/architecture.md). */
const MAX_FLOWS = 4096;
const MAX_PROVIDER_SOCKETS = 1024;
const USERS = MAX_FLOWS + 200;
/** The longest life of a silent flow is 60 s. */
const EXPIRED_WITHIN_MS = 100_000;

interface UdpReport {
  flows: number;
  flowsTotal: number;
  evicted: number;
}

/** Sends one question from each user to the DNS server `names`, which knows inside.example.org; what that left behind. */
export async function askAsManyUsers(world: World): Promise<string> {
  const script = join(process.cwd(), 'test/support/clients/udp-users.mjs');
  const before = await providerSockets(world);
  const { status, stdout, stderr } = await world.consumer.host.run(
    [process.execPath, script, 'names.default.svc', '53', 'inside.example.org', String(USERS)],
    { timeoutMs: 2 * START_TIMEOUT_MS },
  );
  assert.equal(status, 0, stderr);
  const { answered, again } = JSON.parse(stdout) as { answered: number; again: number };
  assert.equal(answered, USERS);
  const { flows, evicted } = await udpReport(world);
  assert.ok(flows <= MAX_FLOWS, `${flows} flows`);
  assert.ok(evicted >= USERS - MAX_FLOWS, `${evicted} evicted`);
  const sockets = (await providerSockets(world)) - before;
  assert.ok(sockets <= world.providers.length * MAX_PROVIDER_SOCKETS, `${sockets} sockets at the providers`);
  return `${USERS} users answered, ${again} questions asked again; ${flows} flows and ${sockets} sockets kept`;
}

/** Waits until all flows of the service are over, as they are when nobody has used them for a while. */
export async function untilFlowsEnd(world: World): Promise<void> {
  const isOver = async (): Promise<boolean> => (await udpReport(world)).flows === 0;
  await waitFor(isOver, {
    what: 'the end of silent flows',
    timeoutMs: EXPIRED_WITHIN_MS,
    intervalMs: 500,
  });
}

/** UDP sockets that are open on the providers' hosts. */
async function providerSockets(world: World): Promise<number> {
  const outputs = await Promise.all(
    world.providers.map(({ host }) => host.run(['ss', '-H', '-u', '-a', '-n'])),
  );
  return outputs.flatMap(({ stdout }) => stdout.split('\n')).filter((line) => line !== '').length;
}

async function udpReport(world: World): Promise<UdpReport> {
  const { stdout } = await world.consumer.host.run(['curl', '-sSf', 'http://127.0.0.1:7460/status']);
  const { services } = JSON.parse(stdout) as { services: { name: string; udp: UdpReport }[] };
  const report = services.find(({ name }) => name === 'names')?.udp;
  assert.ok(report, stdout);
  return report;
}
