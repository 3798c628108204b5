/** Tests of the hub: what it says about mirrors when Routers fall silent or vanish, and nodes that meet at one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeApiServer } from '../../test/support/fake-api-server.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { waitFor } from '../../test/support/wait.ts';
import { ORIGIN_ANNOTATION } from '../api/edge.ts';
import type { NodeMaintenance, Router, RouterStatusCondition } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { Registry } from '../lib/metrics.ts';
import { createHub } from './hub.ts';
import type { Hub } from './hub.ts';
import type { Claim } from './mirror.ts';
import { createSyncer } from './syncer.ts';

checkLeaks();

function router(name: string, beat?: string): Router {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindPort: 7000 } },
    ...(beat === undefined ? {} : { status: { lastHeartbeatTime: beat } }),
  };
}

function mirrorOf(name: string, beat: string, reason = 'Synced'): Router {
  const status = reason === 'Synced' ? 'True' : 'False';
  return {
    ...router(name),
    metadata: { name, annotations: { [ORIGIN_ANNOTATION]: name } },
    status: { lastHeartbeatTime: beat, conditions: [{ type: 'Synced', status, reason }] },
  };
}

async function startHub(t: TestContext): Promise<{
  api: FakeApiServer;
  clock: FakeClock;
  hub: Hub;
  of: (name: string, mirror?: Router) => Claim<Router>;
}> {
  const api = new FakeApiServer();
  await api.start(t);
  const clock = new FakeClock();
  const client = createApiClient({ server: api.url });
  const hub = createHub('node-1', client, {
    clock,
    random: Math.random,
    log: silentLogger,
    onRouter: () => {},
    onMaintenance: () => {},
  });
  t.after(async () => {
    await hub.stop();
    client.close();
  });
  const of = (name: string, mirror?: Router): Claim<Router> => {
    const claim = hub.routers.of(name, mirror);
    assert.ok(claim !== 'leave' && claim !== undefined);
    return claim;
  };
  return { api, clock, hub, of };
}

test('a Router whose heartbeat stands still for 90 seconds is not believed, and its first beat is', async (t) => {
  const { api, clock, hub, of } = await startHub(t);
  api.put(router('node-2', 'beat 1'));
  api.put(router('plain'));
  hub.start();
  await waitFor(() => api.watchers === 1, { what: 'followed' });
  assert.equal(of('node-2').isReachable, true);
  assert.equal(of('node-2').recheckMs, 90_000);
  assert.equal(of('plain').recheckMs, undefined, 'what never had a heartbeat has none to miss');
  clock.advance(89_000);
  assert.equal(of('node-2').isReachable, true);
  clock.advance(1000);
  await waitFor(() => hub.isConnected, { what: 'still connected' });
  assert.deepEqual([of('node-2').isReachable, of('node-2').reason], [false, 'PeerSilent']);
  api.put(router('node-2', 'beat 2'));
  await waitFor(() => of('node-2').isReachable, { what: 'heard again' });
  const marked = mirrorOf('node-2', 'beat 2', 'PeerSilent');
  assert.equal(of('node-2', marked).reason, 'PeerSilent', 'a restart does not make old news fresh');
  assert.equal(of('node-2', mirrorOf('node-2', 'beat 1', 'PeerSilent')).isReachable, true);
});

test('what vanishes at the hub is kept for ten seconds, and the own Router is not for mirrors', async (t) => {
  const { api, clock, hub, of } = await startHub(t);
  api.put(router('node-2', 'x'));
  const mirror = mirrorOf('node-2', 'x');
  assert.equal(of('node-2', mirror).source, 'unknown', 'nothing is known before the first answer');
  hub.start();
  await waitFor(() => api.watchers === 1, { what: 'followed' });
  api.remove('node-2');
  await waitFor(() => hub.routerCopy.get('node-2') === undefined, { what: 'gone' });
  assert.equal(of('node-2', mirror).source, 'unknown');
  clock.advance(9000);
  assert.equal(of('node-2', mirror).source, 'unknown');
  clock.advance(1000);
  assert.equal(of('node-2', mirror).source, undefined);
  assert.equal(hub.routers.of('node-1', undefined), 'leave');
  assert.equal(hub.routers.of('node-9', undefined), 'leave');
});

interface TestNode {
  api: FakeApiServer;
  registry: Registry;
}

async function startNode(t: TestContext, name: string, hubUrl: string, publisher = name): Promise<TestNode> {
  const api = new FakeApiServer();
  await api.start(t);
  const [local, own, hub] = [api.url, api.url, hubUrl].map((server) => createApiClient({ server }));
  assert.ok(local && own && hub);
  const registry = new Registry();
  const syncer = createSyncer(
    { node: name, local, from: { hub, own, publisher } },
    { clock: systemClock, log: silentLogger, registry },
  );
  t.after(async () => {
    await syncer.stop();
    for (const client of [local, own, hub]) client.close();
  });
  await syncer.start();
  return { api, registry };
}

const at = (api: FakeApiServer, name: string): Router | undefined =>
  api.objects.get(name) as Router | undefined;
const syncedOf = (object: Router | undefined): RouterStatusCondition | undefined =>
  object?.status?.conditions?.find(({ type }) => type === 'Synced');

test('a hub that lost everything gets it back from the nodes, and no mirror goes meanwhile', async (t) => {
  const hub = new FakeApiServer();
  await hub.start(t);
  const [one, two] = [await startNode(t, 'node-1', hub.url), await startNode(t, 'node-2', hub.url)];
  one.api.put(router('node-1', 'a'));
  two.api.put(router('node-2', 'b'));
  await waitFor(() => syncedOf(at(one.api, 'node-2')) && syncedOf(at(two.api, 'node-1')), {
    what: 'mirrors',
  });
  const before = at(one.api, 'node-2')?.metadata.uid;
  await hub.stop();
  hub.remove('node-1');
  hub.remove('node-2');
  await hub.start(t);
  await waitFor(() => at(hub, 'node-2')?.status?.lastHeartbeatTime === 'b', { what: 'published again' });
  await waitFor(() => syncedOf(at(one.api, 'node-2'))?.status === 'True', { what: 'confirmed' });
  assert.equal(at(one.api, 'node-2')?.metadata.uid, before, 'the mirror was never removed');
});

test('two nodes of one name and one installation notice each other by what is written', async (t) => {
  const hub = new FakeApiServer();
  await hub.start(t);
  const one = await startNode(t, 'node-1', hub.url, 'image');
  one.api.put(router('node-1', 'a'));
  await waitFor(() => at(hub, 'node-1')?.status?.lastHeartbeatTime === 'a', { what: 'published' });
  const two = await startNode(t, 'node-1', hub.url, 'image');
  two.api.put(router('node-1', 'b'));
  await waitFor(async () => /name_conflict\{subject="hub\/node-1"\} 1/u.test(await one.registry.metrics()), {
    what: 'noticed',
  });
  const before = hub.requests.length;
  await new Promise((resolve) => {
    setTimeout(resolve, 1000);
  });
  assert.ok(hub.requests.length - before < 10, 'and they do not flood the hub');
});

test('a node behind two Routers is at the hub what the Router says that has it', async (t) => {
  const hub = new FakeApiServer();
  await hub.start(t);
  const [one, two] = [await startNode(t, 'node-1', hub.url), await startNode(t, 'node-2', hub.url)];
  const state = (routerName: string, status: 'online' | 'offline'): NodeMaintenance => ({
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name: 'nm', annotations: { 'edge.example.com/router': routerName } },
    spec: { nodeName: 'node-7', proxy: { type: 'FRP', endpoint: '' } },
    status: { services: [{ name: 'ssh', status }] },
  });
  const origin = (): string | undefined => hub.objects.get('nm')?.metadata.annotations?.[ORIGIN_ANNOTATION];
  one.api.put(state('node-1', 'online'));
  await waitFor(() => origin() === 'node-1' && hub.objects.get('nm')?.status !== undefined, {
    what: 'published',
  });
  two.api.put(state('node-2', 'online'));
  await waitFor(() => two.api.objects.has('nm') && hub.requests.length > 0, { what: 'second one there' });
  assert.equal(origin(), 'node-1');
  one.api.put(state('node-1', 'offline'));
  await waitFor(() => origin() === 'node-2', { what: 'taken over' });
  two.api.remove('nm');
  await waitFor(() => origin() === 'node-1', { what: 'given back' });
  one.api.remove('nm');
  await waitFor(() => origin() === undefined, { what: 'removed' });
});
