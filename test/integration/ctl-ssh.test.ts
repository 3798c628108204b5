/** `edge ctl ssh` against Debian's sshd through the tunnel: commands, a terminal in tmux, forwarded ports, refusals, audit. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseCast } from '../../src/lib/asciicast.ts';
import { auditRecords, startMaintainedNodes } from '../support/maintained-nodes.ts';
import type { MaintainedNodes } from '../support/maintained-nodes.ts';
import { freePorts } from '../support/ports.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { exchange } from '../support/sidecar-world.ts';
import { startTmux } from '../support/tmux.ts';

test('a command has its streams and its status, and each is in the audit log', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const done = await nodes.ctl('ssh', ['node-7', '--', 'wc -c; echo trouble >&2; exit 7'], {
    input: 'x'.repeat(1_000_000),
  });
  assert.deepEqual(done, { status: 7, stdout: '1000000\n', stderr: 'trouble\n' });
  const killed = await nodes.ctl('ssh', ['node-7', 'kill -TERM $$']);
  assert.equal(killed.status, 143);
  const stranger = await nodes.ctl('ssh', ['nobody-there@id-node-7', 'true']);
  assert.equal(stranger.status, 255);
  assert.match(stranger.stderr, /lets nobody in as "nobody-there" \(it accepts publickey.*tried: key /u);
  const records = auditRecords(nodes);
  assert.deepEqual(
    records.map(({ kind, node, command, exitStatus, signal }) => ({
      kind,
      node,
      command,
      exitStatus,
      signal,
    })),
    [
      {
        kind: 'exec',
        node: 'node-7',
        command: 'wc -c; echo trouble >&2; exit 7',
        exitStatus: 7,
        signal: undefined,
      },
      { kind: 'exec', node: 'node-7', command: 'kill -TERM $$', exitStatus: 143, signal: 'SIGTERM' },
      { kind: 'exec', node: 'id-node-7', command: 'true', exitStatus: undefined, signal: undefined },
    ],
  );
  assert.match(records[2]?.error ?? '', /^EDGE_ERR_SSH_AUTH: /u);
  assert.match(records[0]?.operator ?? '', /.@./u);
  assert.ok((records[0]?.bytesOut ?? 0) === 1_000_000);
});

test('a terminal follows the window, passes keys on, and ends with ~. or the status of the shell', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const tmux = await startTmux(t, { cols: 100, rows: 30 });
  if (tmux === undefined) return;
  const cast = join(nodes.dataDir, 'session.cast');
  await tmux.start([process.execPath, ...nodes.command('ssh', ['node-7', '--record', cast])], nodes.env);
  await tmux.waitFor(/[#$] *$/mu);
  await tmux.type('stty size; echo "$TERM"');
  await tmux.waitFor(/^30 100\n\w/mu);
  // a key may overtake the new size, so the node waits for that
  await tmux.type('until [ "$(stty size)" = "41 120" ]; do sleep 0.1; done; stty size');
  await tmux.resize(120, 41);
  await tmux.waitFor(/^41 120$/mu);
  await tmux.type('printf "\\033[31mred\\033[0m\\n"; sleep 100');
  await tmux.waitFor(/^red$/mu);
  assert.ok((await tmux.screen({ escapes: true })).includes('\u001b[31mred'));
  await tmux.keys('C-c');
  await tmux.type('echo after $?');
  await tmux.waitFor(/^after 130$/mu);
  // what full-screen programs do: a line feed goes down and not back
  await tmux.type('clear; stty -onlcr; printf "ab\\ncd"; stty onlcr; echo');
  await tmux.waitFor(/^ab\n {2}cd$/mu);
  await tmux.type('exit 9');
  await tmux.waitFor(/^ended with 9$/mu);
  const { header, events } = parseCast(readFileSync(cast, 'utf8'));
  assert.deepEqual([header.width, header.height], [100, 30]);
  assert.ok(events.some(({ code, data }) => code === 'r' && data === '120x41'));
  assert.ok(events.some(({ code, data }) => code === 'o' && data.includes('\u001b[31mred')));

  await tmux.start([process.execPath, ...nodes.command('ssh', ['node-7'])], nodes.env);
  await tmux.waitFor(/[#$] *$/mu);
  await tmux.keys('Enter', '~', '.');
  await tmux.waitFor(/^ended with 255$/mu);
  const [first, second] = auditRecords(nodes);
  assert.deepEqual([first?.kind, first?.exitStatus, first?.recording], ['shell', 9, cast]);
  assert.deepEqual([second?.kind, second?.error], ['shell', 'escape']);
});

test('ports are forwarded both ways, and SOCKS goes where it is told', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const service = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(`got ${Buffer.concat(chunks).length}`));
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  t.after(() => service.close());
  const { port } = service.address() as AddressInfo;
  const [local = 0, socks = 0] = await freePorts(2);
  const forwarder = startProcess(
    t,
    process.execPath,
    nodes.command('ssh', [
      'node-7',
      '-N',
      '-L',
      `${local}:127.0.0.1:${port}`,
      '-R',
      `0:127.0.0.1:${port}`,
      '-D',
      `127.0.0.1:${socks}`,
    ]),
    { env: nodes.env, name: 'edge ctl ssh -N' },
  );
  const line = await forwarder.waitForLine(/Allocated port \d+/u);
  const remote = Number(/\d+/u.exec(line)?.[0]);
  const request = 'x'.repeat(300_000);
  assert.equal(await exchange('127.0.0.1', local, request), 'got 300000');
  assert.equal(await exchange('127.0.0.1', remote, request), 'got 300000');
  const greeting = Buffer.from([5, 1, 0, 5, 1, 0, 3, 9, ...Buffer.from('127.0.0.1'), port >> 8, port & 255]);
  const answer = await socksExchange(socks, greeting, request);
  assert.equal(answer.toString('latin1', 12), 'got 300000');
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const refused = await runProcess(curl, [
    '-sS',
    '--socks5-hostname',
    `127.0.0.1:${socks}`,
    'http://127.0.0.1:1/',
  ]);
  assert.notEqual(refused.status, 0);
  await forwarder.waitForLine(/Warning: -D: 127.0.0.1:1: /u);
  forwarder.signal('SIGTERM');
  await forwarder.assertExit(143);
  assert.deepEqual(
    auditRecords(nodes).map(({ kind, exitStatus }) => ({ kind, exitStatus })),
    [{ kind: 'forward', exitStatus: 143 }],
  );
  const busy = await nodes.ctl('ssh', ['node-7', '-N', '-L', `${port}:127.0.0.1:1`]);
  assert.equal(busy.status, 255);
  assert.match(busy.stderr, /-L: cannot listen on localhost:\d+: .*address already in use/u);
});

test('a changed host key and a dead sshd are told apart, with what to do', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7'], { tellsHostKeys: false });
  const sshd = nodes?.sshds.get('node-7');
  if (nodes === undefined || sshd === undefined) return;
  const strict = await nodes.ctl('ssh', ['--strict-host-keys', 'node-7', 'true']);
  assert.equal(strict.status, 255);
  assert.match(strict.stderr, /is not known/u);
  const first = await nodes.ctl('ssh', ['node-7', 'true']);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stderr, /^Warning: nothing was known of the host key of node "node-7"; .*SHA256:/u);
  const again = await nodes.ctl('ssh', ['node-7', 'true']);
  assert.deepEqual(again, { status: 0, stdout: '', stderr: '' });

  await sshd.killAll();
  const dead = await nodes.ctl('ssh', ['node-7', 'true']);
  assert.equal(dead.status, 255);
  assert.match(dead.stderr, /^error: /u);
  await sshd.restart({ newHostKey: true });
  const changed = await nodes.ctl('ssh', ['node-7', 'true']);
  assert.equal(changed.status, 255);
  const file = join(nodes.dataDir, 'known_hosts');
  assert.ok(changed.stderr.includes(`is not the one of ${file}:1`), changed.stderr);
  assert.ok(changed.stderr.includes(`delete line 1 of ${file}`), changed.stderr);
  writeFileSync(file, '');
  assert.equal((await nodes.ctl('ssh', ['node-7', 'true'])).status, 0);
});

test('a session in which nothing happens ends, and one whose sshd dies does too', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  const sshd = nodes?.sshds.get('node-7');
  if (nodes === undefined || sshd === undefined) return;
  const idle = await nodes.ctl('ssh', ['--idle-timeout', '500ms', 'node-7', 'sleep 60']);
  assert.equal(idle.status, 255);
  const running = startSession(t, nodes, ['node-7', 'echo started; sleep 60']);
  await running.waitForLine(/started/u);
  await sshd.killAll();
  await running.assertExit(255);
  assert.match(running.stderr, /^error: the .*node-7/mu);
  assert.deepEqual(
    auditRecords(nodes).map(({ error }) => error?.split(':')[0]),
    ['idle', 'EDGE_ERR_SSH_CLOSED'],
  );
});

function startSession(
  t: Parameters<typeof startProcess>[0],
  nodes: MaintainedNodes,
  args: readonly string[],
) {
  return startProcess(t, process.execPath, nodes.command('ssh', args), {
    env: nodes.env,
    name: 'edge ctl ssh',
  });
}

function socksExchange(port: number, greeting: Buffer, request: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
    socket.end(Buffer.concat([greeting, Buffer.from(request)]));
  });
}
