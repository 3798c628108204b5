/** Secrets are read from files without trusting what the path names. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { createSecretReader } from './secrets.ts';

const reader = createSecretReader({ TOKEN: 'x' });

test('files and variables are read', (t) => {
  const path = join(tempDir(t), 'token');
  writeFileSync(path, 'secret\n');
  assert.equal(reader.readFile(path), 'secret\n');
  assert.equal(reader.readEnv('TOKEN'), 'x');
  assert.equal(reader.readEnv('OTHER'), undefined);
});

test('what is no ordinary file is refused instead of waited for', (t) => {
  const dir = tempDir(t);
  const fifo = join(dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
  mkdirSync(join(dir, 'dir'));
  const huge = join(dir, 'huge');
  writeFileSync(huge, '');
  truncateSync(huge, 2 * 1024 * 1024);
  for (const path of [fifo, join(dir, 'dir'), huge, join(dir, 'none')]) {
    assert.throws(
      () => reader.readFile(path),
      (err: Error & { code?: string }) =>
        err.code === 'EDGE_ERR_ROUTER_SECRET' && err.message.startsWith(`cannot read ${path}: `),
    );
  }
});

test('the stamp changes with the content and when the file comes or goes', (t) => {
  const path = join(tempDir(t), 'token');
  assert.equal(reader.stamp(path), 'absent');
  writeFileSync(path, 'one');
  const before = reader.stamp(path);
  assert.equal(reader.stamp(path), before);
  writeFileSync(path, 'other');
  assert.notEqual(reader.stamp(path), before);
});
