/** Tests of the reader of plain YAML: what it reads is what the parser reads, and the rest is left to that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { createRandom } from '../../test/support/random.ts';
import { readPlainYaml } from './plain-yaml.ts';

const KUBECONFIG = `apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJU+/x=
    server: https://127.0.0.1:7443
  name: edge
contexts:
  - name: admin@edge
    context:
      cluster: edge
      user: admin
current-context: admin@edge
preferences: {}
users:
- name: admin
  user:
    token: "0123 with a space"
`;

test('a kubeconfig is read without a parser, and equal to what the parser reads', () => {
  assert.deepEqual(readPlainYaml(KUBECONFIG), parseAllDocuments(KUBECONFIG)[0]?.toJS());
});

test('whatever could mean something else is left to the parser', () => {
  const texts = [
    '', // no document
    'a', // a text
    '- a: b\n', // a list at the top
    'a: 1\n',
    'a: true\n',
    'a: Null\n',
    'a: ~\n',
    'a: b c\n',
    'a: b # comment\n',
    'a: "x\\n"\n',
    "a: 'x'\n",
    'a: |\n  text\n',
    'a: &b c\n',
    'a: *b\n',
    'a: !!str b\n',
    'a: [b]\n',
    'a: b:\n',
    'a:\n',
    'a:\nb: c\n',
    'a: b\na: c\n',
    'a: b\n  c: d\n',
    'a:\n    b: c\n  d: e\n',
    'a:\n  - b: c\n- d: e\n',
    'a:\n- b\n',
    'a:\n-  b: c\n',
    '---\na: b\n',
    'a: b\n---\nc: d\n',
    '__proto__: b\n',
    '"a": b\n',
    'a:\tb\n',
    'a: b\r\n',
    ' a: b\n',
    'a: b \n',
  ];
  for (const text of texts) assert.equal(readPlainYaml(text), undefined, JSON.stringify(text));
});

test('whatever a text became by accident, it is read as the parser reads it or not at all', () => {
  const random = createRandom(7);
  const pick = (length: number): number => Math.floor(random() * length);
  const bits = [
    ' ',
    '  ',
    '-',
    '- ',
    ':',
    ': ',
    '\n',
    '"',
    '{}',
    '[]',
    'x',
    'null',
    '#',
    '1',
    '=',
    '\n  ',
    '~',
  ];
  let read = 0;
  for (let round = 0; round < 4000; round++) {
    let text = KUBECONFIG;
    for (let edits = 1 + pick(3); edits > 0; edits--) {
      const at = pick(text.length);
      text = text.slice(0, at) + (bits[pick(bits.length)] ?? '') + text.slice(at + pick(4));
    }
    const value = readPlainYaml(text);
    if (value === undefined) continue;
    read++;
    const documents = parseAllDocuments(text);
    assert.equal(documents.length, 1, text);
    assert.deepEqual(documents[0]?.errors, [], text);
    assert.deepEqual(value, documents[0]?.toJS(), text);
  }
  assert.ok(read > 100, `only ${read} texts were plain`);
});
