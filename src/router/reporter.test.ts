/** The status is written when it matters, and only then. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SOON_MS } from '../../test/support/wait.ts';
import type { RouterStatus } from '../api/gen/types.ts';
import { silentLogger } from '../lib/log.ts';
import { HEARTBEAT_MS, StatusReporter } from './reporter.ts';

function setup() {
  const clock = new FakeClock();
  const written: { status: RouterStatus; atMs: number }[] = [];
  const state = {
    status: { observedGeneration: 1, activeServices: [], clients: [] } as RouterStatus | undefined,
    fail: false,
    hang: false,
    /** What a look at the state costs. */
    costMs: 0,
  };
  const reporter = new StatusReporter({
    clock,
    random: () => 0,
    log: silentLogger,
    snapshot() {
      clock.advance(state.costMs);
      return state.status === undefined ? undefined : structuredClone(state.status);
    },
    async write(status, signal) {
      if (state.fail) throw new Error('away');
      if (state.hang) {
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        });
      }
      written.push({ status, atMs: clock.now() });
    },
  });
  return { clock, written, state, reporter };
}

const service = { name: 'mysql', namespace: 'default', protocol: 'TCP' } as const;

test('many changes at once are one write, within 100 ms', async () => {
  const { clock, written, reporter } = setup();
  for (let at = 0; at < 50; at++) reporter.notify();
  await clock.advanceAsync(100);
  assert.equal(written.length, 1);
  await reporter.stop();
});

test('nothing is written when nothing changed, until the heartbeat', async () => {
  const { clock, written, reporter } = setup();
  reporter.notify();
  await clock.advanceAsync(100);
  for (let at = 0; at < 100; at++) {
    reporter.notify();
    await clock.advanceAsync(200);
  }
  assert.equal(written.length, 1);
  await clock.advanceAsync(HEARTBEAT_MS);
  assert.equal(written.length, 2);
  await clock.advanceAsync(HEARTBEAT_MS * 2);
  assert.equal(written.length, 4);
  await reporter.stop();
});

test('a service that comes is written within 100 ms, counters wait for the heartbeat', async () => {
  const { clock, written, state, reporter } = setup();
  reporter.notify();
  await clock.advanceAsync(100);
  state.status = { ...state.status, traffic: { bytesIn: 5 } };
  reporter.notify();
  await clock.advanceAsync(1000);
  assert.equal(written.length, 1);
  state.status = { ...state.status, activeServices: [service] };
  reporter.notify();
  await clock.advanceAsync(100);
  assert.equal(written.length, 2);
  assert.deepEqual(written[1]?.status.traffic, { bytesIn: 5 });
  await reporter.stop();
});

test('clients that come and go are written every two seconds at most', async () => {
  const { clock, written, state, reporter } = setup();
  reporter.notify();
  await clock.advanceAsync(100);
  for (let at = 0; at < 40; at++) {
    state.status = { ...state.status, clients: [{ id: `client-${at}` }] };
    reporter.notify();
    await clock.advanceAsync(100);
  }
  assert.ok(written.length >= 2 && written.length <= 4, `${written.length} writes in 4 s`);
  await clock.advanceAsync(2100);
  assert.deepEqual(written.at(-1)?.status.clients, [{ id: 'client-39' }]);
  await reporter.stop();
});

test('a failed write is retried with the newest state', async () => {
  const { clock, written, state, reporter } = setup();
  state.fail = true;
  reporter.notify();
  await clock.advanceAsync(1000);
  state.status = { ...state.status, activeServices: [service] };
  state.fail = false;
  await clock.advanceAsync(10_000);
  assert.equal(written.length, 1);
  assert.deepEqual(written[0]?.status.activeServices, [service]);
  assert.ok(reporter.counts.failures >= 2);
  await reporter.stop();
});

test('tries become rare while the API server is away, and come at once when it is back', async () => {
  const { clock, written, state, reporter } = setup();
  state.fail = true;
  for (let at = 0; at < 600; at++) {
    reporter.notify();
    await clock.advanceAsync(100);
  }
  assert.ok(reporter.counts.failures < 15, `${reporter.counts.failures} tries in a minute`);
  state.fail = false;
  reporter.retryNow();
  await clock.advanceAsync(100);
  assert.equal(written.length, 1);
  await reporter.stop();
});

test('a write that hangs is given up and tried again', async () => {
  const { clock, written, state, reporter } = setup();
  state.hang = true;
  reporter.notify();
  await clock.advanceAsync(5000);
  state.hang = false;
  await clock.advanceAsync(10_000);
  assert.equal(written.length, 1);
  await reporter.stop();
});

test('an object made anew gets the status at once', async () => {
  const { clock, written, reporter } = setup();
  reporter.notify();
  await clock.advanceAsync(100);
  reporter.rewrite();
  await clock.advanceAsync(100);
  assert.equal(written.length, 2);
  await reporter.stop();
});

test('without an object nothing is written', async () => {
  const { clock, written, state, reporter } = setup();
  state.status = undefined;
  reporter.notify();
  await clock.advanceAsync(HEARTBEAT_MS * 2);
  await reporter.stop();
  assert.equal(written.length, 0);
});

test('stopping writes the last state and leaves no timer', async () => {
  const { clock, written, state, reporter } = setup();
  reporter.notify();
  await clock.advanceAsync(100);
  state.status = { conditions: [{ type: 'Ready', status: 'False', reason: 'Stopped' }] };
  await reporter.stop();
  assert.equal(written.at(-1)?.status.conditions?.[0]?.reason, 'Stopped');
  assert.equal(clock.pendingTimers, 0);
  reporter.notify();
  await reporter.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('stopping does not wait long for an API server that hangs', async () => {
  const { clock, state, reporter } = setup();
  state.hang = true;
  reporter.notify();
  await clock.advanceAsync(100);
  const startedAt = performance.now();
  await reporter.stop();
  assert.ok(performance.now() - startedAt < SOON_MS);
  assert.equal(clock.pendingTimers, 0);
});

test('a change of routing is written within 100 ms while looks are not free and changes never end', async () => {
  const { clock, written, state, reporter } = setup();
  state.costMs = 15;
  let changedAt = 0;
  let worstMs = 0;
  for (let round = 0; round < 40; round++) {
    state.status = { observedGeneration: round + 1, activeServices: [], clients: [] };
    changedAt = clock.now();
    const before = written.length;
    while (written.length === before && clock.now() - changedAt < 1000) {
      reporter.notify();
      await clock.advanceAsync(1);
    }
    worstMs = Math.max(worstMs, clock.now() - changedAt);
  }
  assert.ok(worstMs <= 100, `${worstMs} ms`);
  state.costMs = 0;
  await reporter.stop();
});
