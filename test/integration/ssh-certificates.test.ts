/** SSH certificates of the node's authority: made by `edge ctl certs ssh`, read by ssh-keygen, believed by a real sshd. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import { runProcess } from '../support/processes.ts';
import type { ProcessResult } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { makeSshKey, startSshd } from '../support/sshd.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

test('an sshd that trusts the authority lets a certificate in, for its account, its time and its command only', async (t) => {
  const ssh = requireProgram(t, 'ssh');
  if (ssh === undefined) return;
  const dataDir = join(tempDir(t), 'node');
  const auditLog = join(dataDir, 'audit.log');
  const args = ['--data-dir', dataDir, '--node', 'node-1', '--listen', `127.0.0.1:${await freePort()}`];
  await startEdgeReady(t, ['apiserver', ...args, '--audit-log', auditLog]);
  const ctl = (...words: string[]) => runEdge(['ctl', '--data-dir', dataDir, ...words]);

  const dir = tempDir(t);
  const authority = await ctl('certs', 'ssh-ca');
  assert.match(authority.stdout, /^ssh-ed25519 \S+ edge-ssh-ca@node-1\n$/u);
  assert.equal(authority.stdout, readFileSync(join(dataDir, 'pki/ssh-ca.pub'), 'utf8'));
  assert.equal(statSync(join(dataDir, 'pki/ssh-ca.key')).mode & 0o777, 0o600);
  const trusted = join(dir, 'edge_ca.pub');
  writeFileSync(trusted, authority.stdout);
  const sshd = await startSshd(t, ['AuthorizedKeysFile none', `TrustedUserCAKeys ${trusted}`]);
  if (sshd === undefined) return;
  const key = await makeSshKey(dir, 'id_ed25519');
  const knownHosts = join(dir, 'known_hosts');
  writeFileSync(knownHosts, `[127.0.0.1]:${sshd.port} ${sshd.hostKey}\n`);
  const options = ['IdentitiesOnly=yes', 'BatchMode=yes', `UserKnownHostsFile=${knownHosts}`];
  const login = (command: string): Promise<ProcessResult> => {
    const words = ['-F', 'none', '-i', key, '-p', String(sshd.port), '-l', sshd.user];
    for (const option of options) words.push('-o', option);
    return runProcess(ssh, [...words, '127.0.0.1', command], { name: 'ssh' });
  };
  const sign = async (...words: string[]): Promise<void> => {
    const made = await ctl('certs', 'ssh', `${key}.pub`, ...words);
    assert.equal(made.status, 0, made.stderr);
    assert.match(made.stdout, /^certificate written: \S+id_ed25519-cert\.pub, for /u);
  };

  assert.equal((await login('true')).status, 255, 'without a certificate nobody gets in');
  await sign('--principals', `${sshd.user},other`, '--ttl', '10m');
  const shown = await runProcess('ssh-keygen', ['-L', '-f', `${key}-cert.pub`]);
  assert.equal(shown.status, 0, shown.stderr);
  assert.match(shown.stdout, /Type: ssh-ed25519-cert-v01@openssh\.com user certificate/u);
  assert.match(shown.stdout, /Key ID: "edge:edge:admin:node-1:\d+"/u);
  assert.match(shown.stdout, new RegExp(`Principals: \\n +${sshd.user}\\n +other\\n`, 'u'));
  assert.match(shown.stdout, /Critical Options: \(none\)/u);
  const done = await login('echo hello; exit 3');
  assert.deepEqual([done.status, done.stdout], [3, 'hello\n'], done.stderr);
  await sshd.process.waitForLine(/Accepted publickey .* ED25519-CERT .*ID edge:edge:admin:node-1:\d+/u);

  await sign('--principals', 'other');
  assert.equal((await login('true')).status, 255, 'for another account');
  await sign('--principals', sshd.user, '--source-address', '192.0.2.0/24');
  assert.equal((await login('true')).status, 255, 'from another address');
  await sign('--principals', sshd.user, '--force-command', 'echo forced');
  assert.equal((await login('rm -rf /nothing')).stdout, 'forced\n');

  for (const [words, message] of [
    [['certs', 'ssh', `${key}.pub`], /--principals is missing/u],
    [['certs', 'ssh', key, '--principals', 'root'], /is a private key/u],
    [['certs', 'ssh', `${key}-cert.pub`, '--principals', 'root'], /publicKey: not a line of a \.pub file/u],
    [['certs', 'ssh', `${key}.pub`, '--principals', 'a b'], /principals: wanted 1 to 16 names/u],
    [
      ['certs', 'ssh', `${key}.pub`, '--principals', 'root', '--ttl', '48h'],
      /ttlSeconds: wanted whole seconds/u,
    ],
  ] as const) {
    const refused = await ctl(...words);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, message);
  }
  const cloud = ['ctl', '--kubeconfig', join(dataDir, 'cloud.kubeconfig')];
  const denied = await runEdge([...cloud, 'certs', 'ssh', `${key}.pub`, '--principals', 'root']);
  assert.match(denied.stderr, /forbidden/iu);
  const entry =
    /"details":\{"kind":"ssh","serial":"\d+","principals":\["[^"]+","other"\],"validBefore":"[^"]+"\}/u;
  await waitFor(() => entry.test(readFileSync(auditLog, 'utf8')), { what: 'the audit entry' });
});
