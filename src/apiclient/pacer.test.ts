/** Tests of the pacer: who takes more than the share waits as long as that lasts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createPacer } from './pacer.ts';

test('a burst is free, what goes beyond it waits, and quiet time fills the budget again', async () => {
  const clock = new FakeClock();
  const pacer = createPacer({ bytesPerSecond: 1000, burstBytes: 3000 }, clock);
  assert.equal(pacer.take(3000), undefined);
  let isOver = false;
  const waiting = pacer.take(500)?.then(() => {
    isOver = true;
  });
  assert.ok(waiting !== undefined);
  clock.advance(499);
  await Promise.resolve();
  assert.equal(isOver, false);
  clock.advance(1);
  await waiting;
  clock.advance(60_000);
  assert.equal(pacer.take(3000), undefined, 'never more than the burst');
  assert.ok(pacer.take(1) !== undefined);
});

test('no wait is longer than five seconds, and the end of the pacer ends every wait', async () => {
  const clock = new FakeClock();
  const pacer = createPacer({ bytesPerSecond: 1, burstBytes: 0 }, clock);
  const long = pacer.take(1_000_000);
  clock.advance(5000);
  await long;
  const cut = pacer.take(1_000_000);
  pacer.stop();
  await cut;
  assert.equal(pacer.take(1), undefined);
});
