import assert from 'node:assert/strict';
import { test } from 'node:test';
import { annotationProblem } from './annotations.ts';

test('keys are qualified names', () => {
  for (const key of ['a', 'A.b_c-9', 'example.org/key', 'a'.repeat(63), `${'a'.repeat(253)}/b`])
    assert.equal(annotationProblem({ [key]: 'any value\n' }), undefined, key);
  for (const key of ['', '-a', 'a b', '/a', 'a/', 'a/b/c', 'ä', 'a'.repeat(64), `${'a'.repeat(254)}/b`])
    assert.match(annotationProblem({ [key]: '' }) ?? '', /is invalid$/u, key);
});

test('all of them together are bounded', () => {
  assert.equal(annotationProblem({ a: 'x'.repeat(256 * 1024 - 1) }), undefined);
  assert.match(annotationProblem({ a: 'x'.repeat(256 * 1024) }) ?? '', /the limit is/u);
});
