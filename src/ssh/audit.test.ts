/** Unit tests of the audit log. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { openAuditLog } from './audit.ts';
import type { AuditRecord } from './audit.ts';

const record: AuditRecord = {
  time: '2026-11-24T03:00:00.000Z',
  kind: 'exec',
  operator: 'ann@desk',
  node: 'node-7',
  user: 'root',
  command: 'printf "a\nb"',
  durationMs: 12,
  exitStatus: 0,
};

test('a record is one line, for its owner only, also after the file was moved away', async (t) => {
  const path = join(tempDir(t), 'state', 'audit.log');
  const log = await openAuditLog(path);
  await log.write(record);
  renameSync(path, `${path}.1`);
  await log.write(record);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const [line = '', end] = readFileSync(path, 'utf8').split('\n');
  assert.deepEqual(JSON.parse(line), record);
  assert.equal(end, '');
});

test('a long command is cut off, and a log that cannot be written is refused at once', async (t) => {
  const dir = tempDir(t);
  const log = await openAuditLog(join(dir, 'audit.log'));
  await log.write({ ...record, command: 'x'.repeat(100_000) });
  assert.ok(readFileSync(join(dir, 'audit.log')).length < 10_000);
  await assert.rejects(openAuditLog(dir), { code: 'EDGE_ERR_USAGE' });
});
