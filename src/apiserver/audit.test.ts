/** Tests of the audit log: what strangers send is bounded and counted, what users send is all there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { silentLogger } from '../lib/log.ts';
import { ANONYMOUS, AuditLog } from './audit.ts';
import type { AuditEntry } from './audit.ts';

function entry(user: string): AuditEntry {
  const time = '2026-11-24T12:00:00.000Z';
  return { time, user, groups: [], verb: 'other', resource: 'other', code: 401, ms: 1 };
}

test('requests without credentials fill no disk, and the next entry tells how many were left out', async (t) => {
  const file = join(tempDir(t), 'audit.log');
  const clock = new FakeClock();
  const audit = new AuditLog(file, silentLogger, clock);
  for (let count = 0; count < 5000; count++) {
    audit.write(entry(ANONYMOUS));
    if (count % 100 === 0) audit.write(entry('edge:admin:n'));
  }
  clock.advance(1500);
  audit.write(entry(ANONYMOUS));
  audit.write(entry(ANONYMOUS));
  await audit.close();
  const entries = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditEntry);
  const anonymous = entries.filter(({ user }) => user === ANONYMOUS);
  assert.equal(entries.length - anonymous.length, 50);
  assert.equal(anonymous.length, 101);
  assert.deepEqual(anonymous.at(-1)?.details, { leftOutBefore: 4900 });
});
