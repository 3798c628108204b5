/** Frames of a TCP stream, cut at every point. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, FrameReader } from './framing.ts';

const STREAM = Buffer.from('0003616263 0000 000164 0002'.replaceAll(' ', ''), 'hex');
const MESSAGES = ['abc', '', 'd'];

test('prefixes a message with its length', () => {
  assert.deepEqual(frame(Buffer.from('abc')), STREAM.subarray(0, 5));
});

test('finds the same messages wherever the stream is cut in three', () => {
  for (let first = 0; first <= STREAM.length; first += 1) {
    for (let second = first; second <= STREAM.length; second += 1) {
      const reader = new FrameReader();
      const parts = [STREAM.subarray(0, first), STREAM.subarray(first, second), STREAM.subarray(second)];
      const found = parts.flatMap((part) => reader.push(part)).map(String);
      assert.deepEqual(found, MESSAGES, `cut at ${first} and ${second}`);
    }
  }
});

test('takes the largest message one byte at a time', () => {
  const reader = new FrameReader();
  const whole = frame(Buffer.alloc(65_535, 7));
  let found: Buffer[] = [];
  for (let at = 0; at < whole.length; at += 1) {
    assert.equal(found.length, 0);
    found = reader.push(whole.subarray(at, at + 1));
  }
  assert.deepEqual(found, [whole.subarray(2)]);
});
