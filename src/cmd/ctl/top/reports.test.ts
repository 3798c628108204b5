/** Tests of rates: spans, restarts, clients that come, clocks that differ, what is no longer believed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import type { Router, RouterStatusClient } from '../../../api/gen/types.ts';
import { rfc3339 } from '../../../lib/clock.ts';
import { Reports } from './reports.ts';
import type { RouterView } from './reports.ts';
import { areRatesKnown, viewsNow, whenRatesKnown } from './sampling.ts';

interface Sample {
  bytesIn?: number;
  bytesOut?: number;
  connections?: number;
  clients?: RouterStatusClient[];
  startTime?: string;
  ready?: 'True' | 'False';
  synced?: 'True' | 'False';
  /** How far the Router's clock is ahead, milliseconds. */
  ahead?: number;
}

/** A Router that reports at the clock's time. */
function reported(clock: FakeClock, sample: Sample = {}, name = 'node-1'): Router {
  const { bytesIn = 0, bytesOut = 0, connections = 0, clients = [], ready = 'True', synced } = sample;
  const time = rfc3339(clock.wallNow());
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: {
      name,
      ...(synced === undefined
        ? {}
        : { annotations: { 'edge.example.com/origin': 'node-2', 'edge.example.com/synced-at': time } }),
    },
    spec: { frps: { bindPort: 7000 } },
    status: {
      conditions: [
        { type: 'Ready', status: ready, message: 'the port is taken' },
        ...(synced === undefined ? [] : [{ type: 'Synced', status: synced, message: 'peer away' }]),
      ],
      startTime: sample.startTime ?? '2026-01-01T00:00:00Z',
      lastHeartbeatTime: rfc3339(new Date(clock.wallNow().getTime() + (sample.ahead ?? 0))),
      clients,
      traffic: { bytesIn, bytesOut, connections },
    },
  };
}

function createWorld() {
  const clock = new FakeClock();
  const reports = new Reports();
  const look = (router: Router): RouterView => {
    const [view] = viewsNow(reports, [router], clock);
    assert.ok(view !== undefined);
    return view;
  };
  return { clock, reports, look };
}

const bytesIn = (view: RouterView): number | undefined => view.rate((totals) => totals.bytesIn);

test('a rate is the difference of two reports over the time between them', () => {
  const { clock, look } = createWorld();
  const first = look(reported(clock, { bytesIn: 1000, connections: 5 }));
  assert.deepEqual([bytesIn(first), first.overSeconds, first.trust], [undefined, undefined, 'Ready']);
  clock.advance(30_000);
  const router = reported(clock, { bytesIn: 4000, connections: 20 });
  clock.advance(700); // on its way
  const second = look(router);
  assert.deepEqual(
    [bytesIn(second), second.rate((totals) => totals.connections), second.overSeconds],
    [100, 0.5, 30],
  );
  clock.advance(20_000); // its age is no part of it
  const later = look(router);
  assert.deepEqual([bytesIn(later), later.overSeconds, later.ageMs], [100, 30, 20_000]);
});

test('reports that are close to each other are taken together', () => {
  const { clock, look } = createWorld();
  look(reported(clock, { bytesIn: 0 }));
  const spans: (number | undefined)[] = [];
  for (let second = 2; second <= 16; second += 2) {
    clock.advance(2000);
    const view = look(reported(clock, { bytesIn: second * 10 }));
    spans.push(view.overSeconds);
    if (view.overSeconds !== undefined) assert.equal(bytesIn(view), 10);
  }
  assert.deepEqual(spans, [undefined, undefined, undefined, undefined, 10, 10, 10, 10]);
});

test('a Router that started anew, or counts less, has no rate until it has reported again', () => {
  const { clock, look } = createWorld();
  look(reported(clock, { bytesIn: 1000 }));
  clock.advance(30_000);
  assert.equal(bytesIn(look(reported(clock, { bytesIn: 2000, startTime: 'later' }))), undefined);
  clock.advance(30_000);
  assert.equal(bytesIn(look(reported(clock, { bytesIn: 2300, startTime: 'later' }))), 10);
  clock.advance(30_000);
  assert.equal(bytesIn(look(reported(clock, { bytesIn: 5, startTime: 'later' }))), undefined);
  // its clock was set back
  assert.equal(
    bytesIn(look(reported(clock, { bytesIn: 5000, startTime: 'later', ahead: -90_000 }))),
    undefined,
  );
});

test('what is old, away or broken says so, and has no rate', () => {
  const { clock, look } = createWorld();
  look(reported(clock, { bytesIn: 0 }));
  clock.advance(30_000);
  const router = reported(clock, { bytesIn: 3000 });
  look(router);
  clock.advance(121_000);
  const silent = look(router);
  assert.deepEqual([silent.trust, bytesIn(silent)], ['Silent', undefined]);
  assert.equal(look(reported(clock, { ready: 'False' })).trust, 'NotReady');
  assert.equal(look(reported(clock, { ready: 'False' })).why, 'the port is taken');
  const stale = look(reported(clock, { synced: 'False' }));
  assert.deepEqual(
    [stale.trust, stale.why, stale.origin, bytesIn(stale)],
    ['Stale', 'peer away', 'node-2', undefined],
  );
  const { status: _none, ...fresh } = reported(clock);
  assert.deepEqual([look(fresh).trust, look(fresh).ageMs], ['Unknown', undefined]);
});

test('a mirror that no syncer confirms is stale', () => {
  const { clock, look } = createWorld();
  const mirror = reported(clock, { synced: 'True' });
  assert.equal(look(mirror).trust, 'Ready');
  clock.advance(151_000);
  const other = { ...mirror, status: { ...mirror.status, lastHeartbeatTime: rfc3339(clock.wallNow()) } };
  assert.deepEqual([look(other).trust, look(other).why], ['Stale', 'not confirmed by the syncer']);
});

test('the clock of a Router may be wrong once reports were seen to come', () => {
  const { clock, look } = createWorld();
  const behind = -3_600_000;
  assert.equal(look(reported(clock, { ahead: behind })).trust, 'Silent');
  clock.advance(30_000);
  const view = look(reported(clock, { ahead: behind, bytesIn: 300 }));
  assert.deepEqual([view.trust, view.ageMs, bytesIn(view)], ['Ready', 0, 10]);
});

test('a client that came since the older report counts from its connecting, others from that report', () => {
  const { clock, look } = createWorld();
  const client = (id: string, connectedAt: Date, bytes: number): RouterStatusClient => ({
    id,
    role: 'provider',
    connectedAt: rfc3339(connectedAt),
    bytesIn: bytes,
    bytesOut: 2 * bytes,
  });
  const start = clock.wallNow();
  const early = new Date(start.getTime() - 60_000);
  look(reported(clock, { clients: [client('old', early, 1000)] }));
  clock.advance(30_000);
  const [old, fresh, back, hidden] = [
    client('old', early, 1300),
    client('fresh', new Date(start.getTime() + 5000), 600),
    client('old', new Date(start.getTime() + 9000), 60), // connected again
    client('hidden', early, 5000), // left out of the older report
  ];
  const view = look(reported(clock, { clients: [old, fresh, back, hidden] }));
  assert.deepEqual(
    [old, fresh, back, hidden].map((each) => view.clientRates(each)),
    [{ bytesIn: 10, bytesOut: 20 }, { bytesIn: 20, bytesOut: 40 }, { bytesIn: 2, bytesOut: 4 }, undefined],
  );
});

test('one table waits for every Router that reports, and no longer than it may', async () => {
  const { clock, reports } = createWorld();
  let routers = [reported(clock), reported(clock, { synced: 'False' }, 'away')];
  let listener = (): void => {};
  const source = { list: () => routers, onChange: (fn: () => void) => void (listener = fn) };
  let isDone = false;
  const wait = (signal = new AbortController().signal): Promise<void> =>
    whenRatesKnown(reports, source, { clock, limitMs: 45_000, signal }).then(() => void (isDone = true));
  const waiting = wait();
  await clock.advanceAsync(29_000);
  assert.equal(isDone, false);
  routers = [reported(clock), ...routers.slice(1)];
  listener();
  await waiting;
  assert.ok(areRatesKnown(viewsNow(reports, routers, clock)));
  routers = [reported(clock, { startTime: 'later' })];
  isDone = false;
  const limited = wait();
  await clock.advanceAsync(44_000);
  assert.equal(isDone, false);
  await clock.advanceAsync(1000);
  await limited;
  await wait(AbortSignal.abort());
  assert.equal(clock.pendingTimers, 0);
});
