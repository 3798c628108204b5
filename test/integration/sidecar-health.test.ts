/** Health checks and failures of targets, through real processes: who gets connections, and that none is lost. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { abort } from '../support/echo-service.ts';
import { freePort } from '../support/ports.ts';
import { exchange, startNode, whenServed } from '../support/sidecar-world.ts';
import type { Sidecar } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

/** A service on a port of its own that can be stopped and started again. */
interface Target {
  readonly port: number;
  start(): Promise<void>;
  /** Closes its port and its connections, as when the process dies. */
  stop(): Promise<void>;
}

async function createTarget(
  t: TestContext,
  name: string,
  answer?: (text: string) => string,
): Promise<Target> {
  const port = await freePort();
  let server: Server | undefined;
  const open = new Set<Socket>();
  const target: Target = {
    port,
    start: () =>
      new Promise((resolve, reject) => {
        server = createServer({ allowHalfOpen: true }, (socket) => {
          let text = '';
          open.add(socket);
          socket.on('data', (chunk: Buffer) => {
            text += chunk.toString();
            if (answer !== undefined) socket.end(answer(text));
          });
          socket.on('end', () => socket.end(`${name}:${text}`));
          socket.on('error', () => {});
          socket.on('close', () => open.delete(socket));
        });
        server.once('error', reject);
        server.listen(port, '127.0.0.1', () => resolve());
      }),
    stop: () =>
      new Promise((resolve) => {
        open.forEach(abort);
        if (server === undefined) resolve();
        else server.close(() => resolve());
        server = undefined;
      }),
  };
  await target.start();
  t.after(() => target.stop());
  return target;
}

async function startPair(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  return { node, one: await createTarget(t, 'one'), two: await createTarget(t, 'two') };
}

const readyOf = (consumer: Sidecar, count: number) =>
  consumer.until(
    ({ services }) => services[0]?.providers.filter(({ ready }) => ready).length === count,
    `${count} ready providers`,
  );

test('a provider whose target dies leaves rotation and comes back, and no connection notices', async (t) => {
  const { node, one, two } = await startPair(t);
  const config = join(tempDir(t), 'sidecar.yaml');
  writeFileSync(config, 'services: [{name: web, healthCheck: {interval: 200ms}}]\n');
  const export_ = (pod: string, target: Target) =>
    node.startSidecar(pod, { SIDECAR_EXPORTED_SERVICES: `web=${target.port}`, SIDECAR_CONFIG: config });
  const sick = await export_('pod-1', one);
  await export_('pod-2', two);
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18091' });
  await readyOf(consumer, 2);
  const { address, port } = await whenServed(consumer, 'web');
  const answers: string[] = [];
  let isOver = false;
  let pause: Promise<void> = Promise.resolve();
  const load = (async () => {
    for (; !isOver; await pause) answers.push(await exchange(address, port, 'x'));
  })();
  await waitFor(() => answers.includes('one:x') && answers.includes('two:x'), { what: 'answers of both' });
  // A connection that the target has taken dies with it; the ones that come after must not notice.
  const before = answers.length;
  pause = (async () => {
    await waitFor(() => answers.length > before, { what: 'the answer under way' });
    await one.stop();
  })();
  await pause;
  // it registers anew, so that it is not listed at all for a moment
  const away = await consumer.until(
    ({ services }) => services[0]?.providers.find(({ ready }) => !ready),
    'the provider that is not ready',
  );
  assert.equal(away.id, 'web.default.pod-1');
  assert.match(away.message, /^127\.0\.0\.1:\d+: connection refused$/u);
  assert.equal((await sick.status()).exports[0]?.health?.healthy, false);
  const since = answers.length;
  await waitFor(() => answers.length > since + 5, { what: 'answers meanwhile' });
  assert.ok(answers.slice(since + 1).every((answer) => answer === 'two:x'));
  await one.start();
  await readyOf(consumer, 2);
  const back = answers.length;
  await waitFor(() => answers.slice(back).includes('one:x'), { what: 'answers of the first again' });
  isOver = true;
  await load; // rejects when one of the connections was reset
});

test('an http check follows the answers of the service, and holds back a service that is not ready yet', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  let status = '503 Service Unavailable';
  const target = await createTarget(t, 'web', () => `HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`);
  const exportsFile = join(tempDir(t), 'exports.yaml');
  writeFileSync(
    exportsFile,
    `services: [{name: web, ports: [{port: ${target.port}}], healthCheck: {type: http, path: /live, interval: 100ms, failureThreshold: 2}}]\n`,
  );
  await node.startSidecar('provider', { SIDECAR_EXPORTS_FILE: exportsFile });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18092' });
  const message = await consumer.until(({ services }) => services[0]?.providers[0]?.message, 'a reason');
  assert.match(message, /GET \/live answered 503/u);
  assert.equal((await consumer.status()).services[0]?.state, 'noProvider');
  status = '200 OK';
  await readyOf(consumer, 1);
  status = '500 Internal Server Error';
  await readyOf(consumer, 0);
});

test('a connection whose provider cannot reach its target goes to another one, also sealed', async (t) => {
  const { node, one, two } = await startPair(t);
  const SIDECAR_SECRET_KEY = 's3cret';
  const unchecked = { SIDECAR_SECRET_KEY };
  await node.startSidecar('pod-1', { ...unchecked, SIDECAR_EXPORTED_SERVICES: `web=${one.port}` });
  await node.startSidecar('pod-2', { ...unchecked, SIDECAR_EXPORTED_SERVICES: `web=${two.port}` });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18093',
    SIDECAR_EJECT_TIME: '5m',
    SIDECAR_SECRET_KEY,
  });
  await readyOf(consumer, 2);
  const { address, port } = await whenServed(consumer, 'web');
  await one.stop();
  for (let round = 0; round < 12; round++)
    assert.equal(await exchange(address, port, `r${round}`), `two:r${round}`);
  const { services, parked } = await consumer.status();
  assert.equal(services[0]?.sealed, true);
  assert.equal(services[0].ejected, 1);
  // Three times, then it was left out; every second one would have met it.
  assert.ok(parked.retried >= 3 && parked.retried < 6, `${parked.retried} were opened again`);
  await two.stop();
  const waiting = exchange(address, port, 'late');
  await consumer.until((status) => status.parked.parked === 1, 'parked');
  await one.start(); // left out, and taken all the same: there is nobody else
  assert.equal(await waiting, 'one:late');
});

test('a connection is not repeated once a byte of it may have arrived', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const seen: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (chunk: Buffer) => {
      seen.push(chunk.toString());
      socket.resetAndDestroy(); // dies in the middle of the request
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => void server.close());
  const target = (server.address() as { port: number }).port;
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18094' });
  const { address, port } = await whenServed(consumer, 'web');
  await assert.rejects(exchange(address, port, 'pay once'), { code: 'ECONNRESET' });
  assert.deepEqual(seen, ['pay once']);
  assert.equal((await consumer.status()).parked.retried, 0);
});
