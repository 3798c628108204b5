/** Tests of the back-off: growth, ceiling, jitter, and starting over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from './backoff.ts';

const noJitter = () => 0;

test('doubles up to the ceiling and stays there', () => {
  const backoff = new Backoff({ initialMs: 100, maxMs: 500 }, noJitter);
  assert.deepEqual(
    Array.from({ length: 5 }, () => backoff.next()),
    [100, 200, 400, 500, 500],
  );
});

test('starts over after a reset', () => {
  const backoff = new Backoff({ initialMs: 100, maxMs: 1000, factor: 3 }, noJitter);
  backoff.next();
  assert.equal(backoff.next(), 300);
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test('jitter only shortens a delay, by no more than its share', () => {
  const longest = new Backoff({ initialMs: 100, maxMs: 100, jitter: 0.25 }, () => 0);
  const shortest = new Backoff({ initialMs: 100, maxMs: 100, jitter: 0.25 }, () => 1);
  assert.equal(longest.next(), 100);
  assert.equal(shortest.next(), 75);
  const standard = new Backoff({ initialMs: 100, maxMs: 100 }, () => 1);
  assert.equal(standard.next(), 50);
});
