import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyJson, isEqualJson } from './json.ts';

const VALUES: readonly string[] = [
  'null',
  'true',
  'false',
  '0',
  '1',
  '"1"',
  '""',
  '[]',
  '{}',
  '[null]',
  '[[]]',
  '[{}]',
  '{"a":null}',
  '{"a":{}}',
  '{"a":[]}',
  '{"b":null}',
  '{"a":1,"b":2}',
  '{"a":1,"b":3}',
  '{"a":1,"c":2}',
  '[1,2]',
  '[2,1]',
  '[1,2,3]',
  '{"0":1,"1":2}',
  '{"__proto__":{"a":1}}',
  '{"__proto__":{"a":2}}',
  '{"toString":1}',
  '{"hasOwnProperty":{"a":[1,{"b":"c"}]}}',
];

test('a JSON value equals itself read again, and no other', () => {
  for (const a of VALUES)
    for (const b of VALUES) assert.equal(isEqualJson(JSON.parse(a), JSON.parse(b)), a === b, `${a} ${b}`);
});

test('the order of members does not matter, that of entries does', () => {
  assert.ok(isEqualJson({ a: 1, b: [{ c: 1, d: 2 }] }, { b: [{ d: 2, c: 1 }], a: 1 }));
  assert.ok(!isEqualJson([1, 2], [2, 1]));
});

test('an inherited member is none', () => {
  assert.ok(!isEqualJson({ toString: 1 }, { other: 1 }));
  assert.ok(!isEqualJson({ other: 1 }, { toString: 1 }));
});

test('a copy is equal and shares nothing', () => {
  for (const text of VALUES) assert.equal(JSON.stringify(copyJson(JSON.parse(text))), text);
  const value = { list: [{ a: 1 }], map: { b: {} } };
  const copy = copyJson(value);
  assert.notEqual(copy.list, value.list);
  assert.notEqual(copy.list[0], value.list[0]);
  assert.notEqual(copy.map.b, value.map.b);
  const polluting = copyJson(JSON.parse('{"__proto__":{"x":1}}') as Record<string, unknown>);
  assert.equal(Object.getPrototypeOf(polluting), Object.prototype);
});
