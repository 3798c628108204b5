/** `edge syncer --hub`: nodes that can dial the hub but not each other, with `edge apiserver` as the hub. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { NODE_MAINTENANCES, ORIGIN_ANNOTATION, ROUTERS } from '../../src/api/edge.ts';
import type { NodeMaintenance, Router, RouterStatusCondition } from '../../src/api/gen/types.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import type { ApiClient } from '../../src/apiclient/client.ts';
import { readKubeconfig } from '../../src/apiclient/kubeconfig.ts';
import { runEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import type { TestProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

interface Server {
  name: string;
  dir: string;
  port: number;
  process: TestProcess;
  admin: ApiClient;
}

async function startApiserver(t: TestContext, name: string, dir: string, port: number): Promise<TestProcess> {
  return startEdgeReady(t, ['apiserver', '--data-dir', dir, '--node', name, '--listen', `127.0.0.1:${port}`]);
}

async function startServer(t: TestContext, name: string): Promise<Server> {
  const [dir, port] = [tempDir(t), await freePort()];
  const process = await startApiserver(t, name, dir, port);
  const admin = createApiClient(readKubeconfig(join(dir, 'admin.kubeconfig')));
  t.after(() => admin.close());
  return { name, dir, port, process, admin };
}

/** The kubeconfig with which a node reaches the hub: made with a join token, as operators do. */
async function joinHub(node: Server, hub: Server): Promise<string> {
  const admin = ['--kubeconfig', join(hub.dir, 'admin.kubeconfig')];
  const made = await runEdge(['ctl', ...admin, 'join-token', 'create', '--node', node.name, '-o', 'token']);
  assert.equal(made.status, 0, made.stderr);
  const file = join(node.dir, 'hub.kubeconfig');
  const server = `https://127.0.0.1:${hub.port}`;
  const joined = await runEdge([
    'ctl',
    'join',
    '--server',
    server,
    '--token',
    made.stdout.trim(),
    '--as',
    node.name,
    '-o',
    file,
  ]);
  assert.equal(joined.status, 0, joined.stderr);
  return file;
}

async function startSyncer(t: TestContext, node: Server, hubFile: string): Promise<TestProcess> {
  return startEdgeReady(t, ['syncer', '--data-dir', node.dir, '--node', node.name, '--hub', hubFile]);
}

const router = (name: string, bindPort = 7000): Router => ({
  apiVersion: 'edge.example.com/v1',
  kind: 'Router',
  metadata: { name },
  spec: { frps: { bindPort } },
});

const routerAt = (at: Server, name: string): Promise<Router> => at.admin.get<Router>(ROUTERS, name);
const setPort = (at: Server, name: string, bindPort: number): Promise<unknown> =>
  at.admin.patch(ROUTERS, name, { spec: { frps: { bindPort } } }, { type: 'merge' });
const setVersion = (at: Server, name: string, version: string): Promise<unknown> =>
  at.admin.patch(ROUTERS, name, { status: { version } }, { type: 'merge', subresource: 'status' });
const syncedOf = ({ status }: Router): RouterStatusCondition | undefined =>
  status?.conditions?.find(({ type }) => type === 'Synced');

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  await waitFor(condition, { what });
}

test('nodes that dial the hub alone see each other, take their spec from it, and go on while it is away', async (t) => {
  const [hub, a, b] = await Promise.all([
    startServer(t, 'hub'),
    startServer(t, 'node-a'),
    startServer(t, 'node-b'),
  ]);
  const [hubOfA, hubOfB] = [await joinHub(a, hub), await joinHub(b, hub)];
  await hub.admin.create<Router>(ROUTERS, router('hub', 7100));
  await hub.admin.create<Router>(ROUTERS, router('node-a', 7001)); // by the cloud, before the node is there
  await b.admin.create<Router>(ROUTERS, router('node-b', 7002)); // by hand, on the node
  await b.admin.create<NodeMaintenance>(NODE_MAINTENANCES, {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name: 'nodemaintenances-7', annotations: { 'edge.example.com/router': 'node-b' } },
    spec: { nodeName: 'node-7', proxy: { type: 'FRP', endpoint: '' } },
  });
  await Promise.all([startSyncer(t, a, hubOfA), startSyncer(t, b, hubOfB)]);

  await until(
    'spec made for node-a arrives',
    async () => (await routerAt(a, 'node-a')).spec.frps.bindPort === 7001,
  );
  for (const [at, name] of [
    [a, 'node-b'],
    [b, 'node-a'],
    [a, 'hub'],
    [b, 'hub'],
  ] as const) {
    await until(`${name} on ${at.name}`, async () => {
      const mirror = await routerAt(at, name);
      return syncedOf(mirror)?.status === 'True' && mirror.metadata.annotations?.[ORIGIN_ANNOTATION] === name;
    });
  }
  const atHub = await routerAt(hub, 'node-b');
  assert.equal(atHub.metadata.annotations?.[ORIGIN_ANNOTATION], undefined);
  await until('maintenance object on the other node', async () => {
    const found = await a.admin.get<NodeMaintenance>(NODE_MAINTENANCES, 'nodemaintenances-7');
    return found.metadata.annotations?.[ORIGIN_ANNOTATION] === 'node-b';
  });

  await setVersion(b, 'node-b', '9');
  await until('status crosses', async () => (await routerAt(a, 'node-b')).status?.version === '9');
  await setPort(hub, 'node-b', 7012);
  await until('spec comes down', async () => (await routerAt(b, 'node-b')).spec.frps.bindPort === 7012);
  await setPort(b, 'node-b', 666);
  await until('the hub decides', async () => (await routerAt(b, 'node-b')).spec.frps.bindPort === 7012);
  assert.equal((await routerAt(b, 'node-b')).status?.version, '9', 'the status stayed');

  await hub.process.kill();
  await until(
    'mirror marked',
    async () => syncedOf(await routerAt(a, 'node-b'))?.reason === 'HubUnreachable',
  );
  await setPort(b, 'node-b', 7777);
  await setVersion(b, 'node-b', '10');
  await new Promise((resolve) => {
    setTimeout(resolve, 300);
  });
  assert.equal(
    (await routerAt(b, 'node-b')).spec.frps.bindPort,
    7777,
    'the local copy is in force meanwhile',
  );
  assert.equal((await routerAt(a, 'node-b')).status?.version, '9');
  await startApiserver(t, 'hub', hub.dir, hub.port);
  await until('converged', async () => {
    const [onA, onB] = [await routerAt(a, 'node-b'), await routerAt(b, 'node-b')];
    return (
      syncedOf(onA)?.status === 'True' && onA.status?.version === '10' && onB.spec.frps.bindPort === 7012
    );
  });

  const asA = createApiClient(readKubeconfig(hubOfA));
  t.after(() => asA.close());
  await assert.rejects(asA.patch(ROUTERS, 'node-b', { spec: { frps: { bindPort: 1 } } }, { type: 'merge' }), {
    statusCode: 403,
  });
  await assert.rejects(asA.create(ROUTERS, router('node-x')), { statusCode: 403 });
  await assert.rejects(asA.delete(NODE_MAINTENANCES, 'nodemaintenances-7'), { statusCode: 403 });
  await b.admin.delete(NODE_MAINTENANCES, 'nodemaintenances-7');
  await until('maintenance object gone everywhere', async () => {
    const [atHubNow, onA] = await Promise.all([
      hub.admin.list(NODE_MAINTENANCES),
      a.admin.list(NODE_MAINTENANCES),
    ]);
    return atHubNow.items.length === 0 && onA.items.length === 0;
  });
});

test('of two nodes with one name at the hub the first stays, and the second says so', async (t) => {
  const [hub, one, two] = await Promise.all([
    startServer(t, 'hub'),
    startServer(t, 'node-a'),
    startServer(t, 'node-a'),
  ]);
  const files = [await joinHub(one, hub), await joinHub(two, hub)] as const;
  for (const [at, version] of [
    [one, '1'],
    [two, '2'],
  ] as const) {
    await at.admin.create<Router>(ROUTERS, router('node-a'));
    await setVersion(at, 'node-a', version);
  }
  await startSyncer(t, one, files[0]);
  await until('published', async () => (await routerAt(hub, 'node-a')).status?.version === '1');
  const second = await startSyncer(t, two, files[1]);
  await second.waitForLine(/another node publishes as node-a at the hub/u);
  await setVersion(two, 'node-a', '3');
  await setVersion(one, 'node-a', '4');
  await until('the first goes on', async () => (await routerAt(hub, 'node-a')).status?.version === '4');
});

test('a syncer with the credentials of another node says what it may not, once, and takes the right ones', async (t) => {
  const [hub, a, b] = await Promise.all([
    startServer(t, 'hub'),
    startServer(t, 'node-a'),
    startServer(t, 'node-b'),
  ]);
  const wrong = await joinHub(a, hub);
  await b.admin.create<Router>(ROUTERS, router('node-b'));
  const syncer = await startSyncer(t, b, wrong);
  await syncer.waitForLine(/cannot publish the own Router at the hub, trying again.*node-b/u);
  renameSync(await joinHub(b, hub), wrong);
  await until('published', async () => (await routerAt(hub, 'node-b')).metadata.name === 'node-b');
  await syncer.waitForLine(/the own Router is published again/u);
  assert.equal(syncer.stderr.match(/cannot publish/gu)?.length, 1);
});

test('a hub and peers exclude each other', async () => {
  const { status, stderr } = await runEdge(['syncer', '--hub', '/x', '--peers', 'n=http://a']);
  assert.equal(status, 2);
  assert.match(stderr, /--peers and --hub exclude each other/u);
});
