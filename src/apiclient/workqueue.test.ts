/** Tests of the work queue: one call a key at a time, none lost, failures retried, nothing left behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../lib/log.ts';
import { createWorkQueue } from './workqueue.ts';

test('changes during a call lead to exactly one more', async () => {
  const clock = new FakeClock();
  let calls = 0;
  let open: (() => void) | undefined;
  const handle = async (): Promise<void> => {
    calls++;
    await new Promise<void>((resolve) => {
      open = resolve;
    });
  };
  const queue = createWorkQueue({ handle, maxRetryMs: 1000 }, { clock, log: silentLogger });
  for (let time = 0; time < 5; time++) queue.add('k');
  assert.equal(calls, 1);
  open?.();
  await clock.advanceAsync(0);
  assert.equal(calls, 2);
  open?.();
  await clock.advanceAsync(0);
  assert.equal(calls, 2);
  await queue.stop();
});

test('a failing key is retried with growing waits, and a change cuts the wait short', async () => {
  const clock = new FakeClock();
  const at: number[] = [];
  const handle = (): Promise<void> => {
    at.push(clock.now());
    return at.length < 4 ? Promise.reject(new Error('no')) : Promise.resolve();
  };
  const queue = createWorkQueue({ handle, maxRetryMs: 1000 }, { clock, random: () => 0, log: silentLogger });
  queue.add('k');
  await clock.advanceAsync(300);
  assert.deepEqual(at, [0, 100, 300]);
  queue.add('k');
  await clock.advanceAsync(5000);
  assert.deepEqual(at, [0, 100, 300, 300]);
  assert.equal(clock.pendingTimers, 0);
  await queue.stop();
});

test('of several delays the shortest counts, and stop drops them', async () => {
  const clock = new FakeClock();
  const at: number[] = [];
  const handle = (): Promise<void> => {
    at.push(clock.now());
    return Promise.resolve();
  };
  const queue = createWorkQueue({ handle, maxRetryMs: 1000 }, { clock, log: silentLogger });
  queue.addAfter('k', 500);
  queue.addAfter('k', 200);
  queue.addAfter('k', 900);
  await clock.advanceAsync(1000);
  assert.deepEqual(at, [200]);
  queue.addAfter('k', 100);
  await queue.stop();
  queue.add('k');
  await clock.advanceAsync(1000);
  assert.deepEqual(at, [200]);
  assert.equal(clock.pendingTimers, 0);
});

test('no more keys than allowed are handled at once, in the order of their coming, and stop ends the waiting', async () => {
  const clock = new FakeClock();
  const started: string[] = [];
  const open: (() => void)[] = [];
  const handle = async (key: string): Promise<void> => {
    started.push(key);
    await new Promise<void>((resolve) => {
      open.push(resolve);
    });
  };
  const queue = createWorkQueue({ handle, maxRetryMs: 1000, maxRunning: 2 }, { clock, log: silentLogger });
  for (const key of ['a', 'b', 'c', 'd', 'c']) queue.add(key);
  assert.deepEqual(started, ['a', 'b']);
  open[1]?.();
  await clock.advanceAsync(0);
  assert.deepEqual(started, ['a', 'b', 'c']);
  const stopped = queue.stop();
  for (const end of open) end();
  await stopped;
  assert.deepEqual(started, ['a', 'b', 'c']);
});
