/** Unit tests of the idle timer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createIdleTimer } from './idle.ts';

test('calls back once, after the last use, and never when stopped or without a limit', () => {
  const clock = new FakeClock();
  let calls = 0;
  const timer = createIdleTimer(clock, 1000, () => calls++);
  clock.advance(900);
  timer.touch();
  clock.advance(900);
  assert.equal(calls, 0);
  clock.advance(100);
  assert.equal(calls, 1);
  clock.advance(5000);
  assert.equal(calls, 1);
  createIdleTimer(clock, 1000, () => calls++).stop();
  createIdleTimer(clock, 0, () => calls++);
  clock.advance(5000);
  assert.equal(calls, 1);
});
