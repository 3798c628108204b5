/** Tests of the text of explain: lists, maps, references, enums, long descriptions, schemas that hold themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Explainer, kindText, schemaOf } from './explain-text.ts';
import type { OpenApi, Schema } from './explain-text.ts';

const KIND = { group: 'example.org', version: 'v1', kind: 'Thing' };
const DOCUMENT: OpenApi = {
  components: {
    schemas: {
      'org.example.Meta': {
        type: 'object',
        description: 'Meta is common.',
        properties: { name: { type: 'string', description: 'Its name.' } },
      },
      'org.example.Thing': {
        type: 'object',
        required: ['spec'],
        'x-kubernetes-group-version-kind': [KIND],
        properties: {
          meta: { description: 'Own words.', allOf: [{ $ref: '#/components/schemas/org.example.Meta' }] },
          spec: {
            type: 'object',
            properties: {
              again: { $ref: '#/components/schemas/org.example.Thing' },
              port: { 'x-kubernetes-int-or-string': true },
              sizes: { type: 'object', additionalProperties: { type: 'array', items: { type: 'string' } } },
              word: {
                type: 'string',
                enum: ['a', 'b', 'c', 'd', 'e'],
                description: `${'w'.repeat(75)} xx y`,
              },
            },
          },
        },
      },
    },
  },
};
const explainer = new Explainer(DOCUMENT);
const root = schemaOf(DOCUMENT, KIND) ?? {};

function explained(path: string[], isRecursive = false): string {
  const found = explainer.find(root, path);
  assert.ok(typeof found !== 'string', `no field ${JSON.stringify(found)}`);
  return explainer.text(found, path.at(-1), isRecursive);
}

test('a kind is found by group, version and name', () => {
  assert.equal(root, DOCUMENT.components?.schemas?.['org.example.Thing']);
  assert.equal(schemaOf(DOCUMENT, { ...KIND, version: 'v2' }), undefined);
  assert.equal(schemaOf({}, KIND), undefined);
  assert.equal(kindText(KIND), 'GROUP:      example.org\nKIND:       Thing\nVERSION:    v1\n\n');
});

test('fields are listed with type, enum, description and whether they are required', () => {
  assert.equal(
    explained([]),
    'DESCRIPTION:\n    <empty>\n    \nFIELDS:\n  meta\t<Meta>\n    Own words.\n\n  spec\t<Object> -required-\n    <no description>\n\n\n',
  );
  const long = 'w'.repeat(75);
  assert.match(
    explained(['spec']),
    new RegExp(`  word\t<string>\n  enum: a, b, c, d, \\.{4}\n    ${long}\n    xx y\n`, 'u'),
  );
  assert.match(
    explained(['spec']),
    /again\t<Thing>[^]*port\t<IntOrString>[^]*sizes\t<map\[string\]\[\]string>/u,
  );
});

test('a field is explained with all values of its enum, and with what it refers to', () => {
  assert.match(
    explained(['spec', 'word']),
    /^FIELD: word <string>\nENUM:\n {4}a\n {4}b\n {4}c\n {4}d\n {4}e\n\nDESCRIPTION:\n/u,
  );
  assert.match(
    explained(['meta']),
    /DESCRIPTION:\n {4}Own words\.\n {4}Meta is common\.\n {4}\nFIELDS:\n {2}name\t<string>\n/u,
  );
});

test('a field that is not there is named', () => {
  assert.equal(explainer.find(root, ['spec', 'nope', 'x']), 'nope');
  assert.equal(explainer.find(root, ['spec', 'word', 'x']), 'x');
  assert.equal(explainer.find(root, ['constructor']), 'constructor');
});

test('a schema that holds itself is explained to an end', () => {
  const self: Schema = { allOf: [{ $ref: '#/components/schemas/self' }] };
  const circular = new Explainer({ components: { schemas: { self } } });
  assert.equal(circular.find(self, ['x']), 'x');
  assert.match(circular.text(self, undefined, true), /<empty>/u);
  assert.match(explained([], true), / {4}again\t<Thing>\n {4}port/u);
});
