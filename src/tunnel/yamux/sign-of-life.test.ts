import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { givesSignOfLife } from './sign-of-life.ts';

/** A peer that owes an answer until `answer()`. */
function setUp() {
  const clock = new FakeClock();
  const mux = { probe: () => true, silentMs: 1, isClosed: false };
  let isAlive: boolean | undefined;
  void givesSignOfLife(mux, 1000, clock).then((value) => {
    isAlive = value;
  });
  return {
    clock,
    mux,
    answer: () => {
      mux.silentMs = 0;
    },
    isAlive: () => isAlive,
  };
}

test('a peer lives that answers in time, or owes no answer', async () => {
  const { clock, answer, isAlive } = setUp();
  await clock.advanceAsync(980);
  assert.equal(isAlive(), undefined);
  answer();
  await clock.advanceAsync(20);
  assert.equal(isAlive(), true);
  const quick = { probe: () => false, silentMs: 0, isClosed: false };
  assert.equal(await givesSignOfLife(quick, 1000, clock), true);
});

test('a peer that is silent, or whose connection ends meanwhile, does not', async () => {
  const silent = setUp();
  await silent.clock.advanceAsync(1000);
  assert.equal(silent.isAlive(), false);
  assert.equal(silent.clock.pendingTimers, 0);
  const cut = setUp();
  cut.mux.isClosed = true;
  await cut.clock.advanceAsync(20);
  assert.equal(cut.isAlive(), false);
});

test('an answer that came while this process stood still is read before the peer is judged', async () => {
  const { clock, answer, isAlive } = setUp();
  await clock.advanceAsync(980);
  clock.sleep(5000);
  await clock.advanceAsync(0);
  assert.equal(isAlive(), undefined);
  answer();
  await clock.advanceAsync(20);
  assert.equal(isAlive(), true);
});
