/** A sidecar with a command as PID 1 of a PID namespace, as in a container: orphans, signals, standard input, exit status. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { CLEAN_ENV, edgePath } from '../support/edge-process.ts';
import { findProgram, requireProgram } from '../support/programs.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const ENV = { ...CLEAN_ENV, SIDECAR_DNS_ADDR: 'off', SIDECAR_ADMIN_ADDR: 'off' };
/** Whoever kills unshare ends everything in the namespace. */
const UNSHARE = ['--fork', '--pid', '--mount-proc', '--kill-child'];

/** The arguments of unshare; undefined after a skip. `shell` reads the program in place of its own /bin/sh. */
async function inNamespace(
  t: TestContext,
  command: readonly string[],
  shell: readonly string[] = [],
): Promise<string[] | undefined> {
  if (requireProgram(t, 'unshare') === undefined) return undefined;
  const { status, stderr } = await runProcess('unshare', [...UNSHARE, 'true']);
  if (status !== 0) {
    t.skip(`cannot make a PID namespace: ${stderr.trim()}`);
    return undefined;
  }
  // nothing listens there: with no services to care for it is ready all the same
  const settings = ['sidecar', '--server', 'http://127.0.0.1:1', '--data-dir', tempDir(t)];
  return [...UNSHARE, ...shell, edgePath(), ...settings, '--', ...command];
}

/** Leaves orphans behind, and says so when none of them is there any more, not even as a zombie. */
const LEAVES_ORPHANS = `
const { execFileSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const leave = () => execFileSync('sh', ['-c', 'sleep 0.2 >/dev/null 2>&1 & echo $!']).toString().trim();
const orphans = Array.from({ length: 5 }, leave);
process.on('SIGUSR1', () => console.log('got USR1'));
process.on('SIGTERM', () => process.exit(42));
const look = setInterval(() => {
  if (orphans.some((pid) => existsSync('/proc/' + pid))) return;
  clearInterval(look);
  console.log('all reaped');
}, 20);
setInterval(() => {}, 1000);`;

const SHELLS: [string, readonly string[]][] = [
  ['sh', []],
  ['bash', ['--posix']],
  ['busybox', ['sh']],
];

for (const [name, args] of SHELLS) {
  test(`as PID 1 with ${name} in front orphans are reaped, signals passed on and the status kept`, async (t) => {
    const shell = findProgram(name);
    if (shell === undefined) {
      t.skip(`missing program: ${name}`); // the program's own line names /bin/sh, which is one of them
      return;
    }
    const argv = await inNamespace(
      t,
      [process.execPath, '-e', LEAVES_ORPHANS],
      name === 'sh' ? [] : [shell, ...args],
    );
    if (argv === undefined) return;
    const outside = startProcess(t, 'unshare', argv, { env: ENV });
    await outside.waitForLine(/^all reaped$/u);
    const init = Number(readFileSync(`/proc/${outside.pid}/task/${outside.pid}/children`, 'utf8'));
    assert.ok(init > 0);
    process.kill(init, 'SIGUSR1');
    await outside.waitForLine(/^got USR1$/u);
    process.kill(init, 'SIGTERM');
    await outside.assertExit(42);
    assert.doesNotMatch(outside.stderr, /zombies/u);
  });
}

test('as PID 1 the command has standard input, and a command that is killed ends as a shell says it', async (t) => {
  const reader = await inNamespace(t, ['cat']);
  const killed = await inNamespace(t, ['sh', '-c', 'kill -KILL $$']);
  if (reader === undefined || killed === undefined) return;
  const { status, stdout } = await runProcess('unshare', reader, { env: ENV, input: 'to the command' });
  assert.deepEqual([status, stdout], [0, 'to the command']);
  assert.equal((await runProcess('unshare', killed, { env: ENV })).status, 137);
});

test('started as a script of Node it warns that orphans will stay', async (t) => {
  const argv = await inNamespace(t, ['true'], [process.execPath]);
  if (argv === undefined) return;
  const { status, stderr } = await runProcess('unshare', argv, { env: ENV });
  assert.equal(status, 0);
  assert.match(stderr, /WARN .*will stay as zombies: start "edge"/u);
});
