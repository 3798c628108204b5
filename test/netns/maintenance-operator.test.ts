/** What an operator behind NAT does on three nodes, all behind NATs of their own: with commands, a terminal, copies and ports. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { netnsMissing } from '../support/netns.ts';
import type { Host, Site } from '../support/netns.ts';
import { startMaintainedSite } from '../support/netns-maintenance.ts';
import type { MaintainedSite } from '../support/netns-maintenance.ts';
import { startTmux } from '../support/tmux.ts';

/** Size of the copied file. */
const COPY_MIB = Number(process.env['EDGE_TEST_COPY_MIB'] ?? 64);
/** A copy at 2 MiB/s is still in time, on however busy a machine. */
const COPY_WITHIN_MS = 60_000 + COPY_MIB * 500;
/** More than all windows and buffers on the way. */
const FORWARDED_BYTES = 8 * 1024 * 1024;
const STARTED_WITHIN_MS = 30_000;
const FETCHED_WITHIN_S = 60;
const reason = netnsMissing(['curl', 'python3', 'sha256sum']);

test("an operator's tools work on three nodes behind NAT", { skip: reason ?? false }, async (t) => {
  const site = await startMaintainedSite(t);
  if (site === undefined) return;
  const [second, third] = await Promise.all([site.addNode('node-8'), site.addNode('node-9')]);
  if (second === undefined || third === undefined) return;
  const hosts = new Map([
    ['node-7', site.node],
    ['node-8', second.host],
    ['node-9', third.host],
  ]);
  const own = ['--batch', '--identity', site.sshd.userKey];

  await t.test('a command on all nodes', () => commandOnAll(site, own, hosts));
  await t.test('a terminal', (sub) => terminal(sub, site, own));
  await t.test(`a file of ${COPY_MIB} MiB, both ways`, (sub) => copies(sub, site, own));
  await t.test('forwarded ports', (sub) => forwardedPorts(sub, site, own));
});

async function commandOnAll(
  site: MaintainedSite,
  own: readonly string[],
  hosts: ReadonlyMap<string, Host>,
): Promise<void> {
  const all = await site.ctl('exec', [...own, '--all', '--', 'ip -o -4 address show dev eth0; seq 3']);
  assert.equal(all.status, 0, all.stderr);
  const lines = all.stdout.trimEnd().split('\n');
  for (const [name, { address }] of hosts) {
    const prefix = `${name} | `;
    const [where = '', ...rest] = lines
      .filter((line) => line.startsWith(prefix))
      .map((line) => line.slice(prefix.length));
    assert.ok(where.includes(` ${address}/`), all.stdout);
    assert.deepEqual(rest, ['1', '2', '3']);
    assert.match(all.stderr, new RegExp(`^${name} {3}0 +\\d+\\.\\ds$`, 'mu'));
  }
  assert.equal(lines.length, 4 * hosts.size, all.stdout);
  assert.match(all.stderr, /\nall 3 done\n$/u);

  const cases = [
    ['node-8', 9],
    ['node-9', 4],
  ] as const;
  const arms = cases.map(([name, status]) => `*' ${hosts.get(name)?.address}/'*) exit ${status};;`);
  const command = `case "$(ip -o -4 address show dev eth0)" in ${arms.join(' ')} esac`;
  const mixed = await site.ctl('exec', [...own, '--all', '--', command]);
  assert.equal(mixed.status, 9, mixed.stderr);
  for (const [name, status] of [['node-7', 0], ...cases] as const)
    assert.match(mixed.stderr, new RegExp(`^${name} {3}${status} `, 'mu'));
  assert.match(mixed.stderr, /\n2 of 3 failed\n$/u);
}

async function terminal(t: TestContext, site: MaintainedSite, own: readonly string[]): Promise<void> {
  const tmux = await startTmux(t, { cols: 100, rows: 30 });
  if (tmux === undefined) return;
  const inOperator = ['ip', 'netns', 'exec', site.operator.namespace];
  await tmux.start([...inOperator, ...site.command('ssh', [...own, 'node-7'])], site.env);
  await tmux.waitFor(/[#$] *$/mu);
  await tmux.type('ip -o -4 address show dev eth0 | grep -o "inet [0-9.]*"; stty size');
  await tmux.waitFor(new RegExp(`^inet ${site.node.address.replaceAll('.', '\\.')}\\n30 100$`, 'mu'));
  for (const [cols, rows] of [
    [120, 41],
    [80, 24],
  ] as const) {
    await tmux.resize(cols, rows);
    // the change of size and the keys may come in either order
    await tmux.type(`until [ "$(stty size)" = "${rows} ${cols}" ]; do read -t 0.1; done; clear; stty size`);
    await tmux.waitFor(new RegExp(`^${rows} ${cols}$`, 'mu'));
  }
  await tmux.type('exit 9');
  await tmux.waitFor(/^ended with 9$/mu);
}

async function copies(t: TestContext, site: MaintainedSite, own: readonly string[]): Promise<void> {
  const [here, there, back] = ['here', 'there', 'back'].map((name) => join(site.dir, name)) as [
    string,
    string,
    string,
  ];
  const made = await site.operator.run([
    'sh',
    '-c',
    `head -c ${COPY_MIB}M /dev/urandom >${here} && sha256sum <${here}`,
  ]);
  assert.equal(made.status, 0, made.stderr);
  for (const [direction, from, to] of [
    ['to the node', here, `node-7:${there}`],
    ['from the node', `node-7:${there}`, back],
  ] as const) {
    const startedAt = performance.now();
    const copied = await site.operator.run(site.command('cp', [...own, from, to]), {
      env: site.env,
      timeoutMs: COPY_WITHIN_MS,
    });
    assert.deepEqual(copied, { status: 0, stdout: '', stderr: '' });
    const seconds = (performance.now() - startedAt) / 1000;
    t.diagnostic(
      `${direction}: ${COPY_MIB} MiB in ${seconds.toFixed(1)} s, ${Math.round(COPY_MIB / seconds)} MiB/s`,
    );
  }
  const onNode = await site.ctl('exec', [...own, 'node-7', '--', `sha256sum <${there}`]);
  assert.equal(onNode.stdout, made.stdout, onNode.stderr);
  const returned = await site.operator.run(['sh', '-c', `sha256sum <${back}`]);
  assert.equal(returned.stdout, made.stdout);
}

async function forwardedPorts(t: TestContext, site: MaintainedSite, own: readonly string[]): Promise<void> {
  const { node, operator } = site;
  // every namespace has all ports to itself
  const [onNode, onOperator] = await Promise.all([
    serveBytes(t, node, join(site.dir, 'served-by-node')),
    serveBytes(t, operator, join(site.dir, 'served-by-operator')),
  ]);
  const forwards = ['-L', '8081:127.0.0.1:8080', '-R', '0:127.0.0.1:8080', '-D', '127.0.0.1:1080'];
  const forwarder = operator.start(t, site.command('ssh', [...own, 'node-7', '-N', ...forwards]), {
    env: site.env,
    name: 'edge ctl ssh -N',
  });
  const line = await forwarder.waitForLine(/Allocated port \d+/u, STARTED_WITHIN_MS);
  const remote = /\d+/u.exec(line)?.[0] ?? '';
  assert.equal(await fetchHash(operator, ['http://127.0.0.1:8081/bytes']), onNode, '-L');
  assert.equal(await fetchHash(node, [`http://127.0.0.1:${remote}/bytes`]), onOperator, '-R');
  // an address that means something on the node's side of its NAT alone
  const inside = `http://${node.address}:8080/bytes`;
  const direct = await operator.run(['curl', '-sS', '--connect-timeout', '1', '-o', '/dev/null', inside]);
  assert.notEqual(direct.status, 0);
  assert.equal(await fetchHash(operator, ['--socks5', '127.0.0.1:1080', inside]), onNode, '-D');
  forwarder.signal('SIGTERM');
  await forwarder.assertExit(143);
}

/** Serves random bytes as /bytes on port 8080 of a host; answers their SHA-256, as sha256sum prints it. */
async function serveBytes(t: TestContext, host: Site, dir: string): Promise<string> {
  mkdirSync(dir);
  const path = join(dir, 'bytes');
  writeFileSync(path, randomBytes(FORWARDED_BYTES));
  const server = host.start(t, ['python3', '-u', '-m', 'http.server', '--directory', dir, '8080'], {
    name: `http.server on ${host.namespace}`,
  });
  await server.waitForLine(/^Serving HTTP on /u, STARTED_WITHIN_MS);
  return (await host.run(['sh', '-c', `sha256sum <${path}`])).stdout;
}

/** The SHA-256 of what curl gets on a host. */
async function fetchHash(host: Host, args: readonly string[]): Promise<string> {
  const script = `set -o pipefail; curl -fsS --max-time ${FETCHED_WITHIN_S} "$@" | sha256sum`;
  const got = await host.run(['bash', '-c', script, 'curl', ...args], {
    timeoutMs: FETCHED_WITHIN_S * 1000 + 5000,
  });
  assert.equal(got.status, 0, got.stderr);
  return got.stdout;
}
