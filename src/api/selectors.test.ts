/** Selectors: what matches, what does not, and which texts are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../lib/errors.ts';
import {
  isLabelValue,
  isQualifiedName,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
} from './selectors.ts';

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
