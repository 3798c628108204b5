/** Traffic is counted by day, and what is gone is remembered for a while. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleProxy, sampleSession } from '../../../test/support/router-samples.ts';
import type { ProxyInfo, SessionInfo } from '../../tunnel/frps/types.ts';
import type { ServerView } from '../status.ts';
import { EMPTY_TOTALS } from '../tunnel.ts';
import { clientKey, DaySeries, History, localDay } from './history.ts';

function view(proxies: ProxyInfo[], sessions: SessionInfo[] = [], bytesIn = 0): ServerView {
  const totals = { ...EMPTY_TOTALS, bytesIn };
  return { port: 7000, sessions, proxies, visitors: [], totals };
}

const MONDAY = new Date(2026, 0, 5, 12);
const TUESDAY = new Date(2026, 0, 6, 12);

test('a day series keeps seven days', () => {
  const series = new DaySeries();
  for (let day = 1; day <= 10; day++) series.add(day, day, 0);
  assert.deepEqual(series.at(10).in, [10, 9, 8, 7, 6, 5, 4]);
  assert.deepEqual(series.at(12).in, [0, 0, 10, 9, 8, 7, 6]);
  assert.equal(series.at(30).in.length, 7);
});

test('traffic goes to the day it was seen on, and a proxy that restarts counts on', () => {
  const history = new History();
  history.sample(view([sampleProxy('a', { bytesIn: 10, bytesOut: 1 })], [], 10), MONDAY);
  history.sample(view([sampleProxy('a', { bytesIn: 25, bytesOut: 2 })], [], 25), TUESDAY);
  const restarted = sampleProxy('a', { runId: 'run-9', bytesIn: 5 });
  history.sample(view([restarted], [], 30), TUESDAY);
  const record = history.proxies.get('a');
  assert.deepEqual(record?.days.at(localDay(TUESDAY)).in.slice(0, 2), [20, 10]);
  assert.equal(record?.totalIn, 30);
  assert.deepEqual(history.total.at(localDay(TUESDAY)).in.slice(0, 2), [20, 10]);
});

test('a closed proxy is offline, and forgotten after seven days', () => {
  const history = new History();
  history.sample(view([sampleProxy('a', { connections: 3 })]), MONDAY);
  history.sample(view([]), TUESDAY);
  const record = history.proxies.get('a');
  assert.equal(record?.isOnline, false);
  assert.equal(record?.info.connections, 0);
  assert.equal(record?.closedAt, TUESDAY);
  history.sample(view([]), new Date(2026, 0, 14, 13));
  assert.equal(history.proxies.size, 0);
});

test('only closed proxies are dropped on demand', () => {
  const history = new History();
  history.sample(view([sampleProxy('a'), sampleProxy('b')]), MONDAY);
  history.sample(view([sampleProxy('b')]), MONDAY);
  assert.deepEqual(history.dropOffline(), { cleared: 1, total: 2 });
  assert.deepEqual([...history.proxies.keys()], ['b']);
});

test('a client with an id stays when it leaves, one without vanishes', () => {
  const history = new History();
  const known = sampleSession({ runId: 'r1', user: 'alice', clientId: 'laptop' });
  const unknown = sampleSession({ runId: 'r2' });
  assert.equal(clientKey(known), 'alice.laptop');
  assert.equal(clientKey(unknown), 'r2');
  history.sample(view([], [known, unknown]), MONDAY);
  assert.equal(history.clients.size, 2);
  history.sample(view([]), TUESDAY);
  assert.deepEqual([...history.clients.keys()], ['alice.laptop']);
  assert.equal(history.clients.get('alice.laptop')?.disconnectedAt, TUESDAY);
});

test('the number of remembered proxies is bounded; closed ones give way', () => {
  const history = new History();
  const crowd = (prefix: string) => Array.from({ length: 6000 }, (_, at) => sampleProxy(`${prefix}-${at}`));
  history.sample(view(crowd('old')), MONDAY);
  history.sample(view([]), MONDAY);
  history.sample(view(crowd('new')), MONDAY);
  assert.equal(history.proxies.size, 10_000);
  assert.ok(history.proxies.get('new-5999')?.isOnline);
});

test('a proxy that comes and goes between two samples is remembered with its traffic', () => {
  const history = new History();
  history.sample(view([]), MONDAY);
  history.proxyClosed(sampleProxy('a', { bytesIn: 7, connections: 1, totalConnections: 1 }), MONDAY);
  history.sample(view([]), MONDAY);
  const record = history.proxies.get('a');
  assert.equal(record?.isOnline, false);
  assert.equal(record?.closedAt, MONDAY);
  assert.equal(record?.info.connections, 0);
  assert.equal(record?.days.at(localDay(MONDAY)).in[0], 7);
});

test('a proxy that restarts between two samples counts both of its lives', () => {
  const history = new History();
  history.sample(view([sampleProxy('a', { bytesIn: 5 })]), MONDAY);
  history.proxyClosed(sampleProxy('a', { bytesIn: 9 }), MONDAY);
  history.sample(view([sampleProxy('a', { bytesIn: 2, startedAt: TUESDAY })]), TUESDAY);
  const record = history.proxies.get('a');
  assert.equal(record?.totalIn, 11);
  assert.equal(record?.isOnline, true);
});

test('a client that comes and goes between two samples stays when it has an id', () => {
  const history = new History();
  history.clientGone(sampleSession({ clientId: 'laptop' }), MONDAY);
  history.clientGone(sampleSession({ runId: 'r2' }), MONDAY);
  assert.deepEqual([...history.clients.keys()], ['laptop']);
  assert.equal(history.clients.get('laptop')?.isOnline, false);
});

test('the late end of an old login does not take a new one offline', () => {
  const history = new History();
  const old = sampleSession({ clientId: 'laptop', runId: 'r1', connectedAt: MONDAY });
  const young = sampleSession({ clientId: 'laptop', runId: 'r2', connectedAt: TUESDAY });
  history.sample(view([], [young]), TUESDAY);
  history.clientGone(old, TUESDAY);
  assert.equal(history.clients.get('laptop')?.isOnline, true);
});
