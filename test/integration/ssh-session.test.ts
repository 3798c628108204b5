/** SSH sessions (src/ssh) against Debian's sshd: every way to log in, host keys, streams, terminals, broken connections. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { socketStream } from '../../src/tunnel/socket-stream.ts';
import type { AuthMethod } from '../../src/ssh/authentication.ts';
import type { SshChannel } from '../../src/ssh/channel.ts';
import { openKnownHosts } from '../../src/ssh/known-hosts.ts';
import { readPrivateKey, withCertificate } from '../../src/ssh/private-key.ts';
import { openSession } from '../../src/ssh/session.ts';
import type { SessionOptions, SshSession } from '../../src/ssh/session.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { makeSshKey, startSshd } from '../support/sshd.ts';
import type { Sshd } from '../support/sshd.ts';
import { tempDir } from '../support/temp-dir.ts';
import { startTokenAgent } from '../support/token-agent.ts';

function keyMethod(path: string, passphrase?: string): AuthMethod {
  return {
    kind: 'key',
    name: path,
    load: () => Promise.resolve(readPrivateKey(readFileSync(path, 'utf8'), path, passphrase)),
  };
}

async function open(sshd: Sshd, change: Partial<SessionOptions> = {}): Promise<SshSession> {
  const socket = connect({ host: '127.0.0.1', port: sshd.port, allowHalfOpen: true });
  return openSession(socketStream(socket), {
    user: sshd.user,
    methods: [keyMethod(sshd.userKey)],
    hostKey: { node: 'node-7', told: [sshd.hostKey] },
    clock: systemClock,
    ...change,
  });
}

async function outcome(channel: SshChannel): Promise<{ stdout: string; stderr: string; end: string }> {
  const texts = { stdout: '', stderr: '' };
  channel.io.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text));
  channel.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text));
  const { status, signal } = await channel.exit;
  return { ...texts, end: String(status ?? signal) };
}

test('a command has its streams, its variables and its end', async (t) => {
  const sshd = await startSshd(t);
  if (sshd === undefined) return;
  const session = await open(sshd);
  const cat = await session.exec('wc -c; echo "$EDGE_WORD" >&2; exit 7', { env: { EDGE_WORD: 'trouble' } });
  cat.io.end(Buffer.alloc(5_000_000, 'x'));
  assert.deepEqual(await outcome(cat), { stdout: '5000000\n', stderr: 'trouble\n', end: '7' });
  const killed = await session.exec('kill -TERM $$', {});
  killed.io.end();
  assert.equal((await outcome(killed)).end, 'SIGTERM');
  session.close();
  assert.equal(await session.closed, undefined);
});

test('a shell has a terminal that follows its size', async (t) => {
  const sshd = await startSshd(t);
  if (sshd === undefined) return;
  const session = await open(sshd);
  const shell = await session.shell({ terminal: { cols: 91, rows: 33, term: 'xterm-256color' } });
  const end = outcome(shell);
  shell.io.write('stty size; echo $TERM; trap "stty size; exit 3" WINCH; echo re""ady\n');
  await new Promise<void>((resolve) => {
    let seen = '';
    shell.io.on('data', (text: string) => {
      seen += text;
      if (seen.includes('ready')) resolve();
    });
  });
  shell.resize(120, 40);
  shell.io.write('\n');
  const { stdout, end: status } = await end;
  assert.match(stdout, /33 91\r\nxterm-256color\r\n/u);
  assert.match(stdout, /40 120\r\n/u);
  assert.equal(status, '3');
  session.close();
});

test('keys with a passphrase, certificates and an agent let in, each alone', async (t) => {
  const sshd = await startSshd(t);
  if (sshd === undefined) return;
  const { dir } = sshd;
  const agent = requireProgram(t, 'ssh-agent');
  if (agent === undefined) return;
  const check = async (server: Sshd, methods: readonly AuthMethod[]): Promise<void> => {
    const session = await open(server, { methods });
    const run = await session.exec('echo in', {});
    run.io.end();
    assert.equal((await outcome(run)).stdout, 'in\n');
    session.close();
    await session.closed;
  };
  // the passphrase: the key that sshd knows, encrypted anew
  const locked = await runProcess('ssh-keygen', [
    '-q',
    '-p',
    '-P',
    '',
    '-N',
    'open sesame',
    '-f',
    sshd.userKey,
  ]);
  assert.equal(locked.status, 0, locked.stderr);
  assert.equal(readPrivateKey(readFileSync(sshd.userKey, 'utf8'), 'key'), undefined);
  assert.equal(readPrivateKey(readFileSync(sshd.userKey, 'utf8'), 'key', 'wrong'), undefined);
  await check(sshd, [keyMethod(sshd.userKey, 'open sesame')]);
  const unlocked = await runProcess('ssh-keygen', [
    '-q',
    '-p',
    '-P',
    'open sesame',
    '-N',
    '',
    '-f',
    sshd.userKey,
  ]);
  assert.equal(unlocked.status, 0, unlocked.stderr);

  const socket = join(dir, 'agent');
  startProcess(t, agent, ['-D', '-a', socket]);
  await t.test('agent', async () => {
    const add = () => runProcess('ssh-add', [sshd.userKey], { env: { SSH_AUTH_SOCK: socket } });
    while ((await add()).status !== 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await check(sshd, [{ kind: 'agent', socket }]);
  });

  const authority = await makeSshKey(dir, 'ca');
  const trusting = await startSshd(t, [`TrustedUserCAKeys ${authority}.pub`]);
  assert.ok(trusting !== undefined);
  for (const type of ['ed25519', 'rsa', 'ecdsa']) {
    await t.test(`certificate of a key of type ${type}, in a file and in an agent`, async () => {
      const key = await makeSshKey(dir, `certified-${type}`, [
        '-t',
        type,
        '-b',
        type === 'rsa' ? '2048' : '256',
      ]);
      const args = ['-q', '-s', authority, '-I', 'operator', '-n', sshd.user, '-V', '+5m', `${key}.pub`];
      const signed = await runProcess('ssh-keygen', args);
      assert.equal(signed.status, 0, signed.stderr);
      await assert.rejects(open(trusting, { methods: [keyMethod(key)] }), { code: 'EDGE_ERR_SSH_AUTH' });
      const plain = readPrivateKey(readFileSync(key, 'utf8'), key);
      assert.ok(plain !== undefined);
      const certified = withCertificate(plain, readFileSync(`${key}-cert.pub`, 'utf8'), 'cert');
      await check(trusting, [{ kind: 'key', name: key, load: () => Promise.resolve(certified) }]);
      // only the agent has it now: the key whose certificate is beside it goes in with that
      const added = await runProcess('ssh-add', [key], { env: { SSH_AUTH_SOCK: socket } });
      assert.equal(added.status, 0, added.stderr);
      await check(trusting, [{ kind: 'agent', socket }]);
      const emptied = await runProcess('ssh-add', ['-D'], { env: { SSH_AUTH_SOCK: socket } });
      assert.equal(emptied.status, 0, emptied.stderr);
    });
  }
  await t.test('a plain key of type rsa in an agent', async () => {
    const rsa = await makeSshKey(dir, 'plain-rsa', ['-t', 'rsa', '-b', '2048']);
    const knowing = await startSshd(t, [`AuthorizedKeysFile ${rsa}.pub`]);
    assert.ok(knowing !== undefined);
    const added = await runProcess('ssh-add', [rsa], { env: { SSH_AUTH_SOCK: socket } });
    assert.equal(added.status, 0, added.stderr);
    await check(knowing, [{ kind: 'agent', socket }]);
  });
});

test('a key of a hardware token lets in through its agent, and an agent that does not sign is passed over', async (t) => {
  const dir = tempDir(t);
  const token = await startTokenAgent(t, join(dir, 'token'));
  writeFileSync(join(dir, 'token.pub'), `${token.publicKey}\n`);
  const sshd = await startSshd(t, [`AuthorizedKeysFile ${join(dir, 'token.pub')}`]);
  if (sshd === undefined) return;
  const byToken: AuthMethod = { kind: 'agent', socket: token.socket };
  const session = await open(sshd, { methods: [byToken] });
  const run = await session.exec('echo in', {});
  run.io.end();
  assert.equal((await outcome(run)).stdout, 'in\n');
  session.close();
  assert.equal(token.signatures, 1);

  token.refuse();
  await assert.rejects(open(sshd, { methods: [byToken] }), (err: Error & { code: string; hint: string }) => {
    assert.equal(err.code, 'EDGE_ERR_SSH_AUTH');
    assert.match(err.hint, /the ssh-agent at .* does not sign with this key/u);
    return true;
  });
  const nobody: AuthMethod = { kind: 'agent', socket: join(dir, 'nobody') };
  await assert.rejects(open(sshd, { methods: [nobody] }), {
    code: 'EDGE_ERR_SSH_AUTH',
    hint: /cannot be asked/u,
  });
});

test('a host key that is not the known one is refused, by file and line', async (t) => {
  const sshd = await startSshd(t);
  if (sshd === undefined) return;
  const path = join(sshd.dir, 'known_hosts');
  const hostKey = async (told: readonly string[]) => ({
    node: 'node-7',
    told,
    knownHosts: await openKnownHosts(path),
    onUnknown: () => Promise.resolve(true),
  });
  const first = await open(sshd, { hostKey: await hostKey([]) });
  first.close();
  assert.equal(readFileSync(path, 'utf8'), `node-7 ${sshd.hostKey}\n`);
  await sshd.killAll();
  await sshd.restart({ newHostKey: true });
  await assert.rejects(
    open(sshd, { hostKey: await hostKey([]) }),
    (err: Error & { code: string; hint: string }) => {
      assert.equal(err.code, 'EDGE_ERR_SSH_HOST_KEY');
      assert.ok(err.message.includes(`${path}:1`), err.message);
      assert.ok(err.hint.includes(`delete line 1 of ${path}`), err.hint);
      return true;
    },
  );
  await assert.rejects(open(sshd), { code: 'EDGE_ERR_SSH_HOST_KEY' });
});

test('a session whose sshd dies ends, and so does one without a way in', async (t) => {
  const sshd = await startSshd(t);
  if (sshd === undefined) return;
  await assert.rejects(open(sshd, { methods: [] }), (err: Error & { code: string }) => {
    assert.equal(err.code, 'EDGE_ERR_SSH_AUTH');
    assert.match(err.message, /accepts publickey/u);
    return true;
  });
  const session = await open(sshd);
  const sleeping = await session.exec('sleep 60', {});
  const end = outcome(sleeping);
  await sshd.killAll();
  assert.equal((await end).end, 'undefined'); // nobody told
  assert.equal(((await session.closed) as { code?: string }).code, 'EDGE_ERR_SSH_CLOSED');
  await assert.rejects(session.exec('true', {}), { code: 'EDGE_ERR_SSH_CHANNEL' });
  await assert.rejects(open(sshd), { code: 'EDGE_ERR_SSH_CLOSED' });
});
