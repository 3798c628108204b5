/** Tests of time as a dependency. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { rfc3339, sleep, systemClock } from './clock.ts';

test('timestamps have whole seconds and end in Z', () => {
  assert.equal(rfc3339(new Date('2026-03-04T05:06:07.899Z')), '2026-03-04T05:06:07Z');
});

test('sleep resolves when its time is over and not before', async () => {
  const clock = new FakeClock();
  let isOver = false;
  const done = sleep(clock, 100).then(() => {
    isOver = true;
  });
  await clock.advanceAsync(99);
  assert.equal(isOver, false);
  await clock.advanceAsync(1);
  await done;
  assert.equal(isOver, true);
});

test('sleep ends at once when the signal aborts, and leaves no timer', async () => {
  const clock = new FakeClock();
  const stop = new AbortController();
  const done = sleep(clock, 1000, stop.signal);
  stop.abort();
  await done;
  assert.equal(clock.pendingTimers, 0);
  await sleep(clock, 1000, stop.signal); // already aborted
  assert.equal(clock.pendingTimers, 0);
});

test('the machine clock is monotonic and its timers can be cancelled', async () => {
  const before = systemClock.now();
  let fired = 0;
  systemClock.after(1, () => fired++).cancel();
  await new Promise<void>((resolve) => {
    const timer = systemClock.every(2, () => {
      timer.cancel();
      resolve();
    });
    // these timers do not hold the process; this one does until the other has fired
    const hold = setTimeout(() => {}, 5000);
    systemClock.after(50, () => clearTimeout(hold));
  });
  assert.equal(fired, 0);
  assert.ok(systemClock.now() - before >= 1);
});
