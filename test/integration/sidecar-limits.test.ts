/** What bounds the connections of a service: idle time, their number at either end, waiting for a provider. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { dial, startEcho } from '../support/echo-service.ts';
import type { TcpUser } from '../support/echo-service.ts';
import { startProcess } from '../support/processes.ts';
import { startNode, whenServed } from '../support/sidecar-world.ts';
import type { Sidecar } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

async function startOneRouter(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  return node;
}

/** A configuration file with settings of single services. */
function withServices(t: TestContext, services: readonly Record<string, unknown>[]): string {
  const path = join(tempDir(t), 'sidecar.yaml');
  writeFileSync(path, JSON.stringify({ services }));
  return path;
}

/** The value of a metric, with labels where it has some. */
async function metric(sidecar: Sidecar, name: string): Promise<number> {
  const { text } = await sidecar.get('/metrics');
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  assert.ok(line, `${name} in:\n${text}`);
  return Number(line.slice(name.length));
}

const untilHeard = (user: TcpUser, text: string) =>
  waitFor(() => user.received === text, { what: `"${text}"` });

for (const end of ['consumer', 'provider'] as const) {
  test(`a connection without a byte is closed after the idle time of the ${end}, one with bytes and other services are not`, async (t) => {
    const node = await startOneRouter(t);
    const echo = await startEcho(t);
    const SIDECAR_CONFIG = withServices(t, [{ name: 'web', idleTimeout: '2s' }]);
    const limit = (where: string): Record<string, string> => (where === end ? { SIDECAR_CONFIG } : {});
    await node.startSidecar('provider', {
      SIDECAR_EXPORTED_SERVICES: `web=${echo.port},db=${echo.port}`,
      ...limit('provider'),
    });
    const consumer = await node.startSidecar('consumer', {
      SIDECAR_MAPPED_SERVICES: 'web:18110,db:18111',
      ...limit('consumer'),
    });
    const [web, db] = [await whenServed(consumer, 'web'), await whenServed(consumer, 'db')];
    const [busy, idle, other] = [dial(t, web), dial(t, web), dial(t, db)];
    const talk = setInterval(() => busy.socket.write('.'), 100);
    t.after(() => clearInterval(talk));
    for (const user of [idle, other]) user.socket.write('x');
    for (const user of [idle, other]) await untilHeard(user, 'x');
    const idleSince = performance.now();
    assert.equal(await idle.closed, 'ECONNRESET');
    const afterMs = performance.now() - idleSince;
    assert.ok(afterMs >= 1000 && afterMs < 15_000, `closed after ${afterMs} ms`);
    const heard = busy.received.length;
    await waitFor(() => busy.received.length > heard + 2, { what: 'more on the busy connection' });
    other.socket.write('y');
    await untilHeard(other, 'xy');
    await waitFor(() => echo.open === 2, { what: 'the end at the target' });
    assert.equal(await metric(consumer, 'edge_sidecar_connections{service="web.default"}'), 1);
  });
}

test('a service has no more connections than its consumer allows; further ones are reset and counted', async (t) => {
  const node = await startOneRouter(t);
  const echo = await startEcho(t, 'hello ');
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${echo.port},db=${echo.port}` });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18112,db:18113',
    SIDECAR_CONFIG: withServices(t, [{ name: 'web', maxConnections: 2 }]),
  });
  const [web, db] = [await whenServed(consumer, 'web'), await whenServed(consumer, 'db')];
  const [one, two] = [dial(t, web), dial(t, web)];
  for (const user of [one, two]) await untilHeard(user, 'hello ');
  assert.equal(await dial(t, web).closed, 'ECONNRESET');
  await untilHeard(dial(t, db), 'hello '); // its neighbour is not touched
  one.socket.write('still here');
  await untilHeard(one, 'hello still here');
  assert.equal(await metric(consumer, 'edge_sidecar_connections_rejected_total{service="web.default"}'), 1);
  assert.equal(echo.total, 3);
  two.socket.end();
  await two.closed;
  await consumer.until(({ services }) => services[0]?.connections === 1, 'room');
  await untilHeard(dial(t, web), 'hello ');
});

test('a provider that has as many connections as it takes leaves further ones to another, or lets them wait', async (t) => {
  const node = await startOneRouter(t);
  const [small, large] = [await startEcho(t, 'small'), await startEcho(t, 'large')];
  const SIDECAR_CONFIG = withServices(t, [{ name: 'web', maxConnections: 1 }]);
  const pod = await node.startSidecar('pod-1', {
    SIDECAR_EXPORTED_SERVICES: `web=${small.port}`,
    SIDECAR_CONFIG,
  });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18114',
    SIDECAR_EJECT_AFTER: '0',
  });
  const web = await whenServed(consumer, 'web');
  const first = dial(t, web);
  await untilHeard(first, 'small');
  const waiting = dial(t, web);
  await consumer.until(({ parked }) => parked.parked === 1, 'the second one waits');
  await node.startSidecar('pod-2', { SIDECAR_EXPORTED_SERVICES: `web=${large.port}` });
  await untilHeard(waiting, 'large');
  for (let round = 0; round < 4; round++) {
    const next = dial(t, web);
    await untilHeard(next, 'large');
  }
  assert.equal(small.total, 1);
  assert.ok(
    (await metric(pod, 'edge_sidecar_export_refused_total{proxy="web.default.pod-1"}')) >= 1,
    'refusals are counted',
  );
  first.socket.end();
  await first.closed;
  await waitFor(
    async () => {
      const user = dial(t, web);
      await waitFor(() => user.received !== '', { what: 'a greeting' });
      user.socket.destroy();
      return user.received === 'small';
    },
    { what: 'the first one again' },
  );
});

/** A port that takes no connection and refuses none: its program is stopped, and the queue of the kernel is full. */
async function startHung(t: TestContext): Promise<number> {
  const script =
    "require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log('port ' + this.address().port) })";
  const hung = startProcess(t, process.execPath, ['-e', script], { name: 'a program that hangs' });
  const port = Number((await hung.waitForLine(/^port /u)).slice('port '.length));
  hung.signal('SIGSTOP');
  const fillers: TcpUser[] = [];
  const isFull = async (): Promise<boolean> => {
    const filler = dial(t, { address: '127.0.0.1', port });
    fillers.push(filler);
    let isOpen = false;
    filler.socket.once('connect', () => (isOpen = true));
    await waitFor(() => isOpen, { what: 'a place in the queue', timeoutMs: 300 }).catch(() => {});
    await new Promise((resolve) => setImmediate(resolve)); // what has happened by now is told first
    return !isOpen;
  };
  await waitFor(isFull, { what: 'a full queue' });
  return port;
}

test('a target that does not answer in its time is given up, and another provider takes the connection', async (t) => {
  const node = await startOneRouter(t);
  const well = await startEcho(t, 'well');
  const SIDECAR_CONFIG = withServices(t, [{ name: 'web', connectTimeout: '400ms' }]);
  const pod = await node.startSidecar('pod-1', {
    SIDECAR_EXPORTED_SERVICES: `web=${await startHung(t)}`,
    SIDECAR_CONFIG,
  });
  await node.startSidecar('pod-2', { SIDECAR_EXPORTED_SERVICES: `web=${well.port}` });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18117',
    SIDECAR_EJECT_AFTER: '0',
  });
  await consumer.until(({ services }) => services[0]?.providers.length === 2, 'two providers');
  const web = await whenServed(consumer, 'web');
  for (let round = 0; round < 4; round++) assert.equal(await dial(t, web).first, 'well');
  await pod.process.waitForLine(/cannot reach an exported service.*no answer in 0\.4s/u);
  assert.ok((await consumer.status()).parked.retried >= 1);
});

test('connections that wait for a provider are bounded in number and time, and counted', async (t) => {
  const node = await startOneRouter(t);
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18115,db:18116',
    SIDECAR_MAX_PARKED: '2',
    SIDECAR_PARK_TIMEOUT: '6s',
  });
  const services = await consumer.until(
    ({ phase, services: all }) =>
      phase === 'ready' && all.every(({ ports }) => ports[0]?.state === 'listening') ? all : undefined,
    'listening',
  );
  const [web, db] = services.map(({ address, ports }) => ({ address, port: ports[0]?.port ?? 0 }));
  assert.ok(web && db);
  const startedAt = performance.now();
  const parked = [dial(t, web), dial(t, db)];
  await consumer.until((status) => status.parked.parked === 2, 'two wait');
  assert.equal(await metric(consumer, 'edge_sidecar_parked_connections'), 2);
  const third = dial(t, web);
  assert.equal(await third.closed, 'ECONNRESET');
  const refusedMs = performance.now() - startedAt;
  for (const user of parked) assert.equal(await user.closed, 'ECONNRESET');
  const parkedMs = performance.now() - startedAt;
  assert.ok(refusedMs < parkedMs - 200, `refused after ${refusedMs} ms, given up after ${parkedMs} ms`);
  assert.ok(parkedMs >= 5900 && parkedMs < 30_000, `given up after ${parkedMs} ms`);
  assert.equal(await metric(consumer, 'edge_sidecar_parked_connections'), 0);
  assert.equal(await metric(consumer, 'edge_sidecar_parked_connections_total'), 2);
  assert.equal(await metric(consumer, 'edge_sidecar_connect_failures_total'), 3);
});
