/** `edge router` beside `edge apiserver`: configured by an object, reporting to it, surviving without it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { API_VERSION, ROUTERS } from '../../src/api/edge.ts';
import type { Router, RouterSpecFrps } from '../../src/api/gen/types.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import type { ApiClient } from '../../src/apiclient/client.ts';
import { isNotFound } from '../../src/apiclient/errors.ts';
import { loadAccess } from '../../src/apiclient/kubeconfig.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { createFrpClient } from '../../src/tunnel/frpc/client.ts';
import type { FrpClient } from '../../src/tunnel/frpc/types.ts';
import { runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePorts } from '../support/ports.ts';
import type { TestProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

interface World {
  dataDir: string;
  apiPort: number;
  client: ApiClient;
  apiserver: TestProcess;
}

function startApiserver(t: TestContext, dataDir: string, port: number): Promise<TestProcess> {
  return startEdgeReady(t, [
    'apiserver',
    '--data-dir',
    dataDir,
    '--listen',
    `127.0.0.1:${port}`,
    '--node',
    'node-1',
  ]);
}

async function startWorld(t: TestContext): Promise<World> {
  const dataDir = tempDir(t);
  const [apiPort = 0] = await freePorts(1);
  const apiserver = await startApiserver(t, dataDir, apiPort);
  const kubeconfig = join(dataDir, 'admin.kubeconfig');
  await waitFor(() => existsSync(kubeconfig), { what: 'admin.kubeconfig' });
  const client = createApiClient(() => loadAccess({ kubeconfig, defaultKubeconfigs: [] }, {}));
  t.after(() => client.close());
  return { dataDir, apiPort, client, apiserver };
}

function startRouter(t: TestContext, world: World, ...args: string[]): TestProcess {
  return startEdge(t, ['router', '--data-dir', world.dataDir, '--node', 'node-1', ...args]);
}

async function applySpec(client: ApiClient, frps: Partial<RouterSpecFrps>): Promise<void> {
  const object = {
    apiVersion: API_VERSION,
    kind: 'Router',
    metadata: { name: 'node-1' },
    spec: { frps: { bindAddr: '127.0.0.1', ...frps } },
  };
  const create = () => client.create(ROUTERS, object);
  await client
    .patch(ROUTERS, 'node-1', { spec: object.spec }, { type: 'merge' })
    .catch((err: unknown) => (isNotFound(err) ? create() : Promise.reject(err as Error)));
}

/** The Router once its Ready condition for the newest generation has this reason. */
async function waitForReason(client: ApiClient, reason: string): Promise<Router> {
  const look = async () => {
    const router = await client.get<Router>(ROUTERS, 'node-1');
    const ready = router.status?.conditions?.find(({ type }) => type === 'Ready');
    const isCurrent = ready?.observedGeneration === router.metadata.generation;
    return ready?.reason === reason && isCurrent ? router : undefined;
  };
  return waitFor(look, { what: `condition Ready with reason ${reason}` });
}

async function accepts(port: number): Promise<boolean> {
  const socket = await dial(port);
  socket?.destroy();
  return socket !== undefined;
}

function dial(port: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => resolve(undefined));
  });
}

test('an applied Router is served, reported, and moved when its spec changes', async (t) => {
  const world = await startWorld(t);
  const [first = 0, second = 0, dashboard = 0, metrics = 0] = await freePorts(4);
  const router = startRouter(
    t,
    world,
    '--metrics-addr',
    `127.0.0.1:${metrics}`,
    '--advertise-address',
    'edge.example.org',
  );
  await router.waitForHttp(`http://127.0.0.1:${metrics}/readyz`, 503);
  await router.waitForLine(/waiting for the Router object/u);
  await applySpec(world.client, { bindPort: first, dashboardPort: dashboard });
  const served = await waitForReason(world.client, 'Serving');
  assert.equal(served.status?.conditions?.[0]?.status, 'True');
  assert.deepEqual(served.status?.addresses, [{ type: 'Hostname', address: 'edge.example.org' }]);
  assert.deepEqual(served.status?.activeServices, []);
  assert.ok(served.status?.version);
  await router.waitForHttp(`http://127.0.0.1:${metrics}/readyz`, 200);
  assert.ok(await accepts(first));
  const answer = await fetch(`http://127.0.0.1:${dashboard}/api/serverinfo`);
  assert.equal(((await answer.json()) as { bindPort: number }).bindPort, first);

  await applySpec(world.client, { bindPort: second, dashboardPort: dashboard });
  await waitForReason(world.client, 'Serving');
  assert.ok(await accepts(second));
  await waitFor(async () => !(await accepts(first)), { what: 'the old port to be closed' });

  assert.deepEqual(await router.stop(), { status: 0, signal: null });
  await waitForReason(world.client, 'Stopped');
});

test('a wrong spec is reported and the last good one stays in force', async (t) => {
  const world = await startWorld(t);
  const [port = 0, other = 0] = await freePorts(2);
  const router = startRouter(t, world);
  await applySpec(world.client, { bindPort: port });
  await waitForReason(world.client, 'Serving');
  await applySpec(world.client, {
    bindPort: other,
    auth: { tokenFrom: { file: join(world.dataDir, 'no-token') } },
  });
  const refused = await waitForReason(world.client, 'InvalidConfiguration');
  assert.match(refused.status?.conditions?.[0]?.message ?? '', /^spec\.frps\.auth\.tokenFrom: cannot read/u);
  assert.ok(await accepts(port));
  assert.equal(await accepts(other), false);
  writeFileSync(join(world.dataDir, 'no-token'), 'secret\n');
  await waitForReason(world.client, 'Serving');
  assert.ok(await accepts(other));
  await router.stop();
});

test('a taken port is reported and served once it is free', async (t) => {
  const world = await startWorld(t);
  const [port = 0] = await freePorts(1);
  const holder = createServer();
  await new Promise<void>((resolve) => {
    holder.listen(port, '127.0.0.1', resolve);
  });
  t.after(() => void holder.close());
  const router = startRouter(t, world);
  await applySpec(world.client, { bindPort: port });
  const failed = await waitForReason(world.client, 'BindFailed');
  assert.match(failed.status?.conditions?.[0]?.message ?? '', /address already in use/u);
  holder.close();
  await waitForReason(world.client, 'Serving');
  await router.stop();
});

test('a killed API server does not stop the router, and gets its status when it is back', async (t) => {
  const world = await startWorld(t);
  const [port = 0, metrics = 0] = await freePorts(2);
  const router = startRouter(t, world, '--metrics-addr', `127.0.0.1:${metrics}`);
  await applySpec(world.client, { bindPort: port });
  await waitForReason(world.client, 'Serving');
  await world.apiserver.kill();
  await router.waitForLine(/lost the API server/u);
  assert.ok(await accepts(port));
  await router.waitForHttp(`http://127.0.0.1:${metrics}/readyz`, 200);
  await startApiserver(t, world.dataDir, world.apiPort);
  const [moved = 0] = await freePorts(1);
  await applySpec(world.client, { bindPort: moved });
  await waitForReason(world.client, 'Serving');
  assert.ok(await accepts(moved));
  await router.stop();
});

test('a deleted Router is drained, and a new one served', async (t) => {
  const world = await startWorld(t);
  const [port = 0] = await freePorts(1);
  const router = startRouter(t, world, '--drain-timeout', '1s');
  await applySpec(world.client, { bindPort: port });
  await waitForReason(world.client, 'Serving');
  await world.client.delete(ROUTERS, 'node-1');
  await waitFor(async () => !(await accepts(port)), { what: 'the port to be closed' });
  await applySpec(world.client, { bindPort: port });
  await waitForReason(world.client, 'Serving');
  assert.ok(await accepts(port));
  await router.stop();
});

test('providers and visitors appear in the status, and a service is balanced', async (t) => {
  const world = await startWorld(t);
  const [port = 0, dashboard = 0] = await freePorts(2);
  const tokenFile = join(world.dataDir, 'token');
  writeFileSync(tokenFile, 'secret\n');
  const router = startRouter(t, world, '--token-file', tokenFile);
  await applySpec(world.client, { bindPort: port, dashboardPort: dashboard });
  await waitForReason(world.client, 'Serving');
  const pods = ['pod-a', 'pod-b'].map((pod) => startProvider(t, port, pod, { token: 'secret' }));
  const seen = await waitFor(
    async () => {
      const { status } = await world.client.get<Router>(ROUTERS, 'node-1');
      return status?.activeServices?.[0]?.providers?.length === 2 ? status : undefined;
    },
    { what: 'both providers in the status' },
  );
  const service = seen.activeServices?.[0];
  assert.equal(`${service?.name}.${service?.namespace}:${service?.targetPort}`, 'echo.default:80');
  assert.equal(service?.localPort, port);
  assert.deepEqual(
    service?.providers?.map(({ id, node, ready }) => [id, node, ready]),
    [
      ['echo.default.pod-a', 'node-1', true],
      ['echo.default.pod-b', 'node-1', true],
    ],
  );
  assert.deepEqual(
    seen.clients?.map(({ id, role, serviceName }) => [id, role, serviceName]),
    [
      ['pod-a-echo', 'provider', 'echo.default'],
      ['pod-b-echo', 'provider', 'echo.default'],
    ],
  );

  const visitor = startClient(t, port, { pod: 'pod-c' }, 'secret');
  await waitFor(() => visitor.phase === 'online', { what: 'the visitor to log in' });
  for (const target of ['echo.default', 'echo.default:80', 'echo.default:80/tcp']) {
    // Turn and turn about; one that a busy machine keeps from answering for a second is passed over.
    const answers = new Set<string>();
    await waitFor(async () => answers.add(await ask(visitor, target)).size === 2, {
      what: `answers of both providers to ${target}`,
    });
  }
  await assert.rejects(ask(visitor, 'other.default'), { code: 'EDGE_ERR_TUNNEL_VISITOR_REFUSED' });
  const row = await waitFor(
    async () => {
      const { status } = await world.client.get<Router>(ROUTERS, 'node-1');
      return status?.clients?.find(({ role }) => role === 'visitor');
    },
    { what: 'the visitor in the status' },
  );
  assert.equal(row.id, 'pod-c-echo');
  const list = await fetch(`http://127.0.0.1:${dashboard}/api/proxy/stcp`);
  const { proxies } = (await list.json()) as { proxies: { name: string; status: string }[] };
  assert.deepEqual(
    proxies.map(({ name, status }) => [name, status]),
    [
      ['echo.default.pod-a', 'online'],
      ['echo.default.pod-b', 'online'],
    ],
  );

  await pods[0]?.stop();
  await waitFor(
    async () => {
      const { status } = await world.client.get<Router>(ROUTERS, 'node-1');
      return status?.activeServices?.[0]?.providers?.length === 1;
    },
    { what: 'the provider that left to leave the status' },
  );
  assert.deepEqual(
    [await ask(visitor, 'echo.default'), await ask(visitor, 'echo.default')],
    ['pod-b', 'pod-b'],
  );
  await router.stop();
});

test('a stopped router refuses what is new and waits for what is open', async (t) => {
  const world = await startWorld(t);
  const [port = 0, metrics = 0] = await freePorts(2);
  const socketPath = join(world.dataDir, 'router.sock');
  const flags = ['--metrics-addr', `127.0.0.1:${metrics}`, '--socket', socketPath, '--drain-timeout', '90s'];
  const router = startRouter(t, world, ...flags);
  await applySpec(world.client, { bindPort: port });
  const served = await waitForReason(world.client, 'Serving');
  assert.deepEqual(served.status?.addresses, [
    { type: 'InternalIP', address: '127.0.0.1' },
    { type: 'Socket', address: socketPath },
  ]);
  startProvider(t, port, 'pod-a', { isHeld: true });
  const visitor = startClient(t, port, {});
  const stream = await waitFor(() => visitor.openVisitor({ proxyName: 'echo.default', secretKey: 'key' }), {
    what: 'a connection to the provider',
  });
  let closedAt = 0;
  const closed = new Promise<void>((resolve) => {
    stream.setHandler({
      onData() {},
      onEnd() {},
      onDrain() {},
      onClose() {
        closedAt = performance.now();
        resolve();
      },
    });
  });
  stream.resume();
  router.signal('SIGTERM');
  await waitForReason(world.client, 'Stopped');
  await waitFor(async () => !(await accepts(port)), { what: 'the port to be closed' });
  await router.waitForHttp(`http://127.0.0.1:${metrics}/readyz`, 503);
  assert.equal(closedAt, 0);
  assert.equal(router.exit, undefined);
  stream.destroy();
  await closed;
  await router.assertExit(0);
});

function startClient(t: TestContext, port: number, metas: Record<string, string>, token = ''): FrpClient {
  const client = createFrpClient(
    {
      server: { host: '127.0.0.1', port },
      token,
      user: '',
      clientId: '',
      metas,
      poolCount: 1,
      tls: undefined,
      tcpMux: true,
      keepaliveMs: 30_000,
      additionalScopes: [],
    },
    { clock: systemClock, random: Math.random, log: silentLogger },
  );
  client.start();
  t.after(() => client.stop());
  return client;
}

/** A pod that provides echo.default: it sends its name to whoever connects, and hangs up unless told to hold. */
function startProvider(
  t: TestContext,
  port: number,
  pod: string,
  options: { isHeld?: boolean; token?: string } = {},
): FrpClient {
  const client = startClient(t, port, { pod }, options.token);
  client.addProxy({
    name: `echo.default.${pod}`,
    type: 'stcp',
    secretKey: 'key',
    metas: { service: 'echo', namespace: 'default', port: '80', protocol: 'TCP', node: 'node-1' },
    onConnection({ stream }) {
      stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
      stream.resume();
      stream.write(Buffer.from(pod));
      if (options.isHeld !== true) stream.end();
    },
  });
  return client;
}

/** What the provider that a visitor reaches sends. */
async function ask(visitor: FrpClient, proxyName: string): Promise<string> {
  const stream = await visitor.openVisitor({ proxyName, secretKey: 'key' });
  return new Promise((resolve, reject) => {
    let text = '';
    stream.setHandler({
      onData(chunk) {
        text += chunk.toString();
      },
      onEnd() {
        stream.end();
      },
      onDrain() {},
      onClose: (err) => (err === undefined ? resolve(text) : reject(err)),
    });
    stream.resume();
  });
}

test('the router waits for an API server that is not there yet, and stops when told', async (t) => {
  const router = startEdge(t, ['router', '--data-dir', tempDir(t), '--node', 'node-1']);
  await router.waitForLine(/waiting for the API server/u);
  assert.deepEqual(await router.stop(), { status: 0, signal: null });
});

const WRONG: readonly [string, readonly string[], RegExp][] = [
  ['node name', ['--node', 'Not A Node'], /^error: --node: "Not A Node" is not a node name/u],
  ['address', ['--advertise-address', '0.0.0.0'], /^error: --advertise-address: "0\.0\.0\.0" is not/u],
  [
    'socket path',
    ['--socket', 'relative.sock'],
    /^error: --socket: "relative\.sock" is not an absolute path/u,
  ],
  ['metrics address', ['--metrics-addr', 'nowhere'], /^error: --metrics-addr: "nowhere" is not an address/u],
  ['flag', ['--nonsense'], /^error: unknown option '--nonsense'/u],
];

for (const [what, args, message] of WRONG) {
  test(`a wrong ${what} ends with status 2 and one clear line`, async () => {
    const { status, stderr } = await runEdge(['router', ...args]);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  });
}

test('a router that starts while its API server is away serves with the last spec, without a secret on disk', async (t) => {
  const world = await startWorld(t);
  const [port = 0] = await freePorts(1);
  const tokenFile = join(world.dataDir, 'token');
  writeFileSync(tokenFile, 'hunter2\n');
  const first = startRouter(t, world);
  await applySpec(world.client, { bindPort: port, auth: { tokenFrom: { file: tokenFile } } });
  await waitForReason(world.client, 'Serving');
  const cache = join(world.dataDir, 'router-node-1.json');
  await waitFor(() => existsSync(cache), { what: 'the kept spec' });
  assert.equal(statSync(cache).mode & 0o777, 0o600);
  assert.ok(!readFileSync(cache, 'utf8').includes('hunter2'));
  await first.stop();
  await world.apiserver.stop();

  const second = startRouter(t, world);
  await second.waitForLine(/serving with the last known spec/u);
  await waitFor(() => accepts(port), { what: 'the tunnel port' });

  await startApiserver(t, world.dataDir, world.apiPort);
  await waitForReason(world.client, 'Serving');
  await world.client.delete(ROUTERS, 'node-1');
  await waitFor(() => !existsSync(cache), { what: 'the spec to be forgotten' });
  await waitFor(async () => !(await accepts(port)), { what: 'the port to be closed' });
});
