/** Tests of peers that mean harm or are broken: each costs itself, and the good one beside it is mirrored as ever. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeApiServer } from '../../test/support/fake-api-server.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { heldMiB } from '../../test/support/memory.ts';
import { SOON_MS, waitFor } from '../../test/support/wait.ts';
import { ORIGIN_ANNOTATION } from '../api/edge.ts';
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { Registry } from '../lib/metrics.ts';
import { MAX_MAINTENANCES } from './peer-link.ts';
import type { Peer } from './peers.ts';
import { createSyncer } from './syncer.ts';

checkLeaks();

const PATH = '/apis/edge.example.com/v1';

function router(name: string, bindPort = 7000): Router {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindPort } },
  };
}

function maintenance(name: string, annotations: Record<string, string> = {}): NodeMaintenance {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name, annotations },
    spec: { nodeName: name, proxy: { type: 'FRP', endpoint: '' } },
    status: { services: [{ name: 'ssh', status: 'online' }] },
  };
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

interface Hostile {
  url: string;
  requests: { path: string; at: number }[];
  bytes: () => number;
}

/** A server that answers requests for objects as the test says, and is otherwise healthy. */
async function hostile(t: TestContext, answer: Answer): Promise<Hostile> {
  const sockets = new Set<Socket>();
  let closedBytes = 0;
  const requests: Hostile['requests'] = [];
  const server = createServer((request, response) => {
    response.on('error', () => {});
    if (request.url === '/readyz') {
      response.end('ok');
      return;
    }
    requests.push({ path: request.url ?? '', at: performance.now() });
    answer(request, response);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      closedBytes += socket.bytesWritten;
      sockets.delete(socket);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(async () => {
    const closed = new Promise((resolve) => {
      server.close(resolve);
    });
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    bytes: () => [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, closedBytes),
  };
}

const isWatch = (request: IncomingMessage): boolean => request.url?.includes('watch=true') === true;
const isRouters = (request: IncomingMessage): boolean => request.url?.startsWith(`${PATH}/routers`) === true;

function list(response: ServerResponse, kind: string, items: unknown[], version = '1'): void {
  const body = {
    kind: `${kind}List`,
    apiVersion: 'edge.example.com/v1',
    metadata: { resourceVersion: version },
    items,
  };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Writes for ever, as fast as the reader takes it. */
function pour(response: ServerResponse, chunk: () => string): void {
  const more = (): void => {
    while (!response.destroyed && response.write(chunk()));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}

/** Runs a syncer with one hostile and one good peer, and checks that the good one's changes arrive at once. */
async function besideGood(
  t: TestContext,
  bad: Peer,
  run: (local: FakeApiServer, registry: Registry) => Promise<void>,
): Promise<void> {
  const [local, good] = [new FakeApiServer(), new FakeApiServer()];
  await local.start(t);
  await good.start(t);
  good.put(router('good'));
  const client = createApiClient({ server: local.url });
  const registry = new Registry();
  const syncer = createSyncer(
    { node: 'node-1', from: [bad, { node: 'good', server: good.url }], local: client },
    { clock: systemClock, log: silentLogger, registry },
  );
  t.after(async () => {
    await syncer.stop();
    client.close();
  });
  await syncer.start();
  const port = (): number | undefined =>
    (local.objects.get('good') as Router | undefined)?.spec.frps.bindPort;
  await waitFor(() => port() === 7000 && good.watchers === 1, { what: 'good peer mirrored' });
  await run(local, registry);
  for (const next of [7001, 7002, 7003]) {
    good.put(router('good', next));
    await waitFor(() => port() === next, { what: `good peer followed to ${next}`, timeoutMs: SOON_MS });
  }
}

const later = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

test('a peer that pours events without end is read at its share, and its own Router is followed', async (t) => {
  let serial = 1;
  const bad = await hostile(t, (request, response) => {
    if (!isWatch(request)) list(response, isRouters(request) ? 'Router' : 'NodeMaintenance', []);
    else if (!isRouters(request)) response.writeHead(200).flushHeaders();
    else {
      response.writeHead(200);
      pour(response, () => {
        const object = router('bad', 7000 + (serial++ % 1000));
        object.metadata.resourceVersion = String(serial);
        return `${JSON.stringify({ type: 'MODIFIED', object })}\n`.repeat(100);
      });
    }
  });
  await besideGood(t, { node: 'bad', server: bad.url }, async (local) => {
    await waitFor(() => local.objects.has('bad'), { what: 'mirror of the bad peer' });
    const [before, writes, from] = [bad.bytes(), local.requests.length, performance.now()];
    await later(2000);
    const seconds = (performance.now() - from) / 1000;
    const read = bad.bytes() - before;
    // 16 MiB at once, 1 MiB a second, and what the kernel holds
    assert.ok(read < (30 + seconds) * 1024 ** 2, `read ${read} bytes`);
    const requests = local.requests.length - writes;
    assert.ok(requests < 2 * (seconds + 0.2) * 20 + 20, `${requests} requests in ${seconds} s`);
  });
});

test('a peer with a million objects, or answers without end, keeps its last mirror and costs no memory', async (t) => {
  const many = JSON.stringify(maintenance('nodemaintenances-x'));
  const bad = await hostile(t, (request, response) => {
    if (isRouters(request) && !isWatch(request)) list(response, 'Router', [router('bad')]);
    else if (isWatch(request)) response.writeHead(200).flushHeaders();
    else {
      response.writeHead(200);
      response.write('{"kind":"NodeMaintenanceList","metadata":{"resourceVersion":"1"},"items":[');
      pour(response, () => `${many},`.repeat(200));
    }
  });
  await besideGood(t, { node: 'bad', server: bad.url }, async (local) => {
    await waitFor(() => local.objects.has('bad'), { what: 'its Router is mirrored all the same' });
    const before = heldMiB();
    await later(2000);
    const grownMiB = heldMiB() - before;
    assert.ok(grownMiB < 64, `grew by ${grownMiB.toFixed(1)} MiB`);
    assert.equal([...local.objects.keys()].filter((name) => name.startsWith('nodemaint')).length, 0);
  });
});

test('of more maintenance objects than a Router has nodes the rest is left out and counted', async (t) => {
  const items = Array.from({ length: MAX_MAINTENANCES + 7 }, (_, at) =>
    maintenance(`nodemaintenances-${at}`),
  );
  const bad = await hostile(t, (request, response) => {
    if (isWatch(request)) response.writeHead(200).flushHeaders();
    else if (isRouters(request)) list(response, 'Router', [router('bad')]);
    else list(response, 'NodeMaintenance', items);
  });
  await besideGood(t, { node: 'bad', server: bad.url }, async (local, registry) => {
    await waitFor(async () => /objects_left_out\{peer="bad"\} 7/u.test(await registry.metrics()), {
      what: 'counted',
    });
    // patience with each part: all of them are four thousand requests
    for (let count = 0; count <= MAX_MAINTENANCES; count += 250)
      await waitFor(() => local.objects.size >= count + 2, { what: `${count} of the others` });
    assert.equal(local.objects.size, MAX_MAINTENANCES + 2);
  });
});

test('a peer that ends each watch, or calls each version expired, is not asked in a tight loop', async (t) => {
  const ending = await hostile(t, (request, response) => {
    if (!isWatch(request)) list(response, isRouters(request) ? 'Router' : 'NodeMaintenance', []);
    else response.writeHead(200).end(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata: {} } })}\n`);
  });
  const expiring = await hostile(t, (request, response) => {
    if (!isWatch(request)) list(response, isRouters(request) ? 'Router' : 'NodeMaintenance', []);
    else response.writeHead(410).end(JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired' }));
  });
  for (const [bad, atOnce, aSecond] of [
    // each new connection counts as 64 KiB of 16 MiB at once and 1 MiB a second
    [ending, 256 + 50, 16],
    [expiring, 25, 10],
  ] as const) {
    const from = performance.now();
    await besideGood(t, { node: 'bad', server: bad.url }, async () => {
      await later(1500);
      const recent = bad.requests.length;
      const seconds = (performance.now() - from) / 1000;
      assert.ok(recent < atOnce + aSecond * seconds, `${recent} requests in ${seconds} s`);
    });
  }
});

test('garbage in every shape changes nothing and ends nothing', async (t) => {
  const deep = '['.repeat(100_000);
  const shapes = [
    'nonsense',
    '{"items":[null,5,"x",{},{"metadata":null}],"metadata":{}}',
    '{"items":{},"metadata":{}}',
    'null',
    deep,
    `{"metadata":{},"items":[{"metadata":{"name":"bad","labels":"x"},"spec":1}]}`,
    `{"metadata":{},"items":[{"metadata":{"name":"bad","labels":{"a":{}}},"spec":{},"status":{"conditions":[null]}}]}`,
    `{"metadata":{},"items":[{"metadata":{"name":"bad","annotations":[]},"spec":{},"status":{"conditions":{}}}]}`,
    `{"metadata":{},"items":[{"metadata":{"name":"bad"},"spec":{},"status":${deep}${']'.repeat(100_000)}}]}`,
    `{"metadata":{},"items":[{"metadata":{"name":"bad","__proto__":{"x":1}},"spec":null,"status":"up"}]}`,
  ];
  let at = 0;
  const bad = await hostile(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    if (isWatch(request)) response.end('{"type":"ADDED","object":{"metadata":7}}\n');
    else response.end(shapes[at++ % shapes.length]);
  });
  await besideGood(t, { node: 'bad', server: bad.url }, async (local) => {
    await waitFor(() => at > shapes.length, { what: 'every shape was sent' });
    assert.equal(local.objects.has('bad'), false);
  });
});

test('a peer that answers a byte a second, or never, is marked after its grace and delays nobody', async (t) => {
  const bad = await hostile(t, (_request, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(' '), 100);
    response.on('close', () => clearInterval(timer));
  });
  await besideGood(t, { node: 'bad', server: bad.url }, async (_local, registry) => {
    assert.match(await registry.metrics(), /edge_syncer_peer_connected\{peer="bad"\} 0/u);
  });
});

test('what the local API refuses is told once and not offered again and again', async (t) => {
  const [local, peer] = [new FakeApiServer(), new FakeApiServer()];
  await local.start(t);
  await peer.start(t);
  peer.put(router('node-2'));
  const client = createApiClient({ server: local.url });
  const registry = new Registry();
  const syncer = createSyncer(
    { node: 'node-1', from: [{ node: 'node-2', server: peer.url }], local: client },
    { clock: systemClock, log: silentLogger, registry },
  );
  t.after(async () => {
    await syncer.stop();
    client.close();
  });
  await syncer.start();
  const synced = (): unknown =>
    (local.objects.get('node-2') as Router | undefined)?.status?.conditions?.find(
      ({ type }) => type === 'Synced',
    );
  await waitFor(() => (synced() as { status?: string } | undefined)?.status === 'True', { what: 'mirror' });
  local.refuses = (object) => (object as Router).spec.frps.bindPort === 1;
  peer.put(router('node-2', 1));
  await waitFor(() => (synced() as { reason?: string } | undefined)?.reason === 'Refused', {
    what: 'marked',
  });
  assert.equal((local.objects.get('node-2') as Router).spec.frps.bindPort, 7000, 'what was accepted stays');
  const writes = (): number => local.requests.filter((line) => !line.startsWith('GET')).length;
  const before = writes();
  await later(1500);
  assert.equal(writes(), before, 'not offered again');
  assert.match(await registry.metrics(), /edge_syncer_refused_total\{peer="node-2"\} 1/u);
  peer.put(router('node-2', 7005));
  await waitFor(() => (synced() as { status?: string } | undefined)?.status === 'True', { what: 'healed' });
});

test('a local API that takes no writes, as with a full disk, is told once and again when it does', async (t) => {
  const [local, peer] = [new FakeApiServer(), new FakeApiServer()];
  await local.start(t);
  await peer.start(t);
  peer.put(router('node-2'));
  const lines: string[] = [];
  const note = (message: string): void => void lines.push(message);
  const log = { ...silentLogger, warn: note, info: note, with: () => log };
  const client = createApiClient({ server: local.url });
  local.failWritesWith = 507;
  const syncer = createSyncer(
    { node: 'node-1', from: [{ node: 'node-2', server: peer.url }], local: client },
    { clock: systemClock, log, registry: new Registry() },
  );
  t.after(async () => {
    await syncer.stop();
    client.close();
  });
  await syncer.start();
  const writes = (): number => local.requests.filter((line) => line.startsWith('POST')).length;
  await waitFor(() => writes() >= 4, { what: 'some tries' });
  const told = (text: string): number => lines.filter((line) => line.includes(text)).length;
  assert.deepEqual([told('cannot write mirrors'), told('written again')], [1, 0]);
  local.failWritesWith = undefined;
  await waitFor(() => local.objects.has('node-2'), { what: 'the mirror' });
  await waitFor(() => told('written again') === 1, { what: 'the good news' });
});

test('a peer with Routers of other names, and a name that is taken here, are reported while it lasts', async (t) => {
  const [local, misnamed, two] = [new FakeApiServer(), new FakeApiServer(), new FakeApiServer()];
  for (const each of [local, misnamed, two]) await each.start(t);
  misnamed.put(router('node-2', 666)); // started with --node of another one
  misnamed.put({
    ...router('node-9'),
    metadata: { name: 'node-9', annotations: { [ORIGIN_ANNOTATION]: 'node-9' } },
  });
  two.put(router('node-2'));
  local.put(router('node-4')); // no mirror
  const [client, registry] = [createApiClient({ server: local.url }), new Registry()];
  const four = new FakeApiServer();
  await four.start(t);
  four.put(router('node-4', 4));
  const syncer = createSyncer(
    {
      node: 'node-1',
      from: [
        { node: 'node-2', server: two.url },
        { node: 'node-3', server: misnamed.url },
        { node: 'node-4', server: four.url },
      ],
      local: client,
    },
    { clock: systemClock, log: silentLogger, registry },
  );
  t.after(async () => {
    await syncer.stop();
    client.close();
  });
  await syncer.start();
  const metrics = async (): Promise<string> => registry.metrics();
  await waitFor(
    async () =>
      /name_conflict\{subject="peer\/node-3"\} 1/u.test(await metrics()) &&
      /name_conflict\{subject="Router\/node-4"\} 1/u.test(await metrics()),
    { what: 'both reported' },
  );
  assert.equal((local.objects.get('node-2') as Router).spec.frps.bindPort, 7000);
  assert.equal((local.objects.get('node-4') as Router).spec.frps.bindPort, 7000);
  local.remove('node-4');
  await waitFor(async () => !/Router\/node-4/u.test(await metrics()), { what: 'over' });
  await waitFor(() => (local.objects.get('node-4') as Router | undefined)?.spec.frps.bindPort === 4, {
    what: 'mirrored then',
  });
});

test("NodeMaintenances follow their node's state, whichever Router knows it", async (t) => {
  const [local, a, b] = [new FakeApiServer(), new FakeApiServer(), new FakeApiServer()];
  for (const each of [local, a, b]) await each.start(t);
  const at = (routerName: string, status: string): NodeMaintenance => ({
    ...maintenance('nodemaintenances-7', { 'edge.example.com/router': routerName, note: 'stays there' }),
    status: { services: [{ name: 'ssh', status: status as 'online' }] },
  });
  a.put(router('node-a'));
  b.put(router('node-b'));
  a.put(at('node-a', 'online'));
  a.put({
    ...at('node-z', 'online'),
    metadata: { name: 'nodemaintenances-8', annotations: { 'edge.example.com/router': 'node-z' } },
  });
  const client = createApiClient({ server: local.url });
  const syncer = createSyncer(
    {
      node: 'node-1',
      from: [
        { node: 'node-a', server: a.url },
        { node: 'node-b', server: b.url },
      ],
      local: client,
    },
    { clock: systemClock, log: silentLogger, registry: new Registry() },
  );
  t.after(async () => {
    await syncer.stop();
    client.close();
  });
  await syncer.start();
  const mirror = (): NodeMaintenance | undefined =>
    local.objects.get('nodemaintenances-7') as NodeMaintenance | undefined;
  const origin = (): string | undefined => mirror()?.metadata.annotations?.[ORIGIN_ANNOTATION];
  await waitFor(() => origin() === 'node-a' && mirror()?.status?.services?.[0]?.status === 'online', {
    what: 'mirror',
  });
  assert.equal(mirror()?.metadata.annotations?.['edge.example.com/router'], 'node-a');
  assert.equal(mirror()?.metadata.annotations?.['note'], undefined);
  b.put(at('node-b', 'offline'));
  a.put(at('node-a', 'offline'));
  await waitFor(() => mirror()?.status?.services?.[0]?.status === 'offline', { what: 'offline' });
  assert.equal(origin(), 'node-a', 'of two that say the same the mirror stays as it is');
  b.put(at('node-b', 'online'));
  await waitFor(() => origin() === 'node-b', { what: 'the one that has it' });
  b.remove('nodemaintenances-7');
  await waitFor(() => origin() === 'node-a', { what: 'the other one again' });
  a.remove('nodemaintenances-7');
  await waitFor(() => mirror() === undefined, { what: 'removed' });
  assert.equal(local.objects.has('nodemaintenances-8'), false, 'another Router answers for it');
});
