/** Tests of the selection of Routers: order, addresses, services, which of them need a client. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Router, RouterStatus } from '../api/gen/types.ts';
import { knownPorts, neededRouters, selectRouters } from './routers.ts';

function router(
  name: string,
  options: {
    origin?: string;
    synced?: 'True' | 'False';
    ready?: 'True' | 'False';
    status?: RouterStatus;
    spec?: Partial<Router['spec']>;
  } = {},
): Router {
  const conditions = [
    ...(options.synced === undefined ? [] : [{ type: 'Synced', status: options.synced }]),
    ...(options.ready === undefined ? [] : [{ type: 'Ready', status: options.ready }]),
  ];
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: {
      name,
      ...(options.origin === undefined ? {} : { annotations: { 'edge.example.com/origin': options.origin } }),
    },
    spec: { frps: { bindPort: 7000 }, ...options.spec },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }], conditions, ...options.status },
  };
}

const namesOf = (routers: readonly { name: string }[]) => routers.map(({ name }) => name);
const service = (name: string, port: number | undefined, ready = true) => ({
  name,
  namespace: 'default',
  protocol: 'TCP' as const,
  ...(port === undefined ? {} : { targetPort: port }),
  providers: [{ id: `${name}.default.p`, type: 'stcp', ready }],
});

test('the own Router comes first, then fresh mirrors, then stale ones', () => {
  const routers = [
    router('node-a', { origin: 'node-a', synced: 'False' }),
    router('node-b', { origin: 'node-b', synced: 'True', ready: 'False' }),
    router('node-d', { origin: 'node-d', synced: 'True' }),
    router('node-c', { origin: 'node-c', synced: 'True' }),
    router('node-x'),
  ];
  const selected = selectRouters(routers, { node: 'node-x', only: [] });
  assert.deepEqual(namesOf(selected), ['node-x', 'node-c', 'node-d', 'node-a', 'node-b']);
  assert.deepEqual(
    selected.map((view) => view.isStale),
    [false, false, false, true, true],
  );
});

test('a list of Routers restricts and orders them', () => {
  const routers = ['node-a', 'node-b', 'node-c'].map((name) =>
    router(name, { origin: name, synced: 'True' }),
  );
  assert.deepEqual(namesOf(selectRouters(routers, { node: 'x', only: ['node-c', 'node-z', 'node-a'] })), [
    'node-c',
    'node-a',
  ]);
});

test('in a pod the only Router that is no mirror is the own one', () => {
  const routers = [router('node-a', { origin: 'node-a', synced: 'True' }), router('node-b')];
  assert.deepEqual(
    selectRouters(routers, { node: 'pod-1', only: [] }).map((view) => [view.name, view.isOwn]),
    [
      ['node-b', true],
      ['node-a', false],
    ],
  );
  const several = [router('node-a'), router('node-b')];
  assert.equal(
    selectRouters(several, { node: 'pod-1', only: [] }).some((view) => view.isOwn),
    false,
  );
});

test('a unix socket is dialled on the own node only, and before other addresses', () => {
  const addresses: NonNullable<RouterStatus['addresses']> = [
    { type: 'Hostname', address: 'a.example.org' },
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'Socket', address: '/run/edge/router.sock' },
  ];
  const [own] = selectRouters([router('node-a', { status: { addresses } })], { node: 'node-a', only: [] });
  assert.deepEqual(own?.addresses, [
    { path: '/run/edge/router.sock' },
    { host: '192.0.2.1', port: 7000 },
    { host: 'a.example.org', port: 7000 },
  ]);
  const [mirror] = selectRouters([router('node-b', { origin: 'node-b', status: { addresses } })], {
    node: 'node-a',
    only: [],
  });
  assert.equal(mirror?.addresses.length, 2);
});

test('services come from what is active and what is advertised, TCP and UDP apart', () => {
  const [view] = selectRouters(
    [
      router('node-a', {
        status: {
          activeServices: [
            service('web', 80),
            service('web', 81, false),
            { ...service('web', 53), protocol: 'UDP' },
            { ...service('odd', 53), protocol: 'SCTP' as 'UDP' },
          ],
        },
        spec: {
          advertisedServices: [
            { name: 'db', port: 3306 },
            { name: 'db', port: 3307, protocol: 'UDP' },
          ],
        },
      }),
    ],
    { node: 'node-a', only: [] },
  );
  assert.ok(view);
  assert.deepEqual([...view.services.keys()], ['web.default', 'db.default']);
  assert.deepEqual(view.services.get('web.default')?.ports, [80, 81]);
  assert.deepEqual(
    view.services.get('web.default')?.providers.map((provider) => provider.isReady),
    [true, false, true],
  );
  assert.deepEqual(knownPorts([view], 'web.default', 'TCP'), [80, 81]);
  assert.deepEqual(knownPorts([view], 'web.default', 'UDP'), [53]);
  assert.deepEqual(knownPorts([view], 'db.default', 'UDP'), [3307]);
  assert.deepEqual(knownPorts([view], 'none.default', 'TCP'), []);
});

test('one who publishes needs every Router, one who maps those with its services and the own', () => {
  const views = selectRouters(
    [
      router('node-a'),
      router('node-b', {
        origin: 'node-b',
        synced: 'True',
        status: { activeServices: [service('web', 80)] },
      }),
      router('node-c', { origin: 'node-c', synced: 'True' }),
    ],
    { node: 'node-a', only: [] },
  );
  assert.deepEqual([...neededRouters(views, true, [])], ['node-a', 'node-b', 'node-c']);
  assert.deepEqual([...neededRouters(views, false, ['web.default'])], ['node-a', 'node-b']);
  assert.deepEqual([...neededRouters(views, false, [])], []);
});

test('a Router without a status is listed and has no address', () => {
  const bare = { ...router('node-a') };
  delete bare.status;
  assert.deepEqual(selectRouters([bare], { node: 'node-a', only: [] })[0]?.addresses, []);
});
