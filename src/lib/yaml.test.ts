/** Tests of YAML in and out: documents, error places, alias bombs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatYaml, parseYaml, parseYamlDocuments } from './yaml.ts';

test('texts nested too deeply are refused before the parser sees them', () => {
  for (const text of ['['.repeat(5000), '{a: '.repeat(5000), '- '.repeat(5000), '? '.repeat(5000)]) {
    assert.throws(
      () => parseYaml(text, 'x'),
      (err: unknown) => err instanceof Error && err.message === 'x: nested too deeply',
    );
  }
  const levels = 200;
  assert.doesNotThrow(() => parseYaml('['.repeat(levels) + ']'.repeat(levels), 'x'));
});

test('reads several documents and leaves empty ones out', () => {
  assert.deepEqual(parseYamlDocuments('a: 1\n---\n---\nb: [2]\n---\n# only a comment\n', 'f'), [
    { a: 1 },
    { b: [2] },
  ]);
  assert.deepEqual(parseYamlDocuments('', 'f'), []);
});

test('reads JSON', () => {
  assert.deepEqual(parseYaml('{"a": [1, "x", null, true]}', 'f'), { a: [1, 'x', null, true] });
});

test('one document is one document', () => {
  assert.equal(parseYaml('', 'f'), undefined);
  assert.throws(() => parseYaml('a: 1\n---\nb: 2\n', 'two.yaml'), {
    code: 'EDGE_ERR_YAML_PARSE',
    message: 'two.yaml: holds 2 documents, wanted one',
  });
});

test('a mistake is told with file, line and column', () => {
  assert.throws(() => parseYaml('a: 1\nb: [1, 2\nc: 3\n', 'router.yaml'), {
    code: 'EDGE_ERR_YAML_PARSE',
    message: /^router\.yaml:3:1: \S/u,
  });
  assert.throws(() => parseYaml('a: 1\nb: 2\na: 3\n', 'x.yaml'), {
    code: 'EDGE_ERR_YAML_PARSE',
    message: /^x\.yaml:3:1: .*unique/u,
  });
});

test('the column is right in a later document too', () => {
  assert.throws(() => parseYamlDocuments('a: 1\n---\nb: "open\n', 'x.yaml'), {
    message: /^x\.yaml:[34]:\d+: /,
  });
});

test('an alias bomb is refused instead of expanded', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
  for (const [index, name] of ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].entries()) {
    const previous = String.fromCodePoint('a'.charCodeAt(0) + index);
    bomb.push(`${name}: &${name} [${Array.from({ length: 10 }, () => `*${previous}`).join(',')}]`);
  }
  assert.throws(() => parseYaml(bomb.join('\n'), 'bomb.yaml'), {
    code: 'EDGE_ERR_YAML_PARSE',
    message: 'bomb.yaml: too many aliases',
  });
});

test('formats without aliases, folded lines or indented lists, and reads its own output', () => {
  const shared = { x: 1 };
  const value = { list: [shared, shared], text: 'word '.repeat(60).trim(), empty: {}, number: '5' };
  const text = formatYaml(value);
  assert.ok(!text.includes('&'));
  assert.ok(text.startsWith('list:\n- x: 1\n- x: 1\n'));
  assert.deepEqual(parseYaml(text, 'f'), value);
});

test('words for booleans are texts, unless YAML 1.1 is wanted', () => {
  const text = 'a: yes\nb: "on"\nc: [Off, n, no-thing]\n';
  assert.deepEqual(parseYaml(text, 'f'), { a: 'yes', b: 'on', c: ['Off', 'n', 'no-thing'] });
  const old = { a: true, b: 'on', c: [false, false, 'no-thing'] };
  assert.deepEqual(parseYaml(text, 'f', { hasBooleanWords: true }), old);
});
