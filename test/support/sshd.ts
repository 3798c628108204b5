/** A real OpenSSH server with keys of its own, on a free port of the loopback address. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort } from './ports.ts';
import { runProcess, startProcess } from './processes.ts';
import type { TestLike, TestProcess } from './processes.ts';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { tempDir } from './temp-dir.ts';

/** A running sshd. */
export interface Sshd {
  port: number;
  /** Where its host key stands, as `ssh_host_ed25519_key` and `.pub`. */
  dir: string;
  /** `TYPE BASE64` of the host key. */
  hostKey: string;
  /** The private key that may log in as `user`; its public half is beside it, as `.pub`. */
  userKey: string;
  /** Who runs the test. */
  user: string;
  process: TestProcess;
}

/** Starts one; undefined, with the test skipped, where OpenSSH is missing. `lines` are added to its configuration. */
export async function startSshd(
  t: TestLike & Skippable,
  lines: readonly string[] = [],
): Promise<Sshd | undefined> {
  const sshd = requireProgram(t, 'sshd');
  if (sshd === undefined || requireProgram(t, 'ssh-keygen') === undefined) return undefined;
  const dir = tempDir(t);
  const hostKey = await makeSshKey(dir, 'ssh_host_ed25519_key');
  const userKey = await makeSshKey(dir, 'id');
  const port = await freePort();
  const config = join(dir, 'sshd_config');
  const settings = [
    ...lines, // the first of two counts
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${userKey}.pub`,
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
    'LogLevel VERBOSE',
  ];
  writeFileSync(config, `${settings.join('\n')}\n`);
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true }); // sshd wants it, the service unit makes it
  const process = startProcess(t, sshd, ['-D', '-e', '-f', config], { name: 'sshd' });
  await process.waitForLine(/Server listening/u);
  const line = readFileSync(`${hostKey}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
  return { port, dir, hostKey: line, userKey, user: userInfo().username, process };
}

/** Makes an Ed25519 key without a passphrase with ssh-keygen; answers its path. */
export async function makeSshKey(dir: string, name: string): Promise<string> {
  const path = join(dir, name);
  const made = await runProcess('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path]);
  if (made.status !== 0) throw new Error(made.stderr);
  return path;
}
