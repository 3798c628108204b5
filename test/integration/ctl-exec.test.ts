/** `edge ctl exec` against Debian's sshd through the tunnel: one node with its streams, three at once, what can go wrong. */
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { kill } from 'node:process';
import { test } from 'node:test';
import { NODE_MAINTENANCES } from '../../src/api/edge.ts';
import { auditRecords, startMaintainedNodes } from '../support/maintained-nodes.ts';
import { makeAccount } from '../support/maintenance-world.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { waitFor } from '../support/wait.ts';

test('on one node the words, streams and status are those of the command', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const words = await nodes.ctl('exec', ['node-7', '--', 'printf', '%s|', 'a b', "it's", '$HOME']);
  assert.deepEqual(words, { status: 0, stdout: "a b|it's|$HOME|", stderr: '' });
  const input = 'x'.repeat(2_000_000);
  const piped = await nodes.ctl('exec', ['node-7', '--', 'cat; echo trouble >&2; exit 3'], { input });
  assert.deepEqual(
    { ...piped, stdout: piped.stdout.length },
    { status: 3, stdout: input.length, stderr: 'trouble\n' },
  );
  const tty = await nodes.ctl('exec', ['-it', 'node-7', '--', 'tty']);
  assert.match(tty.stdout, /^\/dev\/pts\/\d+\r\n$/u);
  const late = await nodes.ctl('exec', ['--timeout', '700ms', 'node-7', '--', 'sleep 60']);
  assert.deepEqual(late, { status: 124, stdout: '', stderr: 'error: node-7: ended for timeout\n' });
  const unknown = await nodes.ctl('exec', ['node-8', '--', 'true']);
  assert.deepEqual(unknown, {
    status: 1,
    stdout: '',
    stderr: 'error: node "node-8" is not known\nhint: "edge ctl nodes" lists those that are\n',
  });
  const quoted = nodes.command('exec', ['node-7', '--', 'yes']).map((word) => `'${word}'`);
  const headed = await runProcess(
    'bash',
    ['-c', `set -o pipefail; '${process.execPath}' ${quoted.join(' ')} | head -n 1`],
    { env: nodes.env },
  );
  assert.deepEqual(headed, { status: 141, stdout: 'y\n', stderr: '' });
  const full = await runProcess('bash', ['-c', `'${process.execPath}' ${quoted.join(' ')} >/dev/full`], {
    env: nodes.env,
  });
  assert.deepEqual(full, {
    status: 255,
    stdout: '',
    stderr: 'error: the output cannot be written: no space left on device\n',
  });
  const nothing = await nodes.ctl('exec', ['node-7', 'true']);
  assert.match(nothing.stderr, /^error: exec: there is no command\nhint: /u);

  const long = startProcess(
    t,
    process.execPath,
    nodes.command('exec', ['node-7', '--', 'echo on; exec sleep 60']),
    {
      env: nodes.env,
      name: 'edge ctl exec',
    },
  );
  await long.waitForLine(/^on$/u);
  long.signal('SIGINT');
  await long.assertExit(130);
  assert.deepEqual(
    auditRecords(nodes).map(({ exitStatus, error }) => exitStatus ?? error?.split(':')[0]),
    [0, 3, 0, 124, 'EDGE_ERR_USAGE', 141, 'EDGE_ERR_OUTPUT', 'EDGE_ERR_SSH_CLOSED'],
  );
});

test('a command that is interrupted here ends on the node', async (t) => {
  const account = await makeAccount(t);
  if (account === undefined) return;
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  chmodSync(nodes.dataDir, 0o755); // the account's authorized_keys are in there
  const where = `${account.user}@node-7`;
  const args = nodes.command('exec', [where, '--', 'echo $$; exec sleep 600']);
  const running = startProcess(t, process.execPath, args, { env: nodes.env, name: 'edge ctl exec' });
  const pid = Number(await running.waitForLine(/^\d+$/u));
  running.signal('SIGTERM');
  await running.assertExit(143);
  const isGone = (): boolean => {
    try {
      return kill(pid, 0) && false;
    } catch {
      return true;
    }
  };
  await waitFor(isGone, { what: 'the command to end' });
});

test('on three nodes each line names its node, a summary follows, and the worst status counts', async (t) => {
  const names = ['east-1', 'east-2', 'west-1'];
  const nodes = await startMaintainedNodes(t, names);
  if (nodes === undefined) return;
  const all = await nodes.ctl('exec', ['--all', '--', 'echo "$SSH_CONNECTION" >&2; seq 3; printf end']);
  assert.equal(all.status, 0, all.stderr);
  const lines = all.stdout.trimEnd().split('\n');
  for (const name of names) {
    assert.deepEqual(
      lines.filter((line) => line.startsWith(`${name} | `)).map((line) => line.slice(9)),
      ['1', '2', '3', 'end'],
    );
  }
  assert.equal(lines.length, 12);
  assert.match(all.stderr, /^west-1 {3}0 {8}\d+\.\ds$/mu);
  assert.match(all.stderr, /\nall 3 done\n$/u);

  await nodes.node.client.patch(
    NODE_MAINTENANCES,
    'nodemaintenances-id-west-1',
    { metadata: { labels: { site: 'west' } } },
    { type: 'merge' },
  );
  const west = await nodes.ctl('exec', ['-l', 'site=west', '--', 'echo here']);
  assert.equal(west.stdout, 'west-1 | here\n');

  await nodes.sshds.get('east-2')?.killAll();
  const mixed = await nodes.ctl('exec', ['east-1', 'east-2', 'west-1', '--parallel', '1', '--', 'exit 4']);
  assert.equal(mixed.status, 255);
  assert.match(mixed.stderr, /^east-1 {3}4 /mu);
  assert.match(mixed.stderr, /^east-2 {3}255 .*\S$/mu);
  assert.match(mixed.stderr, /\n3 of 3 failed\n$/u);
  assert.equal(auditRecords(nodes).length, 7);
});
