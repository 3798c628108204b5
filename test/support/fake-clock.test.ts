/** Tests of the fake clock: order of timers, periods, promises between timers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sleep } from '../../src/lib/clock.ts';
import { FakeClock } from './fake-clock.ts';

test('timers fire in order of their time, and of their making when equal', () => {
  const clock = new FakeClock();
  const fired: string[] = [];
  clock.after(20, () => fired.push(`b@${clock.now()}`));
  clock.after(10, () => fired.push(`a@${clock.now()}`));
  clock.after(20, () => fired.push(`c@${clock.now()}`));
  clock.advance(19);
  assert.deepEqual(fired, ['a@10']);
  clock.advance(1);
  assert.deepEqual(fired, ['a@10', 'b@20', 'c@20']);
  assert.equal(clock.pendingTimers, 0);
});

test('a period repeats until it is cancelled, also from inside its own call', () => {
  const clock = new FakeClock();
  let count = 0;
  const timer = clock.every(5, () => {
    count++;
    if (count === 3) timer.cancel();
  });
  clock.advance(100);
  assert.equal(count, 3);
  assert.equal(clock.pendingTimers, 0);
});

test('advanceAsync runs code that awaits between its waits', async () => {
  const clock = new FakeClock();
  const at: number[] = [];
  const work = (async () => {
    for (let round = 0; round < 3; round++) {
      await sleep(clock, 100);
      at.push(clock.now());
    }
  })();
  await clock.advanceAsync(300);
  await work;
  assert.deepEqual(at, [100, 200, 300]);
});

test('the wall clock jumps without touching monotonic time or timers', () => {
  const clock = new FakeClock();
  let isFired = false;
  clock.after(10, () => {
    isFired = true;
  });
  clock.setWall(new Date('2030-05-05T00:00:00Z'));
  assert.equal(clock.wallNow().toISOString(), '2030-05-05T00:00:00.000Z');
  assert.equal(clock.now(), 0);
  assert.equal(isFired, false);
});
