/** Debian's real sshd for a test: own configuration, own keys, own port; nothing of the machine's is read or changed. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { kill } from 'node:process';
import { errorCode } from '../../src/lib/errors.ts';
import { freePort } from './ports.ts';
import { runProcess, startProcess } from './processes.ts';
import type { TestLike, TestProcess } from './processes.ts';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { tempDir } from './temp-dir.ts';

/** A running sshd. */
export interface Sshd {
  readonly port: number;
  /** Where its host key stands, as `ssh_host_ed25519_key` and `.pub`. */
  readonly dir: string;
  /** `TYPE BASE64` of the host key. */
  readonly hostKey: string;
  /** The private key that may log in as `user`; its public half is beside it, as `.pub`. */
  readonly userKey: string;
  /** Who runs the test. */
  readonly user: string;
  /** The one that runs now. */
  readonly process: TestProcess;
  /** Starts it again on the same port, after it was ended; `newHostKey` as after a reinstallation. */
  restart(change?: { newHostKey?: boolean }): Promise<TestProcess>;
  /** Ends it and every process it started for its connections, as a machine that loses power would. */
  killAll(): Promise<void>;
}

/** How an sshd is started: the program and its arguments, or another program that runs them. */
export type SshdCommand = (sshd: string, args: readonly string[]) => readonly string[];

/** Starts one; undefined, with the test skipped, where OpenSSH is missing. `lines` are added to its configuration. */
export async function startSshd(
  t: TestLike & Skippable,
  lines: readonly string[] = [],
  command: SshdCommand = (sshd, args) => [sshd, ...args],
): Promise<Sshd | undefined> {
  const sshd = requireProgram(t, 'sshd');
  if (sshd === undefined || requireProgram(t, 'ssh-keygen') === undefined) return undefined;
  const dir = tempDir(t);
  const hostKey = await makeSshKey(dir, 'ssh_host_ed25519_key');
  const userKey = await makeSshKey(dir, 'id');
  const port = await freePort();
  const start = async (key: string): Promise<TestProcess> => {
    const config = join(dir, 'sshd_config');
    const settings = [
      ...lines, // the first of two counts
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${key}`,
      `AuthorizedKeysFile ${userKey}.pub`,
      'StrictModes no',
      'UsePAM no',
      'PidFile none',
      'LogLevel VERBOSE',
      'Subsystem sftp internal-sftp',
      'AcceptEnv EDGE_*',
    ];
    writeFileSync(config, `${settings.join('\n')}\n`);
    if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true }); // sshd wants it, the service unit makes it
    const [program = sshd, ...args] = command(sshd, ['-D', '-e', '-f', config]);
    const child = startProcess(t, program, args, { name: 'sshd' });
    await child.waitForLine(/Server listening/u);
    return child;
  };
  let current = await start(hostKey);
  return {
    get process() {
      return current;
    },
    port,
    dir,
    hostKey: readFileSync(`${hostKey}.pub`, 'utf8').split(' ').slice(0, 2).join(' '),
    userKey,
    user: userInfo().username,
    async restart({ newHostKey = false } = {}) {
      current = await start(newHostKey ? await makeSshKey(dir, 'other_host_key') : hostKey);
      return current;
    },
    async killAll() {
      // from the top: no sshd is left to tell of a command that ends
      for (const pid of descendants(current.pid)) {
        try {
          kill(pid, 'SIGKILL');
        } catch {
          // ended by itself meanwhile
        }
      }
      await current.kill();
    },
  };
}

/** What a process has started, and what that has; one that ends meanwhile has nothing. */
function descendants(pid: number): number[] {
  let text = '';
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch (err) {
    if (!['ENOENT', 'ESRCH'].includes(errorCode(err) ?? '')) throw err;
  }
  const children = text.split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Makes a key with ssh-keygen, Ed25519 unless `args` say otherwise, without a passphrase; answers its path. */
export async function makeSshKey(
  dir: string,
  name: string,
  args: readonly string[] = ['-t', 'ed25519'],
): Promise<string> {
  const path = join(dir, name);
  const made = await runProcess('ssh-keygen', ['-q', ...args, '-N', '', '-C', name, '-f', path]);
  if (made.status !== 0) throw new Error(made.stderr);
  return path;
}
