/** The servers people run, reached by name from a site behind NAT to another with the clients that belong to them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { netnsMissing } from '../support/netns.ts';
import { START_TIMEOUT_MS, startWorld } from '../support/netns-world.ts';
import type { World } from '../support/netns-world.ts';
import {
  MARIADB_USER,
  startChrony,
  startDnsmasq,
  startMariadb,
  startNginx,
  startRedis,
  startSshd,
} from '../support/real-services.ts';
import type { SshService } from '../support/real-services.ts';
import { slowLineMissing } from '../support/slow-line.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';
import { lineFigures } from './line-figures.ts';
import { resolverCases } from './resolver-cases.ts';

/** Size of the copied file; 1024 makes it a gibibyte. */
const COPY_MIB = Number(process.env['EDGE_TEST_COPY_MIB'] ?? 256);
/** A copy at 2 MiB/s is still in time, on however busy a machine. */
const COPY_WITHIN_MS = 60_000 + COPY_MIB * 500;
/** What a cluster gives its pods. */
const POD_RESOLV_CONF = `nameserver 127.0.0.2
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
`;
/** Hosts of the DNS server that stands for the rest of the world. */
const OUTSIDE = ['--host-record=www.example.org,192.0.2.80', '--local=/#/'];

const SERVERS = ['redis-server', 'mariadbd', 'mariadb-install-db', 'nginx', 'chronyd', 'sshd', 'dnsmasq'];
const CLIENTS = [
  'redis-cli',
  'mariadb',
  'curl',
  'ssh',
  'ssh-keygen',
  'dig',
  'getent',
  'python3',
  'sha256sum',
  'ss',
];
const reason = netnsMissing([...SERVERS, ...CLIENTS]);

// Counted as skipped where the others, in a suite that is skipped as a whole, are not counted at all.
test('the servers and clients that people run are here', { skip: reason ?? false }, () => {
  assert.equal(reason, undefined);
});

describe('real services behind NAT', { skip: reason ?? false }, () => {
  const cleanups: (() => void | Promise<void>)[] = [];
  let world: World;
  let sshService: SshService;
  let hash: string;
  let scratch: string;
  let content: string;

  before(async () => {
    const owner = { after: (fn: () => void | Promise<void>) => void cleanups.unshift(fn) };
    scratch = tempDir(owner);
    world = await startWorld(owner, scratch, {
      exported: 'redis=6379,mysql=3306,web=80,time=123/udp,ssh=22,names=53,names=53/udp',
      mapped: 'redis:6379,mysql:3306,web:80,time:123/udp,ssh:22,names:53,names:53/udp',
      upstream: (cloud) => `${cloud.address}:53`,
    });
    const { consumer, provider, clouds } = world;
    consumer.host.setResolvConf(POD_RESOLV_CONF);
    startDnsmasq(owner, clouds[0].host, clouds[0].host.address, 53, OUTSIDE);
    startDnsmasq(owner, provider.host, '127.0.0.1', 53, ['--address=/inside.example.org/192.0.2.7']);
    startRedis(owner, provider.host, 6379);
    startChrony(owner, provider.host, 123);
    const { root } = startNginx(owner, provider.host, 80);
    content = join(root, 'content');
    const make = `head -c ${COPY_MIB}M /dev/urandom >${content} && sha256sum <${content}`;
    [sshService, hash] = await Promise.all([
      startSshd(owner, provider.host, 22, 'ssh.default.svc'),
      run(['sh', '-c', make], 'provider', { timeoutMs: COPY_WITHIN_MS }).then(
        (line) => line.split(' ')[0] ?? '',
      ),
      startMariadb(owner, provider.host, 3306),
    ]);
    const isUp = async (): Promise<boolean> => (await run(['redis-cli', '-h', 'redis', 'PING'])) === 'PONG';
    await waitFor(isUp, { what: 'redis through the tunnel', timeoutMs: START_TIMEOUT_MS, intervalMs: 200 });
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  /** Runs a program to its end on the consumer, or the provider; what it printed, or an error. */
  async function run(
    command: readonly string[],
    on: 'consumer' | 'provider' = 'consumer',
    options: { timeoutMs?: number; input?: string | Buffer } = {},
  ): Promise<string> {
    const { status, stdout, stderr } = await world[on].host.run(command, {
      timeoutMs: START_TIMEOUT_MS,
      ...options,
    });
    if (status === 0) return stdout.trim();
    throw new Error(`${command.join(' ')} on ${on}: status ${String(status)}: ${stdout}${stderr}`);
  }

  /** Runs SQL by the service's name, or on the server's own host. */
  function sql(statements: string, on: 'consumer' | 'provider' = 'consumer'): Promise<string> {
    const host = on === 'consumer' ? 'mysql.default.svc' : '127.0.0.1';
    const login = ['-h', host, `-u${MARIADB_USER.user}`, `-p${MARIADB_USER.password}`];
    return run(['mariadb', '--no-defaults', '--skip-column-names', '--batch', ...login, 'shop'], on, {
      input: statements,
    });
  }

  function onProvider(command: string, input?: Buffer): Promise<string> {
    const options = ['-F', 'none', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes'];
    const { identity, knownHosts } = sshService;
    const files = ['-i', identity, '-o', `UserKnownHostsFile=${knownHosts}`];
    const ssh = ['ssh', ...options, ...files, 'ssh.default.svc', command];
    return run(ssh, 'consumer', input === undefined ? {} : { input });
  }

  test('Redis answers by its bare name, and keeps a value of 8 MiB', async () => {
    const value = 'edge'.repeat(2 * 1024 * 1024);
    assert.equal(
      await run(['redis-cli', '-h', 'redis', '-x', 'SET', 'large'], 'consumer', { input: value }),
      'OK',
    );
    assert.equal(await run(['redis-cli', '-h', 'redis.default', 'STRLEN', 'large']), String(value.length));
    assert.equal(await run(['redis-cli', '-h', 'redis.default.svc', 'GET', 'large']), value);
    assert.equal(await run(['redis-cli', 'STRLEN', 'large'], 'provider'), String(value.length));
  });

  test('MariaDB runs transactions by its name, and a result of 10 MiB arrives unchanged', async () => {
    const filled = await sql(`CREATE TABLE item (id INT PRIMARY KEY, body TEXT NOT NULL) ENGINE=InnoDB;
START TRANSACTION;
INSERT INTO item SELECT seq, REPEAT(MD5(seq), 32) FROM seq_1_to_10000;
COMMIT;
START TRANSACTION; DELETE FROM item; ROLLBACK;
SELECT COUNT(*), CURRENT_USER() FROM item;`);
    assert.equal(filled, '10000\tapp@127.0.0.1');
    const all = 'SELECT id, body FROM item ORDER BY id;';
    const [here, there] = await Promise.all([sql(all), sql(all, 'provider')]);
    assert.ok(here.length > 10_000_000, `${here.length} bytes`);
    assert.ok(here === there, 'the results differ');
    await assert.rejects(sql('SELECT * FROM nothing;'), /Table 'shop\.nothing' doesn't exist/u);
  });

  test(`a file of ${COPY_MIB} MiB is the same at both ends after a copy by name`, async (t) => {
    const start = performance.now();
    const copy = `curl -sSf --max-time ${COPY_WITHIN_MS / 1000} http://web.default.svc.cluster.local/content`;
    const arrived = await run(['sh', '-c', `${copy} | sha256sum`], 'consumer', { timeoutMs: COPY_WITHIN_MS });
    const seconds = (performance.now() - start) / 1000;
    assert.equal(arrived.split(' ')[0], hash);
    const rate = (COPY_MIB / seconds).toFixed(0);
    t.diagnostic(`${COPY_MIB} MiB in ${seconds.toFixed(1)} s, ${rate} MiB/s, SHA-256 ${hash} at both ends`);
  });

  test('OpenSSH logs in by name, runs a command there and takes 16 MiB along', async () => {
    const addresses = await onProvider('ip -o -4 address show');
    assert.ok(addresses.includes(world.provider.host.address), addresses);
    const upload = Buffer.alloc(16 * 1024 * 1024, 'sixteen bytes at');
    const there = await onProvider('sha256sum', upload);
    assert.equal(there, await run(['sha256sum'], 'consumer', { input: upload }));
  });

  test('chronyd measures its clock by the name of a time server', async () => {
    const ask = ['chronyd', '-Q', '-U', '-t', '20', '-f', '/dev/null'];
    const { status, stdout, stderr } = await world.consumer.host.run(
      [...ask, 'server time.default.svc iburst maxsamples 1'],
      { timeoutMs: START_TIMEOUT_MS },
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout + stderr, /System clock wrong by -?\d+\.\d+ seconds/u);
  });

  test('a DNS server behind a name answers dig over UDP and TCP', async () => {
    for (const transport of ['+notcp', '+tcp']) {
      const dig = ['dig', '@names.default.svc', '+short', '+time=5', '+tries=3', transport];
      assert.equal(await run([...dig, 'inside.example.org']), '192.0.2.7', transport);
    }
  });

  resolverCases(() => world);

  test('a line of 50 ms and 1 % loss slows services down and breaks none', async (t) => {
    const why = slowLineMissing();
    if (why !== undefined) return t.skip(why);
    const { host } = world.provider;
    t.after(() => host.heal());
    await host.degrade({ roundTripMs: 50, lossPercent: 1, seed: 7 });
    const start = performance.now();
    for (let i = 0; i < 10; i++)
      assert.equal(await run(['redis-cli', '-h', 'redis', 'ECHO', `${i}`]), `${i}`);
    const each = (performance.now() - start) / 10;
    assert.ok(each >= 50, `a connection takes ${each} ms, so the line is not slow`);
    const upload = Buffer.alloc(4 * 1024 * 1024, 'over a bad line ');
    const [there, rows] = await Promise.all([onProvider('sha256sum', upload), sql('SELECT 6 * 7;')]);
    assert.equal(there, await run(['sha256sum'], 'consumer', { input: upload }));
    assert.equal(rows, '42');
    t.diagnostic(`a connection with one request: ${each.toFixed(0)} ms`);
    host.heal();
    assert.equal(await run(['redis-cli', '-h', 'redis', 'PING']), 'PONG');
    return undefined;
  });

  if (process.env['EDGE_TEST_LINE_FIGURES'] === '1')
    lineFigures(
      () => world,
      () => content,
    );
});
