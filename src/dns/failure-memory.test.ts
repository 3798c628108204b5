/** Tests of remembering failures: for how long, what ends it, how many. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FailureMemory } from './failure-memory.ts';
import { RCODE } from './wire.ts';

const create = (maxFailures = 10): FailureMemory =>
  new FailureMemory({ failureMs: 1000, maxFailureMs: 8000, maxFailures });

/** For how long a question is not asked again after it failed at `now`. */
function heldMs(memory: FailureMemory, now: number): number {
  memory.failed('a', RCODE.SERVFAIL, now);
  let ms = 0;
  while (memory.get('a', now + ms) !== undefined) ms += 100;
  return ms;
}

test('a failure is remembered for a second, then twice as long each time, up to a limit', () => {
  const memory = create();
  let now = 50;
  const held = [1, 2, 3, 4, 5].map(() => {
    const ms = heldMs(memory, now);
    now += ms;
    return ms;
  });
  assert.deepEqual(held, [1000, 2000, 4000, 8000, 8000]);
  assert.equal(memory.get('b', now), undefined);
});

test('clients that waited for the same failure count once', () => {
  const memory = create();
  for (let client = 0; client < 5; client++) memory.failed('a', RCODE.SERVFAIL, client);
  assert.equal(memory.get('a', 1000), undefined);
});

test('an answer, or a long time without a failure, starts it over', () => {
  const memory = create();
  assert.equal(heldMs(memory, 0), 1000);
  memory.answered('a');
  assert.equal(heldMs(memory, 1000), 1000);
  assert.equal(heldMs(memory, 1000 + 1000 + 8000), 1000);
});

test('when an upstream is back only the shortest time counts, and the next failure still doubles', () => {
  const memory = create();
  heldMs(memory, 0);
  heldMs(memory, 1000);
  heldMs(memory, 3000);
  memory.relent();
  assert.equal(memory.get('a', 3999), RCODE.SERVFAIL);
  assert.equal(memory.get('a', 4000), undefined);
  assert.equal(heldMs(memory, 4000), 8000);
});

test('the number is bounded', () => {
  const memory = create(3);
  for (const key of ['a', 'b', 'c', 'd']) memory.failed(key, RCODE.REFUSED, 0);
  assert.equal(memory.size, 3);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => memory.get(key, 0)),
    [undefined, RCODE.REFUSED, RCODE.REFUSED, RCODE.REFUSED],
  );
  memory.clear();
  assert.equal(memory.size, 0);
});
