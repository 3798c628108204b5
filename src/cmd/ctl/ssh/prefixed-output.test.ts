/** Unit tests of prefixed lines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinePrefixer } from './prefixed-output.ts';

test('lines get the prefix wherever they are split, and the last one an end', () => {
  const text = Buffer.from('one\n\ntwo ä\nthree');
  for (let at = 0; at <= text.length; at++) {
    const prefixer = new LinePrefixer('n | ');
    const pieces = [prefixer.feed(text.subarray(0, at)), prefixer.feed(text.subarray(at)), prefixer.end()];
    assert.equal(Buffer.concat(pieces).toString(), 'n | one\nn | \nn | two ä\nn | three\n');
  }
});

test('a line without end does not grow for ever', () => {
  const prefixer = new LinePrefixer('n | ');
  const passed = prefixer.feed(Buffer.alloc(200_000, 'x'));
  assert.ok(passed.length > 190_000 - 70_000);
  assert.ok(prefixer.end().length < 70_000);
});
