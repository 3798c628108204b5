/** Tests of the providers as one connection sees them: whom it avoids, and whether there is another one to go to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createOutliers } from './outliers.ts';
import { ProviderLuck } from './provider-luck.ts';

function setUp(known: string[][]) {
  const clock = new FakeClock();
  const outliers = createOutliers(() => ({ afterFailures: 3, baseMs: 1000 }), { clock, random: () => 0.5 });
  return { clock, outliers, luck: new ProviderLuck(outliers, () => known) };
}

test('another provider counts when this connection has not tried it and it is not left out', () => {
  const { luck, outliers } = setUp([['a', 'b'], ['b']]);
  assert.equal(luck.hasOther('a'), true);
  outliers.late('b');
  assert.equal(luck.hasOther('a'), false);
  outliers.succeeded('b');
  assert.equal(luck.failed('a', false), true);
  assert.equal(luck.failed('b', false), false);
  assert.equal(setUp([['a'], ['a']]).luck.hasOther('a'), false);
});

test('a provider that comes again although it was to be avoided is all that there is', () => {
  const { luck } = setUp([['a', 'b']]);
  assert.equal(luck.failed('a', false), true);
  assert.equal(luck.hasOther('a'), false);
  assert.equal(luck.failed('a', false), false);
});

test('one that is silent is left out for all at once, one that fails after a few times', () => {
  const { luck, outliers } = setUp([['a', 'b']]);
  luck.failed('a', false);
  assert.equal(outliers.isLeftOut('a'), false);
  luck.failed('b', true);
  assert.equal(outliers.isLeftOut('b'), true);
});

test('its own bad luck comes before what others had, and the list is bounded', () => {
  const many = Array.from({ length: 40 }, (_, at) => `p${at}`);
  const { luck, outliers } = setUp([many]);
  for (const id of many.slice(20)) outliers.failed(id, true);
  luck.draw();
  assert.equal(luck.avoided().length, 16);
  for (const id of many.slice(0, 3)) luck.failed(id, false);
  assert.deepEqual(luck.avoided().slice(0, 3), ['p2', 'p1', 'p0']);
  for (const id of many.slice(3, 16)) assert.equal(luck.failed(id, false), true);
  assert.equal(luck.failed('p16', false), false); // it waits a moment before it goes on
});
