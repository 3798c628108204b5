/**
 * An operator behind one NAT on a node behind another, through a Router with a public address:
 *
 *     operator ── NAT ──▶ cloud (API server, Router) ◀── NAT ── node (sidecar, Debian's sshd on loopback)
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLEAN_ENV, edgePath } from '../support/edge-process.ts';
import { netnsMissing, startInternet } from '../support/netns.ts';
import type { Host } from '../support/netns.ts';
import type { ProcessResult, TestProcess } from '../support/processes.ts';
import { startSshd } from '../support/sshd.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const reason = netnsMissing();
const START_TIMEOUT_MS = 60_000;
const READY_LINE = /^\S+ INFO {2}ready(?: |$)/u;
const SECRETS = { EDGE_ROUTER_TOKEN: 'example-token', SIDECAR_SECRET_KEY: 'example-secret' };

test('an operator behind NAT works on a node behind NAT', { skip: reason ?? false }, async (t) => {
  const internet = startInternet(t);
  const cloud = internet.addHost('cloud');
  const node = internet.addSite('node');
  const operator = internet.addSite('operator');
  const sshd = await startSshd(t, [], (program, args) => [
    'ip',
    'netns',
    'exec',
    node.namespace,
    program,
    ...args,
  ]);
  if (sshd === undefined) return;
  const dir = tempDir(t);
  const kubeconfig = (role: string): string[] => ['--kubeconfig', join(dir, 'cloud', `${role}.kubeconfig`)];
  const start = (
    host: Host,
    name: string,
    args: readonly string[],
    env: Record<string, string>,
  ): TestProcess => {
    mkdirSync(join(dir, name), { recursive: true });
    return host.start(t, [process.execPath, edgePath(), ...args, '--data-dir', join(dir, name)], {
      env: { ...CLEAN_ENV, ...env },
      name: `edge ${args[0] ?? ''} on ${name}`,
    });
  };
  const ctl = (verb: string, args: readonly string[], input?: string): Promise<ProcessResult> =>
    operator.run(
      [
        process.execPath,
        edgePath(),
        'ctl',
        verb,
        ...kubeconfig('admin'),
        '--data-dir',
        join(dir, 'operator'),
        ...args,
      ],
      {
        env: { ...CLEAN_ENV, ...SECRETS, SSH_AUTH_SOCK: '' },
        timeoutMs: START_TIMEOUT_MS,
        ...(input === undefined ? {} : { input }),
      },
    );

  const apiserver = start(
    cloud,
    'cloud',
    ['apiserver', '--node', 'cloud', '--listen', `${cloud.address}:7443`],
    {},
  );
  await apiserver.waitForLine(READY_LINE, START_TIMEOUT_MS);
  const router = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name: 'cloud' } };
  const spec = { frps: { bindPort: 7000, auth: { method: 'token' } } };
  const applied = await ctl('apply', ['-f', '-'], JSON.stringify({ ...router, spec }));
  assert.equal(applied.status, 0, applied.stderr);
  start(cloud, 'cloud', ['router', '--node', 'cloud', '--advertise-address', cloud.address], SECRETS);
  start(node, 'node', ['sidecar', '--node', 'node-7', '--dns-addr', 'off', ...kubeconfig('sidecar')], {
    ...SECRETS,
    SIDECAR_ADMIN_ADDR: 'off',
    EDGE_MAINTENANCE: 'true',
    EDGE_MAINTENANCE_TARGET: `127.0.0.1:${sshd.port}`,
    EDGE_MAINTENANCE_HOST_KEY_DIR: sshd.dir,
  });
  const isOnline = async (): Promise<boolean> => /^node-7 +online /mu.test((await ctl('nodes', [])).stdout);
  await waitFor(isOnline, { what: 'the node to be online', timeoutMs: START_TIMEOUT_MS, intervalMs: 200 });

  const own = ['--batch', '--identity', sshd.userKey];
  const there = await ctl('exec', [...own, 'node-7', '--', 'ip -o -4 address show; exit 5']);
  assert.equal(there.status, 5, there.stderr);
  assert.ok(there.stdout.includes(` ${node.address}/`), there.stdout);

  const bytes = randomBytes(16 * 1024 * 1024);
  const [source, copy, back] = [join(dir, 'source'), join(dir, 'copy'), join(dir, 'back')] as const;
  writeFileSync(source, bytes);
  for (const [from, to] of [
    [source, `node-7:${copy}`],
    [`node-7:${copy}`, back],
  ] as const) {
    const copied = await ctl('cp', [...own, from, to]);
    assert.equal(copied.status, 0, copied.stderr);
  }
  const hashOf = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
  assert.equal(hashOf(readFileSync(back)), hashOf(bytes));

  // the node's provider gives it another address: what is new works again
  node.renumber();
  const again = async (): Promise<boolean> =>
    (await ctl('ssh', [...own, 'node-7', 'echo again'])).stdout === 'again\n';
  const renumberedAt = performance.now();
  await waitFor(again, { what: 'a session after the change', timeoutMs: START_TIMEOUT_MS, intervalMs: 200 });
  t.diagnostic(`a session ${Math.round(performance.now() - renumberedAt)} ms after another address`);
});
