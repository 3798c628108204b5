import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { LimitedLog } from './limited-log.ts';
import { createLogger } from './log.ts';

test('a burst is written whole, later one line a second, which tells how many were left out', () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) });
  const limited = new LimitedLog(clock, log);
  const write = (): void => limited.write('warn', 'refused', { user: 'x'.repeat(10_000), count: 1 });
  for (let at = 0; at < 1000; at++) write();
  assert.equal(lines.length, 100);
  assert.ok(lines.every((line) => line.length < 300 && !line.includes('leftOut')));
  clock.advance(3000);
  for (let at = 0; at < 10; at++) write();
  assert.equal(lines.length, 103);
  assert.match(lines[100] ?? '', /"leftOut":900/u);
  clock.advance(1000);
  write();
  assert.match(lines[103] ?? '', /"leftOut":7/u);
  clock.advance(3_600_000);
  for (let at = 0; at < 1000; at++) write();
  assert.equal(lines.length, 204);
});
