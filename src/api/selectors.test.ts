/** Selectors: what matches, what does not, and which texts are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../lib/errors.ts';
import { matchesLabels, parseLabelSelector } from './label-selector.ts';
import { isLabelValue, isQualifiedName } from './names.ts';
import { matchesFields, parseFieldSelector } from './selectors.ts';

test('label selectors match as kubectl documents them', () => {
  const cases: [string, Record<string, string> | undefined, boolean][] = [
    ['', undefined, true],
    ['a=b', { a: 'b' }, true],
    ['a==b', { a: 'c' }, false],
    ['a=b', undefined, false],
    ['a!=b', undefined, true],
    ['a!=b', { a: 'b' }, false],
    ['a in (b, c)', { a: 'c' }, true],
    ['a in (b,c)', { a: 'd' }, false],
    ['a notin (b,c)', {}, true],
    ['a notin (b)', { a: 'b' }, false],
    ['a', { a: '' }, true],
    ['!a', { a: '' }, false],
    ['! a', {}, true],
    ['a=', { a: '' }, true],
    ['a=b,c in (d,e),!f', { a: 'b', c: 'e' }, true],
    ['a=b,c in (d,e),!f', { a: 'b', c: 'e', f: '' }, false],
    ['edge.example.com/x=y', { 'edge.example.com/x': 'y' }, true],
    ['toString', {}, false],
    ['a in ()', { a: '' }, true],
    ['a in (b,)', { a: '' }, true],
    ['a = in', { a: 'in' }, true],
    ['a>5', { a: '6' }, true],
    ['a>5', { a: '5' }, false],
    ['a < 5', { a: '4' }, true],
    ['a<5', { a: 'x' }, false],
    ['a<5', {}, false],
  ];
  for (const [text, labels, expected] of cases) {
    assert.equal(matchesLabels(parseLabelSelector(text), labels), expected, text);
  }
});

test('texts that are no label selector are refused with 400', () => {
  for (const text of [
    'a b',
    'a in b',
    '=b',
    'a=b c',
    'a=b,,c',
    'a in (b',
    '-a',
    'a=-b',
    `a=${'x'.repeat(64)}`,
    'x/y/z',
  ]) {
    assert.throws(
      () => parseLabelSelector(text),
      (err: unknown) => errorCode(err) === 'EDGE_ERR_API_BAD_REQUEST',
      text,
    );
  }
});

test('an error says what was found and what was expected, in the words of Kubernetes', () => {
  const cases: [string, string][] = [
    ['n=a b', "found 'b', expected: ',' or 'end of string'"],
    ['n===a', "unable to parse requirement: found '=', expected: identifier"],
    [',', "found ',', expected: !, identifier, or 'end of string'"],
    ['n=a,', "found '', expected: identifier after ','"],
    ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ['n in (a,b', "unable to parse requirement: found '', expected: ',' or ')'"],
    [
      'n>a',
      `unable to parse requirement: values[0]: Invalid value: "a": for 'Gt', 'Lt' operators, the value must be an integer`,
    ],
    [
      `n=${'x'.repeat(64)}`,
      `unable to parse requirement: values[0][n]: Invalid value: "${'x'.repeat(64)}": must be no more than 63 bytes`,
    ],
  ];
  for (const [text, message] of cases) assert.throws(() => parseLabelSelector(text), { message }, text);
});

test('field selectors have terms that say nothing, and escapes', () => {
  for (const text of ['', ',', '=', 'metadata.name!=x,'])
    assert.ok(matchesFields(parseFieldSelector(text), { metadata: { name: 'a' } }), text);
  assert.deepEqual(parseFieldSelector('metadata.name=a\\,b\\=\\\\'), [
    { field: 'metadata.name', isEqual: true, value: 'a,b=\\' },
  ]);
  for (const text of ['metadata.name=\\a', 'metadata.name=a=b', 'metadata.name=a\\'])
    assert.throws(() => parseFieldSelector(text), /invalid field selector/u, text);
});

test('field selectors know metadata.name alone', () => {
  assert.equal(matchesFields(parseFieldSelector('metadata.name=a'), { metadata: { name: 'a' } }), true);
  assert.equal(matchesFields(parseFieldSelector('metadata.name==a'), { metadata: { name: 'b' } }), false);
  assert.equal(
    matchesFields(parseFieldSelector('metadata.name!=a,metadata.name!=b'), { metadata: { name: 'c' } }),
    true,
  );
  assert.throws(
    () => parseFieldSelector('metadata.namespace=x'),
    /field label not supported: metadata\.namespace/u,
  );
  assert.throws(
    () => parseFieldSelector('nonsense'),
    (err: unknown) => errorCode(err) === 'EDGE_ERR_API_BAD_REQUEST',
  );
});

test('qualified names and label values keep to their lengths and letters', () => {
  for (const name of ['a', 'A_b.c-1', 'example.org/x', 'x'.repeat(63)])
    assert.ok(isQualifiedName(name), name);
  for (const name of ['', 'x'.repeat(64), 'a b', '/x', 'example.org/', 'a/b/c', 'UPPER.org/x'])
    assert.ok(!isQualifiedName(name), name);
  assert.ok(isLabelValue(''));
  assert.ok(!isLabelValue('a b'));
});
