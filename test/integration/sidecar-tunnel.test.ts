/** Sidecars through Routers, all as processes: connections by name, failover, restarts of every part, drain. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startHttpService, fileSha256 } from '../support/http-service.ts';
import { exchange, startNode, whenServed } from '../support/sidecar-world.ts';
import { waitFor } from '../support/wait.ts';

/** A service that answers a whole request with its name and the request. */
async function startAnswering(t: TestContext, name: string): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('end', () => socket.end(`${name}:${text}`));
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
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

/** A connection that stays open and echoes by hand: resolves what the other side sends next. */
function keepOpen(t: TestContext, host: string, port: number): Socket {
  const socket = connect({ host, port });
  socket.on('error', () => {});
  t.after(() => void socket.destroy());
  return socket;
}

async function startOneRouter(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const router = node.startRouter('node-1');
  return { node, router };
}

test('an application reaches a service by its name, with half-close', async (t) => {
  const { node } = await startOneRouter(t);
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `web=${target}`,
    SIDECAR_SECRET_KEY: 's3cret',
  });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web',
    SIDECAR_SECRET_KEY: 's3cret',
  });
  const { address, port } = await whenServed(consumer, 'web');
  assert.equal(port, target);
  assert.equal(await consumer.resolve('web.default.svc.cluster.local'), address);
  assert.equal(await exchange(address, port, 'hello'), 'web:hello');
  const answers = await Promise.all(Array.from({ length: 50 }, (_, at) => exchange(address, port, `n${at}`)));
  assert.deepEqual(
    answers,
    Array.from({ length: 50 }, (_, at) => `web:n${at}`),
  );
  await consumer.until(
    ({ services }) => services[0]?.connections === 0 && services[0].connectionsTotal === 51,
    'all counted out',
  );
});

test('a large answer arrives whole', async (t) => {
  const { node } = await startOneRouter(t);
  const service = await startHttpService(t);
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `files=${service.port}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'files:18080' });
  const { address, port } = await whenServed(consumer, 'files');
  assert.equal(port, 18_080);
  const size = 8 * 1024 * 1024;
  const answer = await fetch(`http://${address}:${port}/file?size=${size}`);
  const body = Buffer.from(await answer.arrayBuffer());
  assert.equal(createHash('sha256').update(body).digest('hex'), fileSha256(size));
});

test('another secret does not open the service', async (t) => {
  const { node } = await startOneRouter(t);
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `web=${target}`,
    SIDECAR_SECRET_KEY: 'one',
  });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web',
    SIDECAR_SECRET_KEY: 'two',
    SIDECAR_PARK_TIMEOUT: '300ms',
  });
  const { address, port } = await whenServed(consumer, 'web');
  await assert.rejects(exchange(address, port, 'hello'), { code: 'ECONNRESET' });
  assert.ok((await consumer.status()).parked.failed >= 1);
});

test('a connection waits while there is no provider and continues when one comes', async (t) => {
  const { node } = await startOneRouter(t);
  const target = await startAnswering(t, 'web');
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18081' });
  await consumer.until(({ services }) => services[0]?.ports[0]?.state === 'listening', 'listening');
  const { services } = await consumer.status();
  const answer = exchange(services[0]?.address ?? '', 18_081, 'early');
  await consumer.until(({ parked }) => parked.parked === 1, 'parked');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  assert.equal(await answer, 'web:early');
});

test('two ports of a service lead to their own targets', async (t) => {
  const { node } = await startOneRouter(t);
  const [one, two] = [await startAnswering(t, 'one'), await startAnswering(t, 'two')];
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${one},web=${two}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  await consumer.until(
    ({ services }) => services[0]?.ports.length === 2 && services[0].state === 'ready',
    'both ports',
  );
  const { address } = await whenServed(consumer, 'web');
  for (let round = 0; round < 3; round++) {
    assert.equal(await exchange(address, one, 'x'), 'one:x');
    assert.equal(await exchange(address, two, 'x'), 'two:x');
  }
});

test('a provider that dies is replaced by the other', async (t) => {
  const { node } = await startOneRouter(t);
  const [one, two] = [await startAnswering(t, 'one'), await startAnswering(t, 'two')];
  const first = await node.startSidecar('pod-1', { SIDECAR_EXPORTED_SERVICES: `web=${one}` });
  await node.startSidecar('pod-2', { SIDECAR_EXPORTED_SERVICES: `web=${two}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18082' });
  await consumer.until(
    ({ services }) => services[0]?.providers.filter(({ ready }) => ready).length === 2,
    'two providers',
  );
  const { address, port } = await whenServed(consumer, 'web');
  const seen = new Set<string>();
  await waitFor(
    async () => {
      for (const answer of await Promise.all(Array.from({ length: 8 }, () => exchange(address, port, ''))))
        seen.add(answer);
      return seen.has('one:') && seen.has('two:');
    },
    { what: 'answers of both providers' },
  );
  await first.process.kill();
  await waitFor(
    async () =>
      (await Promise.all(Array.from({ length: 4 }, () => exchange(address, port, '')))).every(
        (answer) => answer === 'two:',
      ),
    {
      what: 'only the second provider answers',
    },
  );
});

test('new connections use another Router when one is killed, without a failure', async (t) => {
  const { node, router } = await startOneRouter(t);
  await node.createRouter('node-2');
  node.startRouter('node-2');
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  await consumer.until(
    ({ services, routers }) =>
      new Set(services[0]?.providers.map((provider) => provider.router)).size === 2 &&
      routers.every(({ phase }) => phase === 'online'),
    'both Routers',
  );
  const { address, port } = await whenServed(consumer, 'web');
  assert.equal(await exchange(address, port, 'a'), 'web:a');
  await router.kill();
  for (let round = 0; round < 10; round++)
    assert.equal(await exchange(address, port, `r${round}`), `web:r${round}`);
});

test('a Router that hangs without a word delays few connections and fails none', async (t) => {
  const { node, router } = await startOneRouter(t);
  await node.createRouter('node-2');
  node.startRouter('node-2');
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  await consumer.until(
    ({ services, routers }) =>
      new Set(services[0]?.providers.map((provider) => provider.router)).size === 2 &&
      routers.every(({ phase }) => phase === 'online'),
    'both Routers',
  );
  const { address, port } = await whenServed(consumer, 'web');
  router.signal('SIGSTOP');
  const startedAt = performance.now();
  for (let round = 0; round < 20; round++) {
    assert.equal(await exchange(address, port, `r${round}`), `web:r${round}`);
  }
  // The others knew better; every second one would have been delayed. A Router is tried again every five seconds.
  const { retried } = (await consumer.status()).parked;
  const periods = Math.ceil((performance.now() - startedAt) / 5000);
  assert.ok(retried <= periods, `${retried} were delayed in ${periods} periods`);
});

test('when the only Router is restarted connections wait for it and work again', async (t) => {
  const { node, router } = await startOneRouter(t);
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  const { address, port } = await whenServed(consumer, 'web');
  await router.kill();
  node.startRouter('node-1');
  await waitFor(() => exchange(address, port, 'again'), {
    what: 'an answer through the restarted Router',
  });
});

test('open and new connections go on while the API server is away', async (t) => {
  const { node } = await startOneRouter(t);
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  const { address, port } = await whenServed(consumer, 'web');
  const socket = keepOpen(t, address, port);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.write('first ');
  await consumer.until(({ services }) => services[0]?.connections === 1, 'open');
  await node.apiserver.kill();
  await consumer.until(({ apiserver }) => !apiserver.connected, 'API server away');
  assert.equal(await exchange(address, port, 'new'), 'web:new');
  assert.equal(await consumer.resolve('web'), address);
  socket.end('second');
  await waitFor(() => answer === 'web:first second', { what: 'answer on the old connection' });
  await node.startApiserver();
  await consumer.until(({ apiserver }) => apiserver.connected, 'API server back');
  assert.equal(await exchange(address, port, 'after'), 'web:after');
});

test('a drain lets open connections end and refuses new ones', async (t) => {
  const { node } = await startOneRouter(t);
  const target = await startAnswering(t, 'web');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${target}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  const { address, port } = await whenServed(consumer, 'web');
  const socket = keepOpen(t, address, port);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.write('slow ');
  await consumer.until(({ services }) => services[0]?.connections === 1, 'open');
  consumer.process.signal('SIGTERM');
  await waitFor(async () => (await consumer.get('/readyz')).status === 503, { what: 'not ready' });
  await assert.rejects(exchange(address, port, 'late'), { code: 'ECONNREFUSED' });
  socket.end('request');
  await waitFor(() => answer === 'web:slow request', { what: 'answer during the drain' });
  await consumer.process.assertExit(0);
});
