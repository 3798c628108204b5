/** Tests of the changes that label and annotate make. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../lib/errors.ts';
import {
  changed,
  labelOutcome,
  mapPatch,
  overwriteProblems,
  parseChanges,
  splitArgs,
} from './metadata-changes.ts';
import type { Noun } from './metadata-changes.ts';

test('objects come first, changes behind them', () => {
  assert.deepEqual(splitArgs(['rt', 'node-1', 'a=1', 'b-', 'c='], 'label'), {
    what: ['rt', 'node-1'],
    pairs: ['a=1', 'b-', 'c='],
  });
  assert.deepEqual(splitArgs(['rt', '-', '=x', '=-'], 'label'), { what: ['rt', '-', '=x', '=-'], pairs: [] });
  assert.throws(() => splitArgs(['a=1', 'rt'], 'annotation'), {
    message: 'all resources must be specified before annotation changes: rt',
  });
});

test('what cannot be changed is refused before anything is sent', () => {
  const cases: [string[], Noun, RegExp][] = [
    [['a=1', 'a-'], 'label', /can not both modify and remove a label/u],
    [['a=1', 'b=1', 'a-', 'b-'], 'annotation', /following annotation\(s\) in the same command: a, b$/u],
    [['a=b=c'], 'label', /^invalid label spec: a=b=c$/u],
    [['a=b c'], 'label', /^invalid label value: "a=b c": a valid label must be/u],
    [[`a=${'b'.repeat(64)}`], 'label', /must be no more than 63/u],
  ];
  for (const [pairs, noun, message] of cases)
    assert.throws(
      () => parseChanges(pairs, noun),
      (err: unknown) => err instanceof UsageError && message.test(err.message),
      pairs.join(' '),
    );
  assert.deepEqual(parseChanges(['a=b=c d', '__proto__=1', 'x-', 'a=e'], 'annotation'), {
    set: Object.fromEntries([
      ['a', 'e'],
      ['__proto__', '1'],
    ]),
    remove: ['x'],
  });
});

test('only another value needs --overwrite', () => {
  const changes = parseChanges(['a=1', 'b=2', 'c=3', 'd-'], 'label');
  assert.deepEqual(overwriteProblems('label', { a: '1', d: '4' }, changes), []);
  assert.deepEqual(overwriteProblems('label', { a: '0', b: '0' }, changes), [
    "'a' already has a value (0), and --overwrite is false",
    "'b' already has a value (0), and --overwrite is false",
  ]);
  assert.deepEqual(overwriteProblems('annotation', { a: '0', b: '0' }, changes), [
    "--overwrite is false but found the following declared annotation(s): 'a' already has a value (0); 'b' already has a value (0)",
  ]);
});

test('the patch holds what differs and nothing else', () => {
  const changes = parseChanges(['a=1', 'b=2', 'gone-', 'never-'], 'label');
  const current = { a: '1', b: '0', gone: 'x', stays: 'y' };
  assert.deepEqual(mapPatch(current, changes), { b: '2', gone: null });
  assert.deepEqual(changed(current, changes), { a: '1', b: '2', stays: 'y' });
});

test('the word for what was done goes by the length, as with kubectl', () => {
  assert.equal(labelOutcome({ a: '1' }, { a: '1' }, true), 'not labeled');
  assert.equal(labelOutcome({ a: '1' }, { a: '2' }, false), 'labeled');
  assert.equal(labelOutcome({ a: '1' }, {}, false), 'unlabeled');
  assert.equal(labelOutcome({ a: '1' }, {}, true), 'labeled');
  assert.equal(labelOutcome({ long: '1' }, { a: '1' }, false), 'unlabeled');
});
