/** The servers people run, started by tests as they are packaged, each with a directory and a port of its own. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runProcess } from './processes.ts';
import type { ProcessOptions, ProcessResult, TestLike, TestProcess } from './processes.ts';
import { findProgram } from './programs.ts';
import { tempDir } from './temp-dir.ts';

/** Where a server runs; a host of netns.ts fits. All of them listen on its 127.0.0.1 only. */
export interface Place {
  start(t: TestLike, command: readonly string[], options?: ProcessOptions): TestProcess;
  run(command: readonly string[], options?: ProcessOptions & { timeoutMs?: number }): Promise<ProcessResult>;
}

/** A server is up within this time, milliseconds; seconds on a busy machine. */
const START_TIMEOUT_MS = 60_000;
/** Who runs what must not be root. */
const NOBODY = 'nobody';

/** redis-server, without persistence. */
export function startRedis(t: TestLike, on: Place, port: number): TestProcess {
  const dir = tempDir(t);
  return on.start(t, [
    'redis-server',
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--dir',
    dir,
  ]);
}

/** The account of startMariadb's database `shop`. */
export const MARIADB_USER = { user: 'app', password: 'example-password' } as const;

/** mariadbd with its system tables, an account and the database `shop`. */
export async function startMariadb(t: TestLike, on: Place, port: number): Promise<TestProcess> {
  const dir = publicDir(t);
  const data = join(dir, 'data');
  // The smallest files InnoDB takes, and no waiting for the disk: half the time of making them.
  const small = [
    '--innodb-buffer-pool-size=8M',
    '--innodb-log-file-size=4M',
    '--innodb-flush-method=nosync',
    '--performance-schema=OFF',
  ];
  const as = [`--user=${NOBODY}`, `--datadir=${data}`];
  const install = ['mariadb-install-db', '--no-defaults', ...as, '--skip-test-db', ...small];
  const made = await on.run(install, { timeoutMs: START_TIMEOUT_MS });
  if (made.status !== 0) throw new Error(`mariadb-install-db: ${made.stdout}${made.stderr}`);
  const { user, password } = MARIADB_USER;
  const init = join(dir, 'init.sql');
  writeFileSync(
    init,
    `CREATE DATABASE shop;
CREATE USER '${user}'@'127.0.0.1' IDENTIFIED BY '${password}';
GRANT ALL ON shop.* TO '${user}'@'127.0.0.1';
`,
  );
  chmodSync(init, 0o644);
  const listen = ['--bind-address=127.0.0.1', `--port=${port}`, `--socket=${join(data, 'mariadb.sock')}`];
  const server = on.start(t, [
    'mariadbd',
    '--no-defaults',
    ...as,
    ...small,
    ...listen,
    `--pid-file=${join(data, 'mariadb.pid')}`,
    `--init-file=${init}`,
    '--skip-name-resolve',
  ]);
  await server.waitForLine(/ready for connections/u, START_TIMEOUT_MS);
  return server;
}

/** nginx with the files of a directory, which it also makes; resolves with that. */
export function startNginx(t: TestLike, on: Place, port: number): { server: TestProcess; root: string } {
  const dir = tempDir(t);
  const root = join(dir, 'root');
  mkdirSync(root);
  const config = join(dir, 'nginx.conf');
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(dir, name)};`,
  );
  writeFileSync(
    config,
    // One process: a worker outlives a master that is killed, as a test does.
    `daemon off;
master_process off;
pid ${join(dir, 'nginx.pid')};
error_log stderr;
events { worker_connections 512; }
http {
  ${temp.join('\n  ')}
  access_log off;
  sendfile on;
  server {
    listen 127.0.0.1:${port};
    root ${root};
  }
}
`,
  );
  // -e as well: until it has read its configuration nginx logs to the file it was built with.
  const server = on.start(t, ['nginx', '-e', 'stderr', '-p', dir, '-c', config]);
  return { server, root };
}

/** chronyd as an NTP server that believes its own clock, which it does not touch. */
export function startChrony(t: TestLike, on: Place, port: number): TestProcess {
  const dir = tempDir(t);
  const config = join(dir, 'chrony.conf');
  writeFileSync(
    config,
    `port ${port}
bindaddress 127.0.0.1
allow 127.0.0.0/8
local stratum 3
cmdport 0
bindcmdaddress /
user root
pidfile ${join(dir, 'chronyd.pid')}
driftfile ${join(dir, 'drift')}
`,
  );
  return on.start(t, ['chronyd', '-x', '-d', '-U', '-f', config]);
}

/** sshd, and what a client needs to log in: files of its own key and of the server's. */
export interface SshService {
  server: TestProcess;
  identity: string;
  knownHosts: string;
}

/** sshd that lets its starter in with a new key; `name` is what the client calls the host. */
export async function startSshd(t: TestLike, on: Place, port: number, name: string): Promise<SshService> {
  const dir = tempDir(t);
  const [hostKey, identity] = [join(dir, 'host_key'), join(dir, 'id')];
  for (const file of [hostKey, identity]) {
    const made = await runProcess('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
    if (made.status !== 0) throw new Error(`ssh-keygen: ${made.stderr}`);
  }
  const config = join(dir, 'sshd_config');
  writeFileSync(
    config,
    `Port ${port}
ListenAddress 127.0.0.1
HostKey ${hostKey}
AuthorizedKeysFile ${identity}.pub
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
`,
  );
  const key = (await runProcess('ssh-keygen', ['-y', '-f', hostKey])).stdout.trim();
  const knownHosts = join(dir, 'known_hosts');
  writeFileSync(knownHosts, `${port === 22 ? name : `[${name}]:${port}`} ${key}\n`);
  mkdirSync('/run/sshd', { recursive: true }); // sshd wants it, the service unit makes it
  // By its whole path, or it refuses: it executes itself again for each connection.
  const server = on.start(t, [findProgram('sshd') ?? 'sshd', '-D', '-e', '-f', config]);
  await server.waitForLine(/Server listening/u, START_TIMEOUT_MS);
  return { server, identity, knownHosts };
}

/** dnsmasq that answers from its options alone, on one address. */
export function startDnsmasq(
  t: TestLike,
  on: Place,
  address: string,
  port: number,
  records: readonly string[],
): TestProcess {
  return on.start(t, [
    'dnsmasq',
    '--keep-in-foreground',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--pid-file=',
    '--user=',
    `--port=${port}`,
    `--listen-address=${address}`,
    '--bind-interfaces',
    ...records,
  ]);
}

/** A directory that others may pass through, for servers that give up root. */
function publicDir(t: TestLike): string {
  const dir = tempDir(t);
  chmodSync(dir, 0o755);
  return dir;
}
