/** Pruning and defaulting: unknown fields go and are named, defaults come, the input stays as it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonSchema } from './crd.ts';
import { applyDefaults, prune } from './structural.ts';

const schema: JsonSchema = {
  type: 'object',
  properties: {
    a: { type: 'integer', default: 1 },
    list: { type: 'array', items: { type: 'object', properties: { x: { type: 'string', default: 'y' } } } },
    map: {
      type: 'object',
      additionalProperties: { type: 'object', properties: { n: { type: 'integer', default: 2 } } },
    },
    open: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    nested: { type: 'object', properties: { deep: { type: 'boolean', default: false } } },
    maybe: { type: 'string', nullable: true },
  },
};

test('unknown fields are dropped and named, nulls are dropped where they are not allowed', () => {
  const input = {
    a: null,
    b: 1,
    list: [{ x: '1', z: 1 }],
    map: { k: { n: 1, m: 1 } },
    open: { any: 1 },
    maybe: null,
  };
  const copy = structuredClone(input);
  const unknown: string[] = [];
  const output = prune(schema, input, '', unknown);
  assert.deepEqual(output, { list: [{ x: '1' }], map: { k: { n: 1 } }, open: { any: 1 }, maybe: null });
  assert.deepEqual(unknown, ['b', 'list[0].z', 'map.k.m']);
  assert.deepEqual(input, copy);
});

test('a __proto__ member is data, not a prototype', () => {
  const input = JSON.parse('{"__proto__":{"polluted":1},"open":{"__proto__":{"polluted":1}}}') as unknown;
  const unknown: string[] = [];
  const output = prune(schema, input, '', unknown) as { polluted?: number };
  assert.deepEqual(unknown, ['__proto__']);
  assert.equal(output.polluted, undefined);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

test('defaults fill what is missing inside objects that exist', () => {
  assert.deepEqual(applyDefaults(schema, { list: [{}], map: { k: {} } }), {
    a: 1,
    list: [{ x: 'y' }],
    map: { k: { n: 2 } },
  });
  assert.deepEqual(applyDefaults(schema, { a: 7, nested: {} }), { a: 7, nested: { deep: false } });
});
