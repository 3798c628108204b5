/** What an edit sends, and when it has met another one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesOf, editable, foreignChanges, identityProblem, overlap, patched } from './edit-changes.ts';

const object = (extra: Record<string, unknown> = {}, metadata: Record<string, unknown> = {}) => ({
  apiVersion: 'edge.example.com/v1',
  kind: 'Router',
  metadata: { name: 'r', resourceVersion: '1', generation: 1, ...metadata },
  ...extra,
});

test('an edit sends what it set and null for what it removed', () => {
  const before = object({ spec: { a: 1, b: { c: 2, d: 3 } } });
  const after = object({ spec: { a: 1, b: { c: 4 } } });
  const changes = changesOf(before, after);
  assert.deepEqual(changes, { spec: { b: { c: 4, d: null } } });
  assert.deepEqual(patched(before, changes), after);
  assert.deepEqual(changesOf(before, before), {});
});

test('versions and the status of others do not count as changes of what is edited', () => {
  const base = object({ spec: { a: 1 }, status: { x: 1 } });
  const now = object({ spec: { a: 2 }, status: { x: 2 } }, { resourceVersion: '2', generation: 2 });
  assert.deepEqual(foreignChanges(base, now, undefined), { spec: { a: 2 } });
  assert.deepEqual(foreignChanges(base, now, 'status'), { status: { x: 2 } });
});

test('two changes meet where they set different values, and where one removes what the other changes', () => {
  assert.deepEqual(overlap({ spec: { a: 1, b: 1 } }, { spec: { a: 2, c: 1 } }), ['spec.a']);
  assert.deepEqual(overlap({ spec: { a: 1 } }, { spec: { a: 1 } }), []);
  assert.deepEqual(overlap({ spec: { a: null } }, { spec: { a: { b: 1 } } }), ['spec.a']);
  assert.deepEqual(overlap({ spec: null }, { spec: { a: 1 } }), ['spec']);
  assert.deepEqual(overlap({ metadata: { labels: { x: '1' } } }, { spec: {} }), []);
});

test('an edited object is still the one that was opened', () => {
  const opened = object({}, { managedFields: [] });
  assert.ok(!Object.hasOwn(editable(opened).metadata, 'managedFields'));
  assert.equal(identityProblem(opened, object({ spec: {} })), undefined);
  for (const edited of [object({}, { name: 'other' }), object({ kind: 'X' }), 'text', [], { kind: 'Router' }])
    assert.notEqual(identityProblem(opened, edited), undefined);
});
