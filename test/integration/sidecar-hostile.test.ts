/** A sidecar among things that go wrong on purpose: an API server that raves, a Router's object that goes, a full disk. */
import assert from 'node:assert/strict';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { API_VERSION, ROUTERS } from '../../src/api/edge.ts';
import type { Router } from '../../src/api/gen/types.ts';
import { dial, startEcho } from '../support/echo-service.ts';
import type { TcpUser } from '../support/echo-service.ts';
import { residentMiB } from '../support/hostile-peer.ts';
import { freePorts } from '../support/ports.ts';
import { startNode, whenServed } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

/** A node with a Router, a provider of `web` and a consumer that uses it. */
async function startUse(t: TestContext, port: number, env: Record<string, string> = {}) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  // while it drains there is time for all that a test does
  const router = node.startRouter('node-1', undefined, { EDGE_DRAIN_TIMEOUT: '2m' });
  const echo = await startEcho(t);
  const provider = await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${echo.port}` });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: `web:${port}`, ...env });
  const where = await whenServed(consumer, 'web');
  return { node, router, echo, provider, consumer, where };
}

/** Sends something and waits for it to come back. */
async function echoes(user: TcpUser, text: string): Promise<void> {
  const before = user.received;
  user.socket.write(text);
  await waitFor(() => user.received === `${before}${text}`, { what: `the echo of ${text}` });
}

const RAVINGS: Readonly<Record<string, (path: string) => [status: number, type: string, body: string]>> = {
  errors: () => [500, 'application/json', '{"kind":"Status","status":"Failure","code":500,"message":"oops"}'],
  pages: () => [200, 'text/html', '<html><body>Welcome to the hotel. Please log in.</body></html>'],
  garbage: () => [200, 'application/json', '{"items":[{"metadata":{"name":"node-1"}'],
  'other things': () => [200, 'application/json', '[1,2,3]'],
  'broken objects': (path) =>
    path.includes('watch=')
      ? [
          200,
          'application/json',
          '{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n{"type":"MODIFIED"}\n7\n',
        ]
      : [
          200,
          'application/json',
          '{"metadata":{"resourceVersion":"1"},"items":[null,{},{"metadata":{"name":"y"},"spec":7}]}',
        ],
};

test('an API server that answers with errors, pages or garbage breaks no connection, old or new', async (t) => {
  const { node, consumer, where } = await startUse(t, 18_140);
  const old = dial(t, where);
  await echoes(old, 'before');
  await node.apiserver.kill();
  await consumer.until(({ apiserver }) => !apiserver.connected, 'API server away');
  let rave = RAVINGS['errors'];
  let requests = 0;
  const raving = createServer((request, response) => {
    requests++;
    const [status, type, body] = rave?.(request.url ?? '') ?? [500, '', ''];
    response.writeHead(status, { 'content-type': type }).end(body);
  });
  await new Promise<void>((resolve) => {
    raving.listen(Number(new URL(node.server).port), '127.0.0.1', resolve);
  });
  t.after(() => void raving.close());
  for (const [what, answer] of Object.entries(RAVINGS)) {
    rave = answer;
    const asked = requests;
    const since = performance.now();
    await waitFor(() => requests >= asked + 3, { what: `three requests that get ${what}` });
    await echoes(old, ` during ${what}`);
    if (what !== 'broken objects') await echoes(dial(t, where), `new during ${what}`);
    // Three programs ask here, each about once a second.
    const perSecond = (requests - asked) / Math.max((performance.now() - since) / 1000, 1);
    assert.ok(perSecond < 30, `${perSecond} requests a second during ${what}`);
  }
  const lines = consumer.process.stderr.split('\n').length;
  assert.ok(lines < 60, `${lines} lines of log:\n${consumer.process.stderr}`);
  assert.doesNotMatch(consumer.process.stderr, /cannot apply the current state|unhandled/u);
  raving.closeAllConnections();
  await new Promise<void>((resolve) => {
    raving.close(() => resolve());
  });
  await node.startApiserver();
  await consumer.until(({ apiserver }) => apiserver.connected, 'the API server back');
  await echoes(old, ' after');
  await echoes(dial(t, where), 'new after');
});

test("a Router's object that is removed and made anew breaks no connection", async (t) => {
  const { node, router, consumer, where } = await startUse(t, 18_141);
  const old = dial(t, where);
  await echoes(old, 'before');
  const { spec } = await node.client.get<Router>(ROUTERS, 'node-1');
  await node.client.delete(ROUTERS, 'node-1');
  await router.waitForLine(/the Router object was deleted, draining/u);
  await consumer.until(({ routers }) => routers.length === 0, 'no Router');
  await echoes(old, ' meanwhile');
  const waiting = dial(t, where);
  await consumer.until(({ parked }) => parked.parked === 1, 'one that waits');
  await node.client.create<Router>(ROUTERS, {
    apiVersion: API_VERSION,
    kind: 'Router',
    metadata: { name: 'node-1' },
    spec,
  });
  await echoes(waiting, 'waited');
  await echoes(old, ' after');
  await echoes(dial(t, where), 'new');
  assert.equal((await consumer.status()).services[0]?.connections, 3);
});

test('a Router that moves to another port breaks no connection', async (t) => {
  const { node, router, consumer, provider, where } = await startUse(t, 18_142);
  const old = dial(t, where);
  await echoes(old, 'before');
  const [bindPort = 0] = await freePorts(1);
  await node.client.patch(ROUTERS, 'node-1', { spec: { frps: { bindPort } } }, { type: 'merge' });
  await router.waitForLine(/tunnel server reconfigured/u);
  await waitFor(
    async () => (await node.client.get<Router>(ROUTERS, 'node-1')).status?.observedGeneration === 2,
    { what: 'the status' },
  );
  for (let round = 0; round < 3; round++) await echoes(dial(t, where), `new ${round}`);
  await echoes(old, ' after');
  await router.kill();
  node.startRouter('node-1');
  await waitFor(
    async () => {
      const user = dial(t, where);
      user.socket.write('x');
      return (await user.first) === 'x';
    },
    { what: 'an answer by way of the new port' },
  );
  for (const sidecar of [consumer, provider]) {
    const { routers } = await sidecar.status();
    assert.equal(routers[0]?.address, `127.0.0.1:${bindPort}`);
  }
});

test('many services and reloads in a row leave nothing behind and touch no connection', async (t) => {
  const config = join(tempDir(t), 'sidecar.yaml');
  const odd = ['constructor', 'tostring', '0', 'xn--e1afmkfd', `l${'o'.repeat(61)}g`, 'a--b'];
  const write = (...extra: string[]): void => {
    const names = [...Array.from({ length: 120 }, (_, at) => `svc${at}`), ...odd, ...extra];
    writeFileSync(
      config,
      JSON.stringify({
        mappedServices: ['web:18143', ...names.map((name, at) => `${name}:${19_000 + at}`)],
        services: names.map((name) => ({ name, aliases: [`${name}.example.org`], idleTimeout: '1h' })),
      }),
    );
  };
  write();
  const { consumer, where } = await startUse(t, 18_143, {
    SIDECAR_MAPPED_SERVICES: '',
    SIDECAR_CONFIG: config,
  });
  const areServed = (count: number) =>
    consumer.until(
      ({ services }) =>
        services.length === count && services.every(({ ports }) => ports[0]?.state === 'listening') && 'all',
      `${count} services`,
    );
  await areServed(127);
  for (const name of odd) assert.match(await consumer.resolve(name), /^127\.0\.66\.\d+$/u, name);
  const { services } = await consumer.status();
  assert.equal(await consumer.resolve('SVC7.example.org'), await consumer.resolve('svc7'));
  assert.equal(new Set(services.map(({ address }) => address)).size, 127);
  const old = dial(t, where);
  await echoes(old, 'before');
  const { pid } = consumer.process;
  const files = (): number => readdirSync(`/proc/${pid}/fd`).length;
  const reload = async (round: number): Promise<void> => {
    write(...(round % 2 === 0 ? ['extra'] : []));
    const told = (consumer.process.stderr.match(/ reloaded$/gmu) ?? []).length;
    consumer.process.signal('SIGHUP');
    await consumer.process.waitFor(
      () => (consumer.process.stderr.match(/ reloaded$/gmu) ?? []).length > told,
      `reload ${round}`,
    );
  };
  for (let round = 0; round < 10; round++) await reload(round);
  await areServed(127);
  const [filesBefore, memoryBefore] = [files(), residentMiB(pid)];
  for (let round = 0; round < 40; round++) await reload(round);
  await areServed(127);
  assert.ok(files() <= filesBefore + 2, `${filesBefore} open files, then ${files()}`);
  const grownMiB = residentMiB(pid) - memoryBefore;
  assert.ok(grownMiB < 50, `grown by ${grownMiB} MiB`);
  await echoes(old, ' after');
});

test('a configuration that is deleted is told once, changes nothing, and counts again when it is back', async (t) => {
  const config = join(tempDir(t), 'sidecar.yaml');
  const write = (...names: string[]): void =>
    writeFileSync(config, JSON.stringify({ mappedServices: names }));
  write('web:18144');
  const { consumer, where } = await startUse(t, 18_144, {
    SIDECAR_MAPPED_SERVICES: '',
    SIDECAR_CONFIG: config,
  });
  const old = dial(t, where);
  await echoes(old, 'before');
  rmSync(config);
  await consumer.process.waitForLine(/keeping the old one.*sidecar\.yaml/u);
  consumer.process.signal('SIGHUP');
  await consumer.process.waitForLine(/reload failed.*sidecar\.yaml/u);
  await echoes(dial(t, where), 'meanwhile');
  assert.equal(consumer.process.stderr.match(/keeping the old one/gu)?.length, 1);
  write('web:18144', 'db:18145');
  await consumer.until(({ services }) => services.length === 2, 'the new one');
  await echoes(old, ' after');
});

test('a drain has an end, also when it is told to reload meanwhile', async (t) => {
  const { consumer, where } = await startUse(t, 18_146, { EDGE_DRAIN_TIMEOUT: '5s' });
  const old = dial(t, where);
  await echoes(old, 'before');
  const startedAt = performance.now();
  consumer.process.signal('SIGTERM');
  await consumer.process.waitForLine(/draining/u);
  consumer.process.signal('SIGHUP');
  await consumer.process.waitForLine(/reload failed.*the sidecar is stopping/u);
  await echoes(old, ' still served');
  assert.equal(await old.closed, 'ECONNRESET');
  await consumer.process.assertExit(0);
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs >= 4900 && tookMs < 30_000, `ended after ${tookMs} ms`);
});

test('a service that would lead to itself costs a failed connection and not all there are', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const first = await node.startSidecar('pod', { SIDECAR_MAPPED_SERVICES: 'web:18147' });
  const address = await first.until(({ services }) => services[0]?.address, 'an address');
  await first.process.stop();
  const pod = await node.startSidecar('pod', {
    SIDECAR_MAPPED_SERVICES: 'web:18147',
    SIDECAR_EXPORTED_SERVICES: `web=${address}:18147`,
    SIDECAR_PARK_TIMEOUT: '500ms',
  });
  const where = await whenServed(pod, 'web');
  const users = Array.from({ length: 20 }, () => dial(t, where));
  for (const user of users) assert.equal(await user.closed, 'ECONNRESET');
  await pod.process.waitForLine(/cannot reach an exported service.*it would lead to itself/u);
  const { services } = await pod.status();
  assert.equal(services[0]?.connectionsTotal, 20);
  await pod.until(({ services: [web] }) => web?.connections === 0, 'all counted out');
  assert.doesNotMatch(pod.process.stderr, /MaxListeners/u);
});
