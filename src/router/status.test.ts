/** What the server sees becomes the Router's status. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  sampleProxy,
  sampleSession,
  sampleVisitor,
  serviceMetas,
} from '../../test/support/router-samples.ts';
import { buildStatus, STATUS_LIMITS, statusKeys, urgencyOf } from './status.ts';
import type { ServerView, StatusInput } from './status.ts';

const NOW = new Date('2026-01-01T00:10:00Z');
const LATER = new Date('2026-01-01T00:20:00Z');

function view(fields: Partial<ServerView> = {}): ServerView {
  return {
    port: 7000,
    sessions: [sampleSession({ metas: { pod: 'pod-a' } })],
    proxies: [],
    visitors: [],
    totals: {
      bytesIn: 5,
      bytesOut: 6,
      connections: 7,
      openConnections: 1,
      refusedLogins: 0,
      queuedBytes: 0,
      droppedConnections: 0,
    },
    ...fields,
  };
}

function input(fields: Partial<StatusInput> = {}): StatusInput {
  return {
    generation: 3,
    conditions: [],
    ready: { isReady: true, reason: 'Serving', message: 'serving' },
    notes: [],
    addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
    version: '1.2.3',
    startedAt: new Date('2026-01-01T00:00:00Z'),
    now: NOW,
    view: view(),
    ...fields,
  };
}

const mysqlProxy = sampleProxy('mysql.default.pod-a', {
  metas: { ...serviceMetas('mysql', 'default', 3306), localAddr: '127.0.0.1:3306' },
  connections: 3,
  bytesIn: 10,
  bytesOut: 20,
});

test('a provider appears as service and as client', () => {
  const status = buildStatus(input({ view: view({ proxies: [mysqlProxy] }) }));
  assert.deepEqual(status.activeServices, [
    {
      name: 'mysql',
      namespace: 'default',
      protocol: 'TCP',
      localPort: 7000,
      targetPort: 3306,
      providers: [{ id: 'mysql.default.pod-a', type: 'stcp', node: 'node-1', ready: true, connections: 3 }],
    },
  ]);
  assert.deepEqual(status.clients, [
    {
      id: 'pod-a-mysql',
      type: 'stcp',
      role: 'provider',
      remoteAddr: '192.0.2.7:51344',
      localAddr: '127.0.0.1:3306',
      serviceName: 'mysql.default',
      connectedAt: '2026-01-02T03:04:05Z',
      connections: 3,
      bytesIn: 10,
      bytesOut: 20,
      version: '0.70.1',
    },
  ]);
  assert.deepEqual(status.traffic, { bytesIn: 5, bytesOut: 6, connections: 7 });
  assert.equal(status.observedGeneration, 3);
});

test('a visitor appears as client of its target', () => {
  const visitors = [
    sampleVisitor('redis.cache', { loginMetas: { pod: 'pod-b' }, metas: { localAddr: '127.0.66.1:6379' } }),
    sampleVisitor('ssh', { clientId: 'laptop', type: 'sudp' }),
    sampleVisitor('web.default.pod-a', { runId: 'abc' }),
  ];
  const status = buildStatus(input({ view: view({ visitors }) }));
  assert.deepEqual(
    status.clients?.map((client) => [
      client.id,
      client.role,
      client.type,
      client.serviceName,
      client.localAddr,
    ]),
    [
      ['abc-web', 'visitor', 'stcp', 'web.default', undefined],
      ['laptop-ssh', 'visitor', 'sudp', undefined, undefined],
      ['pod-b-redis', 'visitor', 'stcp', 'redis.cache', '127.0.66.1:6379'],
    ],
  );
});

test('a tcp proxy shows the port it listens on', () => {
  const proxies = [sampleProxy('web.default.a', { type: 'tcp', remotePort: 7001 })];
  assert.equal(buildStatus(input({ view: view({ proxies }) })).activeServices?.[0]?.localPort, 7001);
});

test('a provider whose session is gone is not ready', () => {
  const status = buildStatus(input({ view: view({ proxies: [mysqlProxy], sessions: [] }) }));
  assert.equal(status.activeServices?.[0]?.providers?.[0]?.ready, false);
});

test('a proxy that is no service is a client only', () => {
  const status = buildStatus(input({ view: view({ proxies: [sampleProxy('ssh')] }) }));
  assert.deepEqual(status.activeServices, []);
  assert.equal(status.clients?.[0]?.id, 'ssh');
});

test('the transition time moves only when the condition does', () => {
  const first = buildStatus(input());
  const same = buildStatus(input({ conditions: first.conditions ?? [], now: LATER }));
  assert.equal(same.conditions?.[0]?.lastTransitionTime, '2026-01-01T00:10:00Z');
  const changed = buildStatus(
    input({
      conditions: same.conditions ?? [],
      now: LATER,
      ready: { isReady: false, reason: 'BindFailed', message: 'no' },
    }),
  );
  assert.equal(changed.conditions?.[0]?.lastTransitionTime, '2026-01-01T00:20:00Z');
  assert.equal(changed.conditions?.[0]?.reason, 'BindFailed');
});

test('conditions of other writers stay', () => {
  const status = buildStatus(input({ conditions: [{ type: 'Cloud', status: 'True' }] }));
  assert.deepEqual(
    status.conditions?.map((condition) => condition.type),
    ['Ready', 'Cloud'],
  );
});

test('rows are bounded and the condition says what is missing', () => {
  const proxies = Array.from({ length: STATUS_LIMITS.services + 10 }, (_, at) =>
    sampleProxy(`svc-${String(at).padStart(5, '0')}.default.pod`),
  );
  const crowd = Array.from({ length: 5000 }, (_, at) => sampleProxy(`svc-00000.default.p${at}`));
  const status = buildStatus(input({ view: view({ proxies: [...proxies, ...crowd] }) }));
  const providers = status.activeServices?.map((service) => service.providers?.length ?? 0) ?? [];
  assert.equal(providers.length, STATUS_LIMITS.services);
  assert.ok(providers.every((count) => count >= 1));
  assert.equal(
    providers.reduce((sum, count) => sum + count, 0),
    STATUS_LIMITS.providers,
  );
  assert.equal(status.clients?.length, STATUS_LIMITS.clients);
  assert.match(
    status.conditions?.[0]?.message ?? '',
    /services not shown; .* providers not shown; .* clients not shown/u,
  );
  assert.ok(JSON.stringify(status).length < 1_400_000);
});

test('services and conditions are urgent, clients less, counters wait', () => {
  const base = buildStatus(input({ view: view({ proxies: [mysqlProxy] }) }));
  const counted = buildStatus(
    input({
      now: LATER,
      view: view({ proxies: [{ ...mysqlProxy, connections: 9, bytesIn: 99 }] }),
      conditions: base.conditions ?? [],
    }),
  );
  assert.equal(urgencyOf(statusKeys(base), statusKeys(counted)), 'heartbeat');
  const visited = buildStatus(
    input({
      conditions: base.conditions ?? [],
      view: view({ proxies: [mysqlProxy], visitors: [sampleVisitor('mysql.default')] }),
    }),
  );
  assert.equal(urgencyOf(statusKeys(base), statusKeys(visited)), 'soon');
  const gone = buildStatus(input({ conditions: base.conditions ?? [], view: view() }));
  assert.equal(urgencyOf(statusKeys(base), statusKeys(gone)), 'now');
  assert.equal(urgencyOf(undefined, statusKeys(base)), 'now');
});
