/** The range and the spread of unpredictable numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secureRandom } from './random.ts';

test('numbers are from 0 up to 1 and hardly ever the same', () => {
  const numbers = Array.from({ length: 1000 }, () => secureRandom());
  assert.ok(numbers.every((number) => number >= 0 && number < 1));
  assert.ok(new Set(numbers).size > 990);
  assert.ok(numbers.some((number) => number < 0.1) && numbers.some((number) => number > 0.9));
});
