/** Tests of the three-way patch of apply. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../api/meta.ts';
import { LAST_APPLIED_ANNOTATION, lastApplied, threeWayPatch, withLastApplied } from './three-way.ts';

function object(spec: unknown, metadata: Partial<KubeObject['metadata']> = {}): KubeObject {
  return { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name: 'n', ...metadata }, spec };
}

const CASES: [string, unknown, unknown, unknown, unknown][] = [
  ['nothing differs', { a: 1 }, { a: 1 }, { a: 1, serverDefault: 2 }, {}],
  ['the file changed a value', { a: 1 }, { a: 2 }, { a: 1 }, { spec: { a: 2 } }],
  ['someone else changed a value of the file', { a: 1 }, { a: 1 }, { a: 5 }, { spec: { a: 1 } }],
  ['the file dropped a value', { a: 1, b: 1 }, { a: 1 }, { a: 1, b: 1 }, { spec: { b: null } }],
  ['what the file dropped is gone already', { a: 1, b: 1 }, { a: 1 }, { a: 1 }, {}],
  ['someone else added a value', { a: 1 }, { a: 1 }, { a: 1, theirs: { x: 1 } }, {}],
  ['a list is replaced whole', { l: [1] }, { l: [1, 2] }, { l: [1] }, { spec: { l: [1, 2] } }],
  ['a map became a text', { m: { x: 1 } }, { m: 't' }, { m: { x: 1 } }, { spec: { m: 't' } }],
  [
    'changes and removals in one map',
    { m: { x: 1, y: 1 } },
    { m: { x: 2 } },
    { m: { x: 1, y: 1 } },
    { spec: { m: { x: 2, y: null } } },
  ],
];
for (const [what, original, modified, live, patch] of CASES) {
  test(`the patch is right when ${what}`, () => {
    assert.deepEqual(threeWayPatch(object(original), object(modified), object(live)), patch);
  });
}

test('without a record of the last time nothing is removed', () => {
  assert.deepEqual(threeWayPatch(undefined, object({ a: 1 }), object({ a: 2, b: 3 })), { spec: { a: 1 } });
});

test('the record is the object with sorted keys, without itself, and can be read back', () => {
  const made = withLastApplied(
    object({ b: 1, a: 2 }, { annotations: { x: 'y', [LAST_APPLIED_ANNOTATION]: 'old' } }),
  );
  assert.equal(
    made.metadata.annotations?.[LAST_APPLIED_ANNOTATION],
    '{"apiVersion":"edge.example.com/v1","kind":"Router","metadata":{"annotations":{"x":"y"},"name":"n"},"spec":{"a":2,"b":1}}\n',
  );
  assert.deepEqual(lastApplied(made)?.spec, { a: 2, b: 1 });
  assert.equal(lastApplied(object({}, { annotations: { [LAST_APPLIED_ANNOTATION]: 'broken' } })), undefined);
});
