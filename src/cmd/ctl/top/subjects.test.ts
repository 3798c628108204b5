/** Tests of the rows, their order and layout: services over their providers, narrow terminals, hostile names. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouterStatus, RouterStatusClient } from '../../../api/gen/types.ts';
import { UsageError } from '../../../lib/errors.ts';
import { Reports } from './reports.ts';
import type { RouterView } from './reports.ts';
import { clientRows, formatQuantity, routerRows, serviceRows, sortRows } from './rows.ts';
import { findSubject, headLines } from './subjects.ts';

const START = Date.UTC(2026, 0, 1);
const at = (seconds: number): string => new Date(START + seconds * 1000).toISOString();

function provider(id: string, bytes: number, extra: Partial<RouterStatusClient> = {}): RouterStatusClient {
  const base = {
    id,
    role: 'provider' as const,
    type: 'stcp',
    serviceName: 'web.default',
    connectedAt: at(-60),
  };
  return { ...base, connections: 2, bytesIn: bytes, bytesOut: bytes * 2, ...extra };
}

/** The view of a Router after two reports, 30 s apart. */
function viewOf(
  before: RouterStatusClient[],
  after: RouterStatusClient[],
  extra: RouterStatus = {},
): RouterView {
  const reports = new Reports();
  const take = (seconds: number, clients: RouterStatusClient[]): RouterView => {
    const [view] = reports.take(
      [
        {
          apiVersion: 'edge.example.com/v1',
          kind: 'Router',
          metadata: { name: 'node-1' },
          spec: { frps: { bindPort: 7000 } },
          status: {
            conditions: [{ type: 'Ready', status: 'True' }],
            lastHeartbeatTime: at(seconds),
            clients,
            ...extra,
          },
        },
      ],
      { monotonic: seconds * 1000, wall: START + seconds * 1000 },
    );
    assert.ok(view !== undefined);
    return view;
  };
  take(0, before);
  return take(30, after);
}

const SERVICES: RouterStatus = {
  activeServices: ['TCP', 'UDP'].map((protocol) => ({
    name: 'web',
    namespace: 'default',
    protocol: protocol as 'TCP' | 'UDP',
    providers: [
      { id: 'a', type: 'stcp', ready: true },
      { id: 'b', type: 'stcp', ready: false },
    ],
  })),
};

test('a service is the sum of its providers, each protocol for itself, consumers left out', () => {
  const visitor = provider('v', 700, { role: 'visitor' });
  const udp = provider('u', 30, { type: 'sudp' });
  const view = viewOf(
    [provider('a', 0), provider('b', 100), visitor],
    [provider('a', 300), provider('b', 400), visitor, udp],
    SERVICES,
  );
  const [tcp, other, ...more] = serviceRows([view]);
  assert.equal(more.length, 0);
  const { readyProviders, providers, consumers, open, bytesIn, bytesInPerSecond, bytesOutPerSecond } =
    tcp ?? {};
  assert.deepEqual(
    { readyProviders, providers, consumers, open, bytesIn, bytesInPerSecond, bytesOutPerSecond },
    {
      readyProviders: 1,
      providers: 2,
      consumers: 1,
      open: 4,
      bytesIn: 700,
      bytesInPerSecond: 20,
      bytesOutPerSecond: 40,
    },
  );
  // its provider was left out of the first report, so what it carried since then is not known
  assert.deepEqual([other?.protocol, other?.bytesIn, other?.bytesInPerSecond], ['UDP', 30, null]);
  assert.equal(routerRows([view])[0]?.open, 6);
  assert.equal(clientRows([view]).find(({ role }) => role === 'visitor')?.bytesInPerSecond, 0);
});

test('rows are sorted by the wanted figure, unknown ones last', () => {
  const view = viewOf(
    [provider('a', 0), provider('b', 0)],
    [provider('c', 9000), provider('a', 30), provider('b', 600, { connections: 1 })],
  );
  const names = (key: string): string[] => sortRows(clientRows([view]), key).map(({ name }) => name);
  assert.deepEqual(names('rate'), ['b', 'a', 'c']);
  assert.deepEqual(names('total'), ['c', 'b', 'a']);
  assert.deepEqual(names('open'), ['c', 'a', 'b']);
  assert.deepEqual(names('name'), ['a', 'b', 'c']);
});

test('quantities have four digits at most and a unit', () => {
  const cases: [number | null, string][] = [
    [null, '-'],
    [0, '0'],
    [0.4, '0'],
    [1023, '1023'],
    [1023.7, '1.0Ki'],
    [1536, '1.5Ki'],
    [10 * 1024, '10Ki'],
    [1024 * 1024, '1.0Mi'],
    [2 ** 60, '1024Pi'],
  ];
  for (const [value, text] of cases) assert.equal(formatQuantity(value), text, String(value));
});

test('a narrow terminal gets the columns that matter most', () => {
  const view = viewOf([provider('a', 0)], [provider('a', 30)], SERVICES);
  const show = (width?: number) =>
    findSubject('services').show([view], {
      names: [],
      sortBy: 'rate',
      hasHeaders: true,
      ...(width === undefined ? {} : { width }),
    }).lines[0]?.text;
  assert.match(
    show() ?? '',
    /^SERVICE +ROUTER +READY +IN\/S +OUT\/S +OPEN +IN +OUT +CONSUMERS +ORIGIN +STATE +OVER +AGE$/u,
  );
  for (const width of [100, 80, 60, 40]) assert.ok((show(width) ?? '').length <= width);
  assert.match(show(30) ?? '', /^SERVICE +IN\/S +OUT\/S/u);
  assert.match(show(1) ?? '', /^SERVICE +IN\/S +OUT\/S$/u);
});

test('names of clients cannot steer the terminal', () => {
  const view = viewOf([], [provider('a\u001B[2J\n', 0)]);
  const { lines } = findSubject('clients').show([view], { names: [], sortBy: 'rate', hasHeaders: false });
  assert.equal(lines.length, 1);
  assert.match(lines[0]?.text ?? '', /^a\?\[2J\? /u);
});

test('names choose rows, words choose subjects', () => {
  const view = viewOf([], [provider('a', 0), provider('b', 0, { serviceName: 'db.prod' })], SERVICES);
  const count = (word: string, ...names: string[]): number =>
    findSubject(word).show([view], { names, sortBy: 'rate', hasHeaders: true }).rows.length;
  assert.deepEqual(
    [
      count('rt'),
      count('router', 'node-1'),
      count('svc', 'web'),
      count('services', 'web.default'),
      count('service', 'we'),
    ],
    [1, 1, 2, 2, 0],
  );
  assert.deepEqual(
    [count('clients', 'a'), count('client', 'db'), count('clients', 'db.prod', 'a')],
    [1, 1, 2],
  );
  assert.throws(() => findSubject('constructor'), UsageError);
});

test('the head says when the server was lost', () => {
  const view = viewOf([], []);
  const options = { server: 'https://x', time: new Date(START), lostForMs: undefined };
  const [head, ...more] = headLines([view], options);
  assert.equal(head?.text, '00:00:00Z   https://x   Routers 1/1 ready   in 0/s   out 0/s   open 0');
  assert.equal(more.length, 0);
  assert.match(headLines([view], { ...options, lostForMs: 5000 })[1]?.text ?? '', /not answered for 5s/u);
});
