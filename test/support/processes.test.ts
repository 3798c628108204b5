/** Tests of the process support: what a test sees when a program ends, hangs, or cannot start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLeaks } from './leak-check.ts';
import { runProcess, startProcess } from './processes.ts';
import { findProgram, requireProgram } from './programs.ts';
import { waitFor } from './wait.ts';

checkLeaks();

const node = (script: string) => ['-e', script];
const IDLE = 'setInterval(() => {}, 1000);';

test('waits for a line, stops by SIGTERM and tells how the process ended', async (t) => {
  const script = `process.on('SIGTERM', () => process.exit(3)); console.error('it is up'); ${IDLE}`;
  const child = startProcess(t, process.execPath, node(script));
  assert.equal(await child.waitForLine(/is up/u), 'it is up');
  assert.equal(child.exit, undefined);
  assert.deepEqual(await child.stop(), { status: 3, signal: null });
});

test('half a line is no line yet, unless the process has ended', async (t) => {
  const halves = `process.stdout.write('port 12'); setTimeout(() => process.stdout.write('34\\n'), 100);`;
  const child = startProcess(t, process.execPath, node(`${halves} ${IDLE}`));
  assert.equal(await child.waitForLine(/port \d+/u), 'port 1234');
  const ended = startProcess(t, process.execPath, node(`process.stdout.write('the rest')`));
  assert.equal(await ended.waitForLine(/rest/u), 'the rest');
});

test('a wait fails at once, with the log, when the process ends first', async (t) => {
  const child = startProcess(t, process.execPath, node(`console.error('no such file'); process.exit(1)`), {
    name: 'x',
  });
  const startedAt = performance.now();
  await assert.rejects(
    child.waitForLine(/ready/u, 60_000),
    /x: a line.*ended first \(status 1\)[^]*no such file/u,
  );
  assert.ok(performance.now() - startedAt < 20_000);
});

test('a process that ignores SIGTERM is killed and fails the stop', async (t) => {
  const child = startProcess(
    t,
    process.execPath,
    node(`process.on('SIGTERM', () => {}); console.log('up'); ${IDLE}`),
  );
  await child.waitForLine(/up/u);
  await assert.rejects(child.stop(50), /still running 50 ms after SIGTERM/u);
  assert.deepEqual(child.exit, { status: null, signal: 'SIGKILL' });
});

test('the end of a test does not wait for what a killed process leaves behind', async (t) => {
  const script = `console.log(require('node:child_process').spawn('sleep', ['600'], { stdio: 'inherit' }).pid); ${IDLE}`;
  const child = startProcess(t, process.execPath, node(script));
  const pid = Number(await child.waitForLine(/^\d+$/u));
  t.after(() => void process.kill(pid, 'SIGKILL'));
  await child.dispose();
  assert.equal(process.kill(pid, 0), true, 'the other one lives');
});

test('assertExit tells a wrong status from the right one', async (t) => {
  const child = startProcess(t, process.execPath, node('process.exit(2)'));
  await child.assertExit(2);
  await assert.rejects(child.assertExit(0), /ended with status 2, wanted status 0/u);
});

test('a program that does not exist ends with status 127', async () => {
  const result = await runProcess('/nonexistent/program', []);
  assert.equal(result.status, 127);
  assert.match(result.stderr, /cannot start/u);
});

test('runs a program with input and keeps both outputs apart', async () => {
  const script = `process.stdin.on('data', (d) => process.stdout.write(d)); console.error('note')`;
  const result = await runProcess(process.execPath, node(script), { input: 'text' });
  assert.deepEqual(result, { status: 0, stdout: 'text', stderr: 'note\n' });
});

test('waitFor says what it waited for and the last error', async () => {
  const never = () => {
    throw new Error('not there');
  };
  await assert.rejects(waitFor(never, { what: 'the thing', timeoutMs: 30, intervalMs: 5 }), {
    message: 'the thing: not within 30 ms; last error: not there',
  });
  await assert.rejects(
    waitFor(() => 0, { what: 'a number', timeoutMs: 0 }),
    /last value: 0/u,
  );
});

test('a missing program skips the test locally and throws in CI unless it is optional', () => {
  const reasons: (string | undefined)[] = [];
  const context = { skip: (reason?: string) => void reasons.push(reason) };
  const ci = process.env['CI'];
  try {
    process.env['CI'] = '';
    assert.equal(requireProgram(context, 'no-such-program-x'), undefined);
    process.env['CI'] = 'true';
    assert.throws(() => requireProgram(context, 'no-such-program-x'), /missing program: no-such-program-x/u);
    assert.equal(requireProgram(context, 'no-such-program-x', { optional: true }), undefined);
  } finally {
    if (ci === undefined) delete process.env['CI'];
    else process.env['CI'] = ci;
  }
  assert.deepEqual(reasons, ['missing program: no-such-program-x', 'missing program: no-such-program-x']);
});

test('a variable names a program that is not on PATH; one that cannot run is an error', () => {
  assert.equal(findProgram('frps', { EDGE_TEST_FRPS: process.execPath, PATH: '' }), process.execPath);
  assert.equal(findProgram('frps', { PATH: '' }), undefined);
  assert.throws(() => findProgram('frps', { EDGE_TEST_FRPS: '/nonexistent' }), /not an executable file/u);
});
