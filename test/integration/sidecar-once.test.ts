/** Nothing is ever sent twice: requests with numbers, while every part that carries them is killed again and again. */
import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startNode, whenServed } from '../support/sidecar-world.ts';
import { waitFor } from '../support/wait.ts';

/** A service that notes each request, and answers it when it is whole. */
async function startLedger(t: TestContext, arrivals: Map<string, number>): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (!text.endsWith('\n')) return;
      arrivals.set(text, (arrivals.get(text) ?? 0) + 1);
      socket.end('noted\n');
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Sends one request at once, before anything is known of the way; whether it was answered. */
function send(where: { address: string; port: number }, request: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: where.address, port: where.port });
    let answer = '';
    socket.write(request);
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer === 'noted\n'));
  });
}

for (const [how, secret] of [
  ['plain', {}],
  ['sealed', { SIDECAR_SECRET_KEY: 's3cret' }],
] as const) {
  test(`while providers and Routers are killed no ${how} request arrives twice, and each that is answered once`, async (t) => {
    const node = await startNode(t);
    for (const name of ['node-1', 'node-2']) await node.createRouter(name);
    const routers = ['node-1', 'node-2'].map((name) => node.startRouter(name));
    const arrivals = new Map<string, number>();
    const targets = [await startLedger(t, arrivals), await startLedger(t, arrivals)];
    const provide = (at: number) =>
      node.startSidecar(`pod-${at}`, { SIDECAR_EXPORTED_SERVICES: `web=${targets[at]}`, ...secret });
    const providers = [await provide(0), await provide(1)];
    const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18150', ...secret });
    const untilWhole = () =>
      consumer.until(
        ({ services, routers: all }) =>
          all.every(({ phase }) => phase === 'online') &&
          services[0]?.providers.filter(({ ready, stale }) => ready && !stale).length === 4 &&
          'whole',
        'two providers at two Routers',
      );
    await untilWhole();
    const where = await whenServed(consumer, 'web');
    let sent = 0;
    let isOver = false;
    const answered = new Set<string>();
    const user = async (): Promise<void> => {
      while (!isOver) {
        const request = `request ${sent++}\n`;
        if (await send(where, request)) answered.add(request);
      }
    };
    const users = Array.from({ length: 8 }, () => user());
    const someMore = async (): Promise<void> => {
      const before = answered.size;
      await waitFor(() => answered.size > before + 50, { what: 'more answers' });
    };
    for (let round = 0; round < 2; round++) {
      await someMore();
      await providers[round]?.process.kill();
      await someMore();
      providers[round] = await provide(round);
      await untilWhole();
      await routers[round]?.kill();
      await someMore();
      routers[round] = node.startRouter(`node-${round + 1}`);
      await untilWhole();
    }
    isOver = true;
    await Promise.all(users);
    const twice = [...arrivals].filter(([, times]) => times !== 1);
    assert.deepEqual(twice, []);
    for (const request of answered) assert.ok(arrivals.has(request), request);
    const { services } = await consumer.status();
    t.diagnostic(
      `${sent} requests, ${answered.size} answered, ${arrivals.size} arrived; ${services[0]?.ejections} providers left out`,
    );
  });
}
