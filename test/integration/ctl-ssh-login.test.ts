/** Who gets into a node with `edge ctl ssh`, against Debian's sshd: agent, default keys, passwords and PAM, asked without echo. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { edgePath, runEdge } from '../support/edge-process.ts';
import { auditRecords, startMaintainedNodes } from '../support/maintained-nodes.ts';
import type { MaintainedNodes } from '../support/maintained-nodes.ts';
import { makeAccount } from '../support/maintenance-world.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { startTmux } from '../support/tmux.ts';
import { waitFor } from '../support/wait.ts';

/** Runs `edge ctl ssh` as somebody whose home is `home`, with nothing said about keys. */
function ssh(
  nodes: MaintainedNodes,
  home: string,
  args: readonly string[],
  env: Record<string, string> = {},
) {
  return runEdge(['ctl', 'ssh', '--batch', ...args], { env: { ...nodes.env, HOME: home, ...env } });
}

test('an ssh-agent lets in, may be taken along, and default keys do without one', async (t) => {
  const agent = requireProgram(t, 'ssh-agent');
  const add = requireProgram(t, 'ssh-add');
  if (agent === undefined || add === undefined) return;
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const home = tempDir(t);
  const nobody = await ssh(nodes, home, ['node-7', 'true']);
  assert.equal(nobody.status, 255);
  assert.match(nobody.stderr, /tried: nothing/u);

  const socket = join(home, 'agent');
  startProcess(t, agent, ['-D', '-a', socket]);
  const env = { SSH_AUTH_SOCK: socket };
  await waitFor(async () => (await runProcess(add, [nodes.userKey], { env })).status === 0, {
    what: 'the agent',
  });
  const byAgent = await ssh(nodes, home, ['node-7', 'ssh-add -l'], env);
  assert.notEqual(byAgent.status, 0); // logged in, and has no agent there
  const forwarded = await ssh(nodes, home, ['-A', 'node-7', 'ssh-add -l'], env);
  assert.equal(forwarded.status, 0, forwarded.stderr);
  assert.match(forwarded.stdout, /operator \(ED25519\)/u);

  mkdirSync(join(home, '.ssh'));
  copyFileSync(nodes.userKey, join(home, '.ssh', 'id_ed25519'));
  chmodSync(join(home, '.ssh', 'id_ed25519'), 0o600);
  const byKey = await ssh(nodes, home, ['node-7', 'echo in']);
  assert.deepEqual(byKey, { status: 0, stdout: 'in\n', stderr: '' });
});

for (const { name, lines } of [
  { name: 'a password', lines: ['PubkeyAuthentication no', 'KbdInteractiveAuthentication no'] },
  {
    name: "PAM's questions",
    lines: [
      'PubkeyAuthentication no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication yes',
      'UsePAM yes',
    ],
  },
]) {
  test(`${name}: asked without echo, wrong ones refused, or from a file`, async (t) => {
    const account = await makeAccount(t);
    if (account === undefined) return;
    const nodes = await startMaintainedNodes(t, ['node-7'], { sshdLines: lines });
    if (nodes === undefined) return;
    const { user, password } = account;
    const home = tempDir(t);
    const file = join(home, 'password');
    writeFileSync(file, `${password}\n`);
    const right = await ssh(nodes, home, [`${user}@node-7`, '--password-file', file, 'id -un']);
    assert.deepEqual(right, { status: 0, stdout: `${user}\n`, stderr: '' });
    writeFileSync(file, 'wrong horse');
    const wrong = await ssh(nodes, home, [`${user}@node-7`, '--password-file', file, 'id -un']);
    assert.equal(wrong.status, 255);
    assert.match(
      wrong.stderr,
      /lets nobody in as "edge-test-\d+" \(it accepts (?:password|keyboard-interactive); tried: /u,
    );
    assert.ok(!wrong.stderr.includes('horse'));
    assert.match(auditRecords(nodes).at(-1)?.error ?? '', /^EDGE_ERR_SSH_AUTH/u);

    const tmux = await startTmux(t, { cols: 100, rows: 30 });
    if (tmux === undefined) return;
    const env = { ...nodes.env, HOME: home };
    await tmux.start([process.execPath, edgePath(), 'ctl', 'ssh', '-l', user, 'node-7', 'id -un'], env);
    await tmux.waitFor(/assword: *$/mu);
    await tmux.type('wrong horse');
    await tmux.waitFor(/assword: *\n[^]*assword: *$/mu);
    await tmux.type(password);
    await tmux.waitFor(/^edge-test-\d+\n[^]*ended with 0$/mu);
    assert.ok(!(await tmux.screen()).includes('horse'));
  });
}
