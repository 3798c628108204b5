/** `edge syncer` between real API servers: mirrors appear, follow, age and heal; nothing loops. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Router } from '../../src/api/gen/types.ts';
import { ROUTERS } from '../../src/api/edge.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import type { ApiClient } from '../../src/apiclient/client.ts';
import { readKubeconfig } from '../../src/apiclient/kubeconfig.ts';
import { runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import type { TestProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

interface TestNode {
  name: string;
  dir: string;
  port: number;
  apiserver: TestProcess;
  client: ApiClient;
}

async function startApiserver(t: TestContext, name: string, dir: string, port: number): Promise<TestProcess> {
  return startEdgeReady(t, ['apiserver', '--data-dir', dir, '--node', name, '--listen', `127.0.0.1:${port}`]);
}

/** An API server of a node, with the node's own Router in it. */
async function startNode(t: TestContext, name: string): Promise<TestNode> {
  const dir = tempDir(t);
  const port = await freePort();
  const apiserver = await startApiserver(t, name, dir, port);
  const client = createApiClient(readKubeconfig(join(dir, 'admin.kubeconfig')));
  t.after(() => client.close());
  await client.create<Router>(ROUTERS, {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindPort: 7000 } },
  });
  return { name, dir, port, apiserver, client };
}

async function startSyncer(t: TestContext, node: TestNode, peers: readonly TestNode[]): Promise<TestProcess> {
  const path = join(node.dir, 'peers.yaml');
  writePeers(path, peers);
  return startEdgeReady(t, ['syncer', '--data-dir', node.dir, '--node', node.name, '--peers-file', path]);
}

function writePeers(path: string, peers: readonly TestNode[]): void {
  const list = peers.map(({ name, dir }) => ({ node: name, kubeconfig: join(dir, 'syncer.kubeconfig') }));
  writeFileSync(path, JSON.stringify({ peers: list }));
}

async function mirrorOn(node: TestNode, name: string): Promise<Router | undefined> {
  const list = await node.client.list<Router>(ROUTERS, { fieldSelector: `metadata.name=${name}` });
  return list.items[0];
}

async function untilSynced(node: TestNode, name: string, status: string): Promise<Router> {
  return waitFor(
    async () => {
      const mirror = await mirrorOn(node, name);
      return mirror?.status?.conditions?.some((each) => each.type === 'Synced' && each.status === status) ===
        true
        ? mirror
        : undefined;
    },
    { what: `${name} on ${node.name} has Synced=${status}` },
  );
}

async function setPort(node: TestNode, bindPort: number): Promise<void> {
  await node.client.patch(ROUTERS, node.name, { spec: { frps: { bindPort } } }, { type: 'merge' });
}

async function untilPort(node: TestNode, name: string, bindPort: number): Promise<void> {
  await waitFor(async () => (await mirrorOn(node, name))?.spec.frps.bindPort === bindPort, {
    what: `${name} on ${node.name} has port ${bindPort}`,
  });
}

test('a mesh of two nodes settles: one mirror each, and no version moves on its own', async (t) => {
  const [a, b] = [await startNode(t, 'node-a'), await startNode(t, 'node-b')];
  await startSyncer(t, a, [a, b]);
  await startSyncer(t, b, [a, b]);
  const mirror = await untilSynced(a, 'node-b', 'True');
  assert.equal(mirror.metadata.annotations?.['edge.example.com/origin'], 'node-b');
  await untilSynced(b, 'node-a', 'True');
  const versions = async (): Promise<unknown[]> =>
    Promise.all([a, b].map(async ({ client }) => (await client.list(ROUTERS)).metadata.resourceVersion));
  const settled = await waitFor(
    async () => {
      const before = await versions();
      await new Promise((resolve) => {
        setTimeout(resolve, 1000); // a loop would write many times in a second
      });
      return JSON.stringify(before) === JSON.stringify(await versions()) ? before : undefined;
    },
    { what: 'versions at rest' },
  );
  assert.equal(settled.length, 2);
  assert.equal((await mirrorOn(a, 'node-a'))?.metadata.annotations?.['edge.example.com/origin'], undefined);
  await setPort(b, 7100);
  await untilPort(a, 'node-b', 7100);
});

test('a killed peer leaves a marked mirror, and its return heals it', async (t) => {
  const [a, b] = [await startNode(t, 'node-a'), await startNode(t, 'node-b')];
  await startSyncer(t, a, [b]);
  await untilSynced(a, 'node-b', 'True');
  await b.apiserver.kill();
  const marked = await untilSynced(a, 'node-b', 'False');
  assert.equal(marked.spec.frps.bindPort, 7000);
  assert.equal(marked.status?.conditions?.find(({ type }) => type === 'Synced')?.reason, 'PeerUnreachable');
  await startApiserver(t, b.name, b.dir, b.port);
  await untilSynced(a, 'node-b', 'True');
});

test('a peer that is frozen is noticed although its connections stay open', async (t) => {
  const [a, b] = [await startNode(t, 'node-a'), await startNode(t, 'node-b')];
  await startSyncer(t, a, [b]);
  await untilSynced(a, 'node-b', 'True');
  b.apiserver.signal('SIGSTOP');
  t.after(() => b.apiserver.signal('SIGCONT'));
  await untilSynced(a, 'node-b', 'False');
  b.apiserver.signal('SIGCONT');
  await untilSynced(a, 'node-b', 'True');
});

test('after a restart of the local API server everything is reconciled', async (t) => {
  const [a, b] = [await startNode(t, 'node-a'), await startNode(t, 'node-b')];
  const syncer = await startSyncer(t, a, [b]);
  await untilSynced(a, 'node-b', 'True');
  await a.apiserver.kill();
  await setPort(b, 7200);
  await startApiserver(t, a.name, a.dir, a.port);
  await untilPort(a, 'node-b', 7200);
  await a.client.delete(ROUTERS, 'node-b');
  await untilSynced(a, 'node-b', 'True');
  await setPort({ ...a, name: 'node-b' }, 1234);
  await untilPort(a, 'node-b', 7200);
  assert.deepEqual(await syncer.stop(), { status: 0, signal: null });
});

test('a peer taken off the list loses its mirror, a Router that is deleted on its node too', async (t) => {
  const [a, b, c] = [
    await startNode(t, 'node-a'),
    await startNode(t, 'node-b'),
    await startNode(t, 'node-c'),
  ];
  const syncer = await startSyncer(t, a, [b, c]);
  await untilSynced(a, 'node-b', 'True');
  await untilSynced(a, 'node-c', 'True');
  await c.client.delete(ROUTERS, 'node-c');
  await waitFor(async () => (await mirrorOn(a, 'node-c')) === undefined, { what: 'node-c gone' });
  writePeers(join(a.dir, 'peers.yaml'), []);
  syncer.signal('SIGHUP');
  await waitFor(async () => (await mirrorOn(a, 'node-b')) === undefined, { what: 'node-b gone' });
  assert.ok((await mirrorOn(a, 'node-a')) !== undefined);
});

test('peers come and go with the peers file alone; those that stay, and a file that is gone, change nothing', async (t) => {
  const [a, b, c] = [
    await startNode(t, 'node-a'),
    await startNode(t, 'node-b'),
    await startNode(t, 'node-c'),
  ];
  const path = join(a.dir, 'peers.yaml');
  const syncer = await startSyncer(t, a, [b]);
  await untilSynced(a, 'node-b', 'True');
  const stays = async (): Promise<unknown> => (await mirrorOn(a, 'node-b'))?.metadata.uid;
  const uid = await stays();
  writePeers(path, [b, c]);
  await untilSynced(a, 'node-c', 'True');
  writeFileSync(path, 'peers: [{node: node-c}]');
  await syncer.waitForLine(/peers file not accepted.*needs server/u);
  rmSync(path);
  await syncer.waitForLine(/peers file not accepted.*no such file/u);
  await setPort(c, 7300);
  await untilPort(a, 'node-c', 7300);
  writePeers(path, [b]);
  await waitFor(async () => (await mirrorOn(a, 'node-c')) === undefined, { what: 'node-c gone' });
  assert.equal(await stays(), uid);
  await untilSynced(a, 'node-b', 'True');
  assert.equal(syncer.stderr.match(/no such file/gu)?.length, 1);
  assert.equal(syncer.stderr.match(/following peer[^\n]*node-b/gu)?.length, 1);
});

test('it waits for an API server that is not there yet', async (t) => {
  const dir = tempDir(t);
  const syncer = startEdge(t, [
    'syncer',
    '--data-dir',
    dir,
    '--node',
    'node-a',
    '--peers',
    'node-b=http://127.0.0.1:1',
  ]);
  await syncer.waitForLine(/lost the API server, retrying.*no API server is configured/u);
  await startApiserver(t, 'node-a', dir, await freePort());
  await new Promise((resolve) => {
    setTimeout(resolve, 1500);
  });
  assert.equal(syncer.exit, undefined);
  assert.deepEqual(await syncer.stop(), { status: 0, signal: null });
});

test('wrong lists of peers are usage errors', async () => {
  const cases: [string[], RegExp][] = [
    [['--peers', 'n=http://a,n=http://b'], /two peers are called "n"/u],
    [['--peers', 'nonsense'], /NODE=URL/u],
    [['--peers-file', '/nonexistent'], /peers file/u],
    [['--peers', 'n=http://a', '--peers-file', '/x'], /exclude each other/u],
    [['--peerz', 'x'], /unknown option/u],
  ];
  for (const [args, message] of cases) {
    const { status, stderr } = await runEdge(['syncer', ...args]);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  }
});
