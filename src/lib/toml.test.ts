/** TOML is read, and a mistake is named with its place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseToml } from './toml.ts';

test('tables, arrays of tables and dotted keys become objects', () => {
  const value = parseToml('a.b = 1\n[[c]]\nd = "x"\n[[c]]\nd = "y"\n', 'x.toml');
  assert.deepEqual(JSON.parse(JSON.stringify(value)), {
    a: { b: 1 },
    c: [{ d: 'x' }, { d: 'y' }],
  });
});

for (const [what, text, place] of [
  ['an open text', 'a = "x', /^x\.toml:1:\d+: /u],
  ['a key without a value', 'a = 1\nb\n', /^x\.toml:2:\d+: /u],
  ['a key that is given twice', 'a = 1\na = 2\n', /^x\.toml:2:\d+: /u],
] as const) {
  test(`${what} is refused with its line`, () => {
    assert.throws(() => parseToml(text, 'x.toml'), { code: 'EDGE_ERR_TOML_PARSE', message: place });
  });
}

test('a key called __proto__ is a key, nothing more', () => {
  const value = parseToml('__proto__.polluted = true\n', 'x.toml');
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  assert.ok(Object.hasOwn(value, '__proto__'));
});
