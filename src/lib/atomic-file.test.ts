/** Tests of whole-file replacement: content, mode, and what is left when it fails. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { writeFileAtomic } from './atomic-file.ts';

test('creates the file and its directory, readable by its owner only', async (t) => {
  const path = join(tempDir(t), 'a/b/file');
  await writeFileAtomic(path, 'content');
  assert.equal(readFileSync(path, 'utf8'), 'content');
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('replaces content as a whole and leaves nothing beside it', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'file');
  writeFileSync(path, 'a longer text that was there before');
  await writeFileAtomic(path, new Uint8Array([1, 2, 3]), 0o644);
  assert.deepEqual([...readFileSync(path)], [1, 2, 3]);
  assert.equal(statSync(path).mode & 0o777, 0o644);
  assert.deepEqual(readdirSync(dir), ['file']);
});

test('writes at the same time leave one whole content', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'file');
  const contents = Array.from({ length: 20 }, (_, index) => String(index).repeat(10_000));
  await Promise.all(contents.map((content) => writeFileAtomic(path, content)));
  assert.ok(contents.includes(readFileSync(path, 'utf8')));
  assert.deepEqual(readdirSync(dir), ['file']);
});

test('a failed replacement keeps what was there and removes its own attempt', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'taken');
  mkdirSync(join(path, 'inside'), { recursive: true }); // a directory that is not empty cannot be renamed over
  await assert.rejects(writeFileAtomic(path, 'x'), { syscall: 'rename' });
  assert.deepEqual(readdirSync(dir), ['taken']);
  assert.deepEqual(readdirSync(path), ['inside']);
});

test('the leftovers of a writer that crashed with our process id do not get in the way', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'file');
  writeFileSync(path, 'old');
  for (let serial = 0; serial < 100; serial++)
    writeFileSync(join(dir, `.file.${process.pid}.${serial}.tmp`), 'half a fi');
  await writeFileAtomic(path, 'new');
  assert.equal(readFileSync(path, 'utf8'), 'new');
});
