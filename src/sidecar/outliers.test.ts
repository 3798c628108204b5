/** Tests of leaving out providers that fail: when, for how long, how they come back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createOutliers } from './outliers.ts';

function setUp(afterFailures = 3) {
  const clock = new FakeClock();
  const state = { random: 0.5 };
  const outliers = createOutliers(() => ({ afterFailures, baseMs: 1000 }), {
    clock,
    random: () => state.random,
  });
  const fail = (count: number, provider = 'a') => {
    for (let at = 0; at < count; at++) outliers.failed(provider);
  };
  return { clock, state, outliers, fail };
}

test('only failures in a row count', () => {
  const { outliers, fail } = setUp();
  fail(2);
  outliers.succeeded('a');
  fail(2);
  assert.deepEqual(outliers.avoided(), []);
  fail(1);
  assert.deepEqual([outliers.avoided(), outliers.ejected, outliers.ejections], [['a'], 1, 1]);
});

test('a provider comes back little by little, and one failure on the way sends it off for twice as long', () => {
  const { clock, state, outliers, fail } = setUp();
  fail(3);
  clock.advance(1000);
  assert.equal(outliers.ejected, 0);
  state.random = 0.09;
  assert.deepEqual(outliers.avoided(), []); // a tenth of its connections at first
  state.random = 0.2;
  assert.deepEqual(outliers.avoided(), ['a']);
  clock.advance(500);
  assert.deepEqual(outliers.avoided(), []);
  fail(1);
  assert.deepEqual([outliers.avoided(), outliers.ejections], [['a'], 2]);
  clock.advance(1999);
  assert.equal(outliers.ejected, 1);
  clock.advance(1);
  assert.equal(outliers.ejected, 0);
  clock.advance(2000);
  state.random = 0.99;
  assert.deepEqual(outliers.avoided(), []);
  outliers.succeeded('a'); // behaves: the next time begins with the first length
  fail(3);
  clock.advance(1000);
  assert.equal(outliers.ejected, 0);
});

test('connections from before its ejection do not make it longer, and the length has an end', () => {
  const { clock, outliers, fail } = setUp(1);
  fail(5);
  assert.equal(outliers.ejections, 1);
  for (let round = 0; round < 10; round++) {
    clock.advance(12_000);
    fail(1);
  }
  clock.advance(11_999);
  assert.equal(outliers.ejected, 1);
  clock.advance(1);
  assert.equal(outliers.ejected, 0);
});

test('a provider that is late is left alone until it answers, or some seconds are over', () => {
  const { clock, outliers } = setUp();
  outliers.late('a');
  assert.deepEqual([outliers.avoided(), outliers.ejected], [['a'], 0]);
  outliers.succeeded('a');
  assert.deepEqual(outliers.avoided(), []);
  outliers.late('b');
  clock.advance(5000);
  assert.deepEqual(outliers.avoided(), []);
});

test('one silence is enough, and what is left out for sure is told', () => {
  const { clock, outliers } = setUp();
  outliers.failed('a', true);
  assert.deepEqual([outliers.ejected, outliers.isLeftOut('a')], [1, true]);
  clock.advance(1000);
  assert.equal(outliers.isLeftOut('a'), false); // a share of its connections is not nothing
  assert.deepEqual(outliers.avoided(), ['a']);
  outliers.late('a');
  assert.equal(outliers.isLeftOut('a'), true);
});

test('nobody is left out when it is switched off, and few are named at once', () => {
  const off = setUp(0);
  off.fail(10);
  assert.deepEqual(off.outliers.avoided(), []);
  const many = setUp(1);
  for (let at = 0; at < 400; at++) many.fail(1, `p${at}`);
  assert.equal(many.outliers.avoided().length, 16);
  assert.equal(many.outliers.ejected, 256);
});
