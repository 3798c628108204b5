/** Tests of the syncer between fake API servers: mirrors appear, follow, age, are restored and removed. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeApiServer } from '../../test/support/fake-api-server.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { SOON_MS, waitFor } from '../../test/support/wait.ts';
import { ORIGIN_ANNOTATION } from '../api/edge.ts';
import type { Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { Registry } from '../lib/metrics.ts';
import type { Peer } from './peers.ts';
import { createSyncer } from './syncer.ts';
import type { Syncer } from './syncer.ts';

checkLeaks();

function router(name: string, bindPort = 7000, annotations: Record<string, string> = {}): Router {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name, annotations },
    spec: { frps: { bindPort } },
    status: { version: '1' },
  };
}

async function api(t: TestContext): Promise<FakeApiServer> {
  const server = new FakeApiServer();
  await server.start(t);
  return server;
}

function startSyncer(
  t: TestContext,
  local: FakeApiServer,
  peers: readonly Peer[] | string,
): { syncer: Syncer; registry: Registry } {
  const client = createApiClient({ server: local.url });
  const registry = new Registry();
  const syncer = createSyncer(
    { node: 'node-1', from: peers, local: client },
    { clock: systemClock, log: silentLogger, registry },
  );
  t.after(async () => {
    await syncer.stop();
    client.close();
  });
  void syncer.start();
  return { syncer, registry };
}

const mirrorOf = (server: FakeApiServer, name: string): Router | undefined =>
  server.objects.get(name) as Router | undefined;
const syncedOf = (server: FakeApiServer, name: string): string | undefined =>
  mirrorOf(server, name)?.status?.conditions?.find(({ type }) => type === 'Synced')?.status;
const writesTo = (server: FakeApiServer): string[] =>
  server.requests.filter((line) => !line.startsWith('GET'));

test("a peer's own Router is mirrored, followed and removed", async (t) => {
  const [local, peer] = [await api(t), await api(t)];
  peer.put(router('node-2'));
  const { registry } = startSyncer(t, local, [{ node: 'node-2', server: peer.url }]);
  await waitFor(() => syncedOf(local, 'node-2') === 'True', { what: 'mirror' });
  assert.equal(mirrorOf(local, 'node-2')?.metadata.annotations?.[ORIGIN_ANNOTATION], 'node-2');
  peer.put({ ...router('node-2', 7001), status: { version: '2' } });
  await waitFor(() => mirrorOf(local, 'node-2')?.spec.frps.bindPort === 7001, { what: 'spec' });
  await waitFor(() => mirrorOf(local, 'node-2')?.status?.version === '2', { what: 'status' });
  assert.match(await registry.metrics(), /edge_syncer_peer_connected\{peer="node-2"\} 1/u);
  await waitFor(
    async () => (await registry.metrics()).includes('edge_syncer_mirror_writes_total{peer="node-2"} 2'),
    {
      what: 'both writes counted',
    },
  );
  peer.remove('node-2');
  await waitFor(() => mirrorOf(local, 'node-2') === undefined, { what: 'removed' });
});

test('two nodes that mirror each other settle, and neither touches its own Router', async (t) => {
  const [a, b] = [await api(t), await api(t)];
  a.put(router('node-1'));
  b.put(router('node-2'));
  startSyncer(t, a, [
    { node: 'node-2', server: b.url },
    { node: 'node-1', server: a.url },
  ]);
  const client = createApiClient({ server: b.url });
  const other = createSyncer(
    { node: 'node-2', from: [{ node: 'node-1', server: a.url }], local: client },
    { clock: systemClock, log: silentLogger, registry: new Registry() },
  );
  t.after(async () => {
    await other.stop();
    client.close();
  });
  void other.start();
  await waitFor(() => syncedOf(a, 'node-2') === 'True' && syncedOf(b, 'node-1') === 'True', {
    what: 'both mirrors',
  });
  await waitFor(() => a.watchers === 2 && b.watchers === 2, { what: 'all watches' });
  const before = [writesTo(a).length, writesTo(b).length];
  await new Promise((resolve) => {
    setTimeout(resolve, 500);
  });
  assert.deepEqual([writesTo(a).length, writesTo(b).length], before);
  assert.deepEqual(before, [2, 2], 'a create and a status each');
  assert.equal(mirrorOf(a, 'node-1')?.status?.conditions, undefined);
});

test('a mirror that is deleted or altered here is restored', async (t) => {
  const [local, peer] = [await api(t), await api(t)];
  peer.put(router('node-2'));
  startSyncer(t, local, [{ node: 'node-2', server: peer.url }]);
  await waitFor(() => syncedOf(local, 'node-2') === 'True', { what: 'mirror' });
  local.remove('node-2');
  await waitFor(() => syncedOf(local, 'node-2') === 'True', { what: 'mirror again' });
  local.put(router('node-2', 1, { [ORIGIN_ANNOTATION]: 'node-2' }));
  await waitFor(
    () => mirrorOf(local, 'node-2')?.spec.frps.bindPort === 7000 && syncedOf(local, 'node-2') === 'True',
    { what: 'spec restored' },
  );
});

test('a peer that is away keeps its mirror, marked; back again it converges soon', async (t) => {
  const [local, peer] = [await api(t), await api(t)];
  peer.put(router('node-2'));
  startSyncer(t, local, [{ node: 'node-2', server: peer.url }]);
  await waitFor(() => syncedOf(local, 'node-2') === 'True', { what: 'mirror' });
  await peer.stop();
  await waitFor(() => syncedOf(local, 'node-2') === 'False', { what: 'marked', timeoutMs: SOON_MS });
  assert.equal(mirrorOf(local, 'node-2')?.spec.frps.bindPort, 7000);
  peer.put(router('node-2', 7009));
  await peer.start(t);
  await waitFor(
    () => syncedOf(local, 'node-2') === 'True' && mirrorOf(local, 'node-2')?.spec.frps.bindPort === 7009,
    {
      what: 'converged',
      timeoutMs: SOON_MS,
    },
  );
});

test('a peer that returns within a moment leaves no mark', async (t) => {
  const [local, peer] = [await api(t), await api(t)];
  peer.put(router('node-2'));
  startSyncer(t, local, [{ node: 'node-2', server: peer.url }]);
  const asked = (): number => peer.requests.filter((line) => line.endsWith('/routers')).length;
  let version: string | undefined;
  // where this process stood still the peer was away for longer than a moment: once more
  for (let awayMs = Infinity; awayMs > 1000;) {
    await waitFor(() => syncedOf(local, 'node-2') === 'True' && peer.watchers === 1, { what: 'in step' });
    version = mirrorOf(local, 'node-2')?.metadata.resourceVersion;
    const [before, cutAt] = [asked(), performance.now()];
    peer.cut();
    await waitFor(() => peer.watchers === 1 && asked() >= before + 2, { what: 'back' });
    awayMs = performance.now() - cutAt;
  }
  await new Promise((resolve) => {
    setTimeout(resolve, 1700); // past the grace
  });
  assert.equal(mirrorOf(local, 'node-2')?.metadata.resourceVersion, version);
});

test('the local API may be away at the start and in between', async (t) => {
  const [local, peer] = [await api(t), await api(t)];
  await local.stop();
  peer.put(router('node-2'));
  const { syncer } = startSyncer(t, local, [{ node: 'node-2', server: peer.url }]);
  await waitFor(() => peer.watchers === 1, { what: 'peer followed' });
  assert.match(syncer.checks[0]?.problem() ?? '', /local API/u);
  await local.start(t);
  await waitFor(() => syncedOf(local, 'node-2') === 'True', { what: 'mirror' });
  await local.stop();
  peer.put(router('node-2', 7005));
  local.put({ ...router('node-9', 1, { [ORIGIN_ANNOTATION]: 'node-9' }) });
  await local.start(t);
  await waitFor(() => mirrorOf(local, 'node-2')?.spec.frps.bindPort === 7005, { what: 'caught up' });
  await waitFor(() => mirrorOf(local, 'node-9') === undefined, { what: 'stranger removed' });
  assert.equal(syncer.checks[0]?.problem(), undefined);
});

test('a peer that lies about other names, or hangs, changes nothing for the others', async (t) => {
  const [local, liar, hanging, good] = [await api(t), await api(t), await api(t), await api(t)];
  local.put(router('node-1'));
  const own = mirrorOf(local, 'node-1');
  liar.isLying = true;
  liar.put(router('node-1', 666));
  liar.put(router('node-4', 666));
  liar.put(router('node-2', 7002));
  hanging.isHanging = true;
  good.put(router('node-4', 7004));
  startSyncer(t, local, [
    { node: 'node-2', server: liar.url },
    { node: 'node-3', server: hanging.url },
    { node: 'node-4', server: good.url },
  ]);
  await waitFor(() => syncedOf(local, 'node-2') === 'True' && syncedOf(local, 'node-4') === 'True', {
    what: 'mirrors',
  });
  liar.put(router('node-1', 667));
  liar.put(router('node-4', 667));
  liar.put(router('node-2', 7003));
  await waitFor(() => mirrorOf(local, 'node-2')?.spec.frps.bindPort === 7003, { what: 'truth followed' });
  assert.equal(mirrorOf(local, 'node-4')?.spec.frps.bindPort, 7004);
  assert.deepEqual(mirrorOf(local, 'node-1'), own);
  assert.equal(mirrorOf(local, 'node-3'), undefined);
});

test('the peers file is followed; a wrong one is refused and the old list kept', async (t) => {
  const [local, two, three] = [await api(t), await api(t), await api(t)];
  two.put(router('node-2'));
  three.put(router('node-3'));
  const path = join(tempDir(t), 'peers.yaml');
  const write = (...peers: Peer[]): void => writeFileSync(path, JSON.stringify({ peers }));
  write({ node: 'node-2', server: two.url });
  const { syncer } = startSyncer(t, local, path);
  await waitFor(() => syncedOf(local, 'node-2') === 'True', { what: 'first mirror' });
  writeFileSync(path, 'peers: [{node: n}]');
  await assert.rejects(syncer.reload(), { code: 'EDGE_ERR_USAGE' });
  assert.equal(syncedOf(local, 'node-2'), 'True');
  write({ node: 'node-3', server: three.url });
  await waitFor(() => syncedOf(local, 'node-3') === 'True' && mirrorOf(local, 'node-2') === undefined, {
    what: 'new list',
  });
});
