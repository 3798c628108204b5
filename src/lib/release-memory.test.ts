import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '../../test/support/wait.ts';
import { releaseMemory } from './release-memory.ts';

const MIB = 1024 * 1024;

test('memory is given back while nothing is collected, and all views of it are empty', async () => {
  const bytes = new Uint8Array(64 * MIB).fill(1);
  const view = bytes.subarray(8);
  const before = process.memoryUsage.rss();
  releaseMemory(bytes.buffer);
  assert.equal(bytes.length, 0);
  assert.equal(view.length, 0);
  await waitFor(() => before - process.memoryUsage.rss() > 32 * MIB, { what: 'half of 64 MiB given back' });
});
