/** Following a frps: what its dashboard says becomes objects; gaps, foreign objects, wrong answers and its silence. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { silentLogger } from '../../lib/log.ts';
import { Registry } from '../../lib/metrics.ts';
import { createHarness } from '../../../test/support/apiserver-harness.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { resources } from '../registry/resources.ts';
import { createFrpsFollower } from './frps-follower.ts';
import { readProxies, sightingsOf } from './frps-sightings.ts';
import { createNodeWriter } from './node-writer.ts';
import { withReport, withState } from './objects.ts';

const ADDRESS = '203.0.113.7';
const tcp = (name: string, remotePort: number, status = 'online') => ({
  name,
  status,
  conf: status === 'online' ? { name, type: 'tcp', remotePort, metadatas: {} } : null,
});

async function follow(t: TestContext) {
  const api = await createHarness({});
  t.after(() => api.close());
  const clock = new FakeClock();
  const resource = resources.get('nodemaintenances');
  assert.ok(resource);
  const nodes = createNodeWriter({ store: api.store, resource, clock });
  const answers: Record<string, unknown> = {
    '/api/serverinfo': { bindPort: 7000 },
    '/api/proxy/tcp': { proxies: [] },
    '/api/proxy/stcp': { proxies: [] },
  };
  const state = { rounds: 0, isDown: false };
  const registry = new Registry();
  const follower = createFrpsFollower(
    { address: ADDRESS, intervalMs: 1000 },
    {
      nodes,
      clock,
      random: () => 0,
      log: silentLogger,
      registry,
      get(path) {
        if (path === '/api/serverinfo') state.rounds++;
        if (state.isDown) return Promise.reject(new Error('connection refused'));
        return Promise.resolve(answers[path]);
      },
    },
  );
  t.after(() => follower.stop());
  /** Starts a round by moving the clock, and waits until it is over. */
  const round = async (byMs = 1000): Promise<void> => {
    const { rounds } = state;
    await waitFor(() => clock.pendingTimers > 0, { what: 'the follower to wait' });
    clock.advance(byMs);
    await waitFor(() => state.rounds > rounds && clock.pendingTimers > 0, { what: 'a round' });
  };
  const start = async (): Promise<void> => {
    await follower.start();
    await waitFor(() => state.rounds > 0 && clock.pendingTimers > 0, { what: 'the first round' });
  };
  const show = (id: string) => {
    const object = nodes.get(`nodemaintenances-${id}`);
    const service = object?.spec.services?.[0];
    const status = object?.status?.services?.[0]?.status;
    return object && `${object.spec.nodeName} ${service?.frpServerIpAddress}:${service?.proxyPort} ${status}`;
  };
  return { api, nodes, clock, answers, state, registry, follower, round, start, show };
}

test('proxies become nodes, and nodes whose proxy is gone go offline', async (t) => {
  const { answers, round, start, show, nodes, api, registry } = await follow(t);
  answers['/api/proxy/tcp'] = {
    proxies: [tcp('ssh-a', 6022), tcp('team.ssh-b', 6023), tcp('web', 80), tcp('ssh-c', 0, 'offline')],
  };
  const metadatas = {
    type: 'ssh',
    uniqueId: 'd',
    node: 'node-7',
    service: 'ssh-d',
    hostKeys: 'ssh-ed25519 AAAA',
  };
  answers['/api/proxy/stcp'] = {
    proxies: [{ name: 'ssh-d.maintenance.pod', status: 'online', conf: { metadatas } }],
  };
  await start();
  assert.equal(show('a'), `node-a ${ADDRESS}:6022 online`);
  assert.equal(show('b'), `node-b ${ADDRESS}:6023 online`);
  assert.equal(show('c'), undefined);
  assert.equal(show('d'), `node-7 ${ADDRESS}:7000 online`);
  const object = nodes.get('nodemaintenances-d');
  assert.equal(object?.spec.proxy?.endpoint, 'ssh-d.maintenance.pod');
  assert.equal(object.metadata.annotations?.['edge.example.com/ssh-host-keys'], 'ssh-ed25519 AAAA');
  assert.match(await registry.metrics(), /edge_adapter_frps_nodes\{address="203\.0\.113\.7"\} 3/u);

  const { revision } = api.store;
  await round();
  assert.equal(api.store.revision, revision, 'a round without news writes nothing');

  answers['/api/proxy/tcp'] = { proxies: [tcp('ssh-a', 6022, 'offline'), tcp('team.ssh-b', 6099)] };
  await round();
  assert.equal(show('a'), `node-a ${ADDRESS}:6022 offline`);
  assert.equal(show('b'), `node-b ${ADDRESS}:6099 online`);
  assert.equal(nodes.get('nodemaintenances-a')?.status?.conditions?.[0]?.reason, 'ProxyOffline');
});

test('objects from before are set right at the start; those of Routers and of other servers are left alone', async (t) => {
  const { answers, start, show, nodes } = await follow(t);
  const now = new Date(0);
  const make = async (uniqueId: string, address: string, annotations = {}): Promise<void> => {
    const report = { uniqueId, address, port: '22', status: 'online' as const };
    const object = withState(withReport(undefined, report), 'online', now);
    await nodes.write(object.metadata.name ?? '', () => ({
      ...object,
      metadata: { ...object.metadata, annotations },
    }));
  };
  const ofRouter = { 'edge.example.com/router': 'hub' };
  await make('gone', ADDRESS);
  await make('other', '203.0.113.8');
  await make('routed', ADDRESS, ofRouter);
  await make('both', ADDRESS, ofRouter);
  answers['/api/proxy/tcp'] = { proxies: [tcp('ssh-both', 6022)] };
  await start();
  assert.equal(show('gone'), `node-gone ${ADDRESS}:22 offline`);
  assert.equal(show('other'), 'node-other 203.0.113.8:22 online');
  assert.equal(show('routed'), `node-routed ${ADDRESS}:22 online`);
  assert.equal(show('both'), `node-both ${ADDRESS}:22 online`);
});

test('a silent frps is asked less and less often, loses its nodes after a while, and gets them back', async (t) => {
  const { answers, round, start, show, state, nodes, clock } = await follow(t);
  answers['/api/proxy/tcp'] = { proxies: [tcp('ssh-a', 6022)] };
  await start();
  state.isDown = true;
  await round();
  assert.equal(show('a'), `node-a ${ADDRESS}:6022 online`, 'one failure says little');
  const failedAt = clock.now();
  const before = state.rounds;
  while (show('a')?.endsWith('online') === true) await round(5000);
  assert.ok(clock.now() - failedAt >= 10_000);
  assert.ok(state.rounds - before <= 8);
  const condition = nodes.get('nodemaintenances-a')?.status?.conditions?.[0];
  assert.equal(condition?.reason, 'FrpServerUnreachable');
  assert.match(condition.message ?? '', /connection refused/u);
  state.isDown = false;
  await round(5000);
  assert.equal(show('a'), `node-a ${ADDRESS}:6022 online`);
});

test('an answer that is no list of proxies changes nothing', async (t) => {
  const { answers, round, start, show } = await follow(t);
  answers['/api/proxy/tcp'] = { proxies: [tcp('ssh-a', 6022)] };
  await start();
  for (const broken of [undefined, null, [], {}, { proxies: 'x' }, '<html>']) {
    answers['/api/proxy/tcp'] = broken;
    await round(5000);
    assert.equal(show('a'), `node-a ${ADDRESS}:6022 online`);
    answers['/api/proxy/tcp'] = { proxies: [tcp('ssh-a', 6022)] };
    await round(5000);
  }
});

test('what a proxy says is checked before it gets into an object', () => {
  const server = { address: ADDRESS, bindPort: 7000 };
  const read = (...proxies: unknown[]) => readProxies({ proxies }, 'tcp', server);
  assert.deepEqual(
    read(
      null,
      7,
      {},
      tcp('ssh-', 1),
      tcp('ssh-A', 1),
      tcp('ssh-a.b', 1),
      tcp('ssh-a/../b', 1),
      tcp('ssh-a', 0),
      tcp('ssh-a', 70_000),
      { name: 'ssh-a', status: 'online', conf: { remotePort: '22' } },
    ),
    [],
  );
  // before 0.53 frps wrote with underscores
  const [old] = read({ name: 'ssh-a', status: 'online', conf: { remote_port: 22 } });
  assert.equal(old?.port, '22');
  const twice = sightingsOf(read(tcp('ssh-a', 1), tcp('x.ssh-a', 2)));
  assert.deepEqual(
    [...twice.values()].map(({ port }) => port),
    ['1'],
  );
  const many = Array.from({ length: 5000 }, (_, at) => tcp(`ssh-${at}`, 22));
  assert.equal(sightingsOf(read(...many)).size, 4096);
  const forged = { type: 'ssh', uniqueId: 'a', service: 'ssh-a', node: '<b>', hostKeys: 'x\ny' };
  const [node] = read({ name: 'x', status: 'online', conf: { remotePort: 22, metadatas: forged } });
  assert.deepEqual([node?.nodeName, node?.hostKeys], ['node-a', '']);
});

test('the object that a report makes is one that the API takes', async (t) => {
  const { nodes, answers, start } = await follow(t);
  answers['/api/proxy/tcp'] = { proxies: [tcp('ssh-a', 6022)] };
  await start();
  const object: NodeMaintenance | undefined = nodes.get('nodemaintenances-a');
  const owners = object?.metadata.managedFields?.map(({ manager }) => manager);
  assert.deepEqual(new Set(owners), new Set(['edge-adapter']));
});
