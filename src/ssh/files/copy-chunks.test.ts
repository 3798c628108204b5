/** Unit tests of copying with many requests under way: every byte once, whatever the source does. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { CHUNK_BYTES, copyChunks } from './copy-chunks.ts';
import type { FileSink, FileSource } from './file-tree.ts';

function sourceOf(bytes: Buffer, size = bytes.length): FileSource {
  return {
    info: { kind: 'file', size, mode: 0o644, modifiedAt: 0, uid: 0, gid: 0 },
    async read(buffer, position) {
      // later requests are answered first
      for (let turns = position % 5; turns < 5; turns++) await Promise.resolve();
      return bytes.copy(buffer, 0, position, Math.min(bytes.length, position + buffer.length));
    },
    close: () => Promise.resolve(),
  };
}

function sinkOf(length: number, fails?: (position: number) => boolean): FileSink & { bytes: Buffer } {
  const bytes = Buffer.alloc(length);
  return {
    bytes,
    isAtomic: true,
    write(chunk, position) {
      if (fails?.(position) === true) return Promise.reject(new Error('disk full'));
      chunk.copy(bytes, position);
      return Promise.resolve();
    },
    commit: () => Promise.resolve(),
    abandon: () => Promise.resolve(undefined),
  };
}

test('files of every size arrive whole', async () => {
  for (const length of [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 40 * CHUNK_BYTES + 7]) {
    const bytes = randomBytes(length);
    const sink = sinkOf(length);
    let seen = 0;
    const copied = await copyChunks(sourceOf(bytes), sink, { onProgress: (count) => (seen += count) });
    assert.deepEqual([copied, seen, sink.bytes.equals(bytes)], [length, length, true]);
  }
});

test('a file of unknown size is read to its end, an empty one too', async () => {
  for (const length of [0, 10, 3 * CHUNK_BYTES]) {
    const bytes = randomBytes(length);
    const sink = sinkOf(length);
    assert.equal(await copyChunks(sourceOf(bytes, 0), sink), length);
    assert.ok(sink.bytes.equals(bytes));
  }
});

test('what is appended meanwhile is left, and a file that becomes shorter is refused', async () => {
  const bytes = randomBytes(5 * CHUNK_BYTES);
  assert.equal(
    await copyChunks(sourceOf(bytes, 2 * CHUNK_BYTES + 3), sinkOf(bytes.length)),
    2 * CHUNK_BYTES + 3,
  );
  await assert.rejects(
    copyChunks(sourceOf(bytes, 6 * CHUNK_BYTES), sinkOf(7 * CHUNK_BYTES)),
    /became shorter/u,
  );
});

test('a failure of one request is the failure of the copy, and so is giving up', async () => {
  const bytes = randomBytes(60 * CHUNK_BYTES);
  const sink = sinkOf(bytes.length, (position) => position >= 30 * CHUNK_BYTES);
  await assert.rejects(copyChunks(sourceOf(bytes), sink), /disk full/u);
  const abort = new AbortController();
  abort.abort(new Error('given up'));
  await assert.rejects(
    copyChunks(sourceOf(bytes), sinkOf(bytes.length), { signal: abort.signal }),
    /given up/u,
  );
});
