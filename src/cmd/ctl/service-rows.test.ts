/** Tests of the rows of services and of the lines of a trace. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API_VERSION } from '../../api/edge.ts';
import type { Router } from '../../api/gen/types.ts';
import type { TraceReport, TraceRouter } from '../../sidecar/trace.ts';
import { serviceRows, serviceTable } from './service-rows.ts';
import { traceOf } from './trace-lines.ts';

const router = (name: string, ready: boolean): Router => ({
  apiVersion: API_VERSION,
  kind: 'Router',
  metadata: { name },
  spec: { frps: { bindPort: 7000 } },
  status: {
    activeServices: [
      {
        name: 'web',
        namespace: 'prod',
        protocol: 'TCP',
        targetPort: 80,
        providers: [
          { id: 'web.prod.a', type: 'stcp', node: 'node-1', ready: true },
          { id: 'web.prod.b', type: 'stcp', ready, ...(ready ? {} : { message: 'GET /live answered 503' }) },
        ],
      },
    ],
  },
});

test('a provider on two Routers is one, and is ready when one of them says so', () => {
  const [row, ...others] = serviceRows([router('node-1', false), router('node-2', true)], undefined, 'web');
  assert.equal(others.length, 0);
  assert.deepEqual(row?.routers, ['node-1', 'node-2']);
  assert.deepEqual(
    row.providers.map(({ id, ready, routers }) => [id, ready, routers]),
    [
      ['web.prod.a', true, ['node-1', 'node-2']],
      ['web.prod.b', true, ['node-1', 'node-2']],
    ],
  );
});

test('the wide table says why a provider is not ready', () => {
  const rows = serviceRows([router('node-1', false)], undefined, 'web.prod');
  assert.deepEqual(serviceTable(rows, true)[1], [
    'prod',
    'web',
    '80/TCP',
    '1/2',
    'ready',
    '<none>',
    'node-1',
    '<none>',
    'web.prod.a, web.prod.b (GET /live answered 503)',
  ]);
  assert.deepEqual(serviceRows([router('node-1', true)], undefined, 'web.test'), []);
});

const hop = (fields: Partial<TraceRouter> = {}): TraceRouter => ({
  router: 'node-1',
  own: true,
  stale: false,
  address: '127.0.0.1:7000',
  phase: 'online',
  roundTripMs: 0.2,
  lastError: null,
  providers: [{ id: 'web.prod.a', node: '', port: 80, ready: true, message: '' }],
  attempt: { routerMs: 1, targetMs: 2, provider: 'web.prod.a', sealed: false, error: null },
  ...fields,
});
const report = (...routers: TraceRouter[]): TraceReport => ({
  service: 'web.prod',
  address: '127.0.66.1',
  port: 80,
  protocol: 'TCP',
  ports: [{ port: 80, protocol: 'TCP', state: 'listening', error: undefined }],
  routers,
});
const name = {
  name: 'web.prod.svc',
  server: '127.0.0.2:53',
  addresses: ['127.0.66.1'],
  error: undefined,
  ms: 0.1,
};
const status = { apiserver: { synced: true, connected: true, fromCache: false } };
const broken = (...args: Parameters<typeof traceOf>) =>
  traceOf(...args)
    .lines.filter(({ state }) => state === 'broken')
    .map(({ hop: where }) => where.trim());

test('a trace that gets through one Router is good, and shows the other that is broken', () => {
  const refused = hop({
    router: 'node-2',
    phase: 'refused',
    lastError: 'token in login does not match',
    attempt: null,
  });
  const trace = traceOf(report(hop(), refused), name, status);
  assert.equal(trace.isReachable, true);
  assert.deepEqual(broken(report(hop(), refused), name, status), ['Router']);
  assert.equal(traceOf(report(refused), name, status).isReachable, false);
});

test('what breaks a trace is named: name, listener, tunnel, target', () => {
  assert.deepEqual(broken(report(hop()), { ...name, addresses: ['10.0.0.1'] }, status), ['name']);
  assert.deepEqual(broken(report(hop()), { ...name, error: 'no answer' }, status), ['name']);
  assert.deepEqual(broken({ ...report(hop()), ports: [] }, name, status), ['listener']);
  const failing = (routerMs: number | null) =>
    report(hop({ attempt: { routerMs, targetMs: null, provider: null, sealed: false, error: 'no' } }));
  assert.deepEqual(broken(failing(null), name, status), ['tunnel']);
  assert.deepEqual(broken(failing(1), name, status), ['target']);
  assert.deepEqual(broken(report(), name, status), ['Router']);
  const off = traceOf(report(hop()), { ...name, server: undefined }, status);
  assert.equal(off.isReachable, true);
});

test('UDP is judged by its providers, since it has no connections to try', () => {
  const udp = (ready: boolean): TraceReport => ({
    ...report(
      hop({ attempt: null, providers: [{ id: 'ntp.a.b', node: '', port: 123, ready, message: '' }] }),
    ),
    protocol: 'UDP',
    port: 123,
    ports: [{ port: 123, protocol: 'UDP', state: 'listening', error: undefined }],
  });
  assert.equal(traceOf(udp(true), name, status).isReachable, true);
  assert.equal(traceOf(udp(false), name, status).isReachable, false);
});
