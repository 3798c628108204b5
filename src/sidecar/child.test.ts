/** Tests of the command beside the sidecar: its status, its signals, commands that cannot be started. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../lib/log.ts';
import { createChild } from './child.ts';

const node = (script: string, clock = new FakeClock()) =>
  createChild([process.execPath, '-e', script], { clock, log: silentLogger, graceMs: 1000 });

test('the status of the command is its own', async () => {
  for (const status of [0, 3]) {
    const child = node(`process.exit(${status})`);
    child.start();
    assert.equal(await child.ended, status);
    assert.equal(child.signal('SIGTERM'), false);
  }
});

test('a command that is ended by a signal ends with 128 and its number', async () => {
  const child = node('setInterval(() => {}, 1000)');
  assert.equal(child.signal('SIGTERM'), false);
  child.start();
  assert.equal(child.signal('SIGTERM'), true);
  assert.equal(await child.ended, 143);
});

test('a command that ignores the end is killed after its grace', async () => {
  const clock = new FakeClock();
  const stubborn = node("process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)", clock);
  stubborn.start();
  stubborn.signal('SIGTERM');
  assert.equal(clock.pendingTimers, 1);
  clock.advance(1000);
  assert.ok([137, 143].includes(await stubborn.ended)); // 143 when the signal came before the handler
  assert.equal(clock.pendingTimers, 0);
});

test('a command is killed when the sidecar itself must go', async () => {
  const child = node('setInterval(() => {}, 1000)');
  child.start();
  child.kill();
  assert.equal(await child.ended, 137);
});

test('a command that does not exist ends with 127, one that may not run with 126', async () => {
  for (const [file, status] of [
    ['/nonexistent/program', 127],
    ['/etc/passwd', 126],
  ] as const) {
    const child = createChild([file], { clock: new FakeClock(), log: silentLogger, graceMs: 1000 });
    child.start();
    assert.equal(await child.ended, status);
  }
});
