/** Unit tests of the progress line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, progressLine } from './progress.ts';

test('bytes have a unit that fits', () => {
  assert.deepEqual([0, 1023, 1536, 256 * 1024 * 1024, 5e12].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.5 KiB',
    '256 MiB',
    '4.5 TiB',
  ]);
});

test('the line says how far, how fast and how long, and shows no control characters', () => {
  const state = { name: 'a\u001b[2Jb', files: 1, total: 1000, done: 500, elapsedMs: 1000 };
  assert.equal(progressLine(state), '50%  500 B  500 B/s  1s left  a?[2Jb');
  assert.equal(
    progressLine({ ...state, total: 0, files: 3, elapsedMs: 0 }),
    '500 B  0 B/s  a?[2Jb  (3 files)',
  );
});
