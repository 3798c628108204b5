/** Tests of editing YAML in place: what is changed, and that nothing else is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EdgeError } from './errors.ts';
import { editYamlDocuments } from './yaml-edit.ts';

const TEXT = `# head
---
kind: A # first
mode: 0644
old:   yes
list:
- {x: "1"}   # one

# before b
b: |
  two
    lines
---
kind:   B    # as it was
...
---
---
kind: C
`;

test('a change leaves comments, order, quoting and numbers as they were, and other documents byte by byte', () => {
  const numbers: number[] = [];
  const edited = editYamlDocuments(TEXT, 'f.yaml', (value, number) => {
    numbers.push(number);
    const { kind } = (value ?? {}) as { kind?: string };
    if (kind !== 'A') return [];
    return [
      { path: ['list', 1], value: { name: 'new', port: '53', count: 2 } },
      { path: ['old'], value: undefined },
    ];
  });
  assert.deepEqual(numbers, [1, 2, 3, 4]);
  assert.equal(
    edited,
    TEXT.replace('old:   yes\n', '').replace('   # one\n', ' # one\n- name: new\n  port: "53"\n  count: 2\n'),
  );
});

test('a text without changes comes back as it is', () => {
  assert.equal(
    editYamlDocuments(TEXT, 'f.yaml', () => []),
    TEXT,
  );
});

test('JSON stays JSON', () => {
  const edited = editYamlDocuments('{"a": [1], "b": "2"}', 'f.json', () => [
    { path: ['a', 1], value: '5' },
    { path: ['b'], value: undefined },
  ]);
  assert.deepEqual(JSON.parse(edited), { a: [1, '5'] });
});

test('what cannot be read or changed names the file', () => {
  assert.throws(() => editYamlDocuments('a: [', 'f.yaml', () => []), /^EdgeError: f\.yaml:1:\d+: /u);
  assert.throws(
    () => editYamlDocuments('a: &a {}\nb: *a\n', 'f.yaml', () => [{ path: ['b', 'c'], value: 1 }]),
    (err) => err instanceof EdgeError && err.message.startsWith('f.yaml: document 1: b.c cannot be changed'),
  );
});
