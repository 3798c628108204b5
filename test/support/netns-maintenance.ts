/**
 * A node behind NAT that is maintained, in namespaces, and more of them where a test adds some:
 *
 *     operator ── NAT ──▶ cloud (API server, Router) ◀── NAT ── node (sidecar, Debian's sshd on loopback)
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CLEAN_ENV, edgePath } from './edge-process.ts';
import { startInternet } from './netns.ts';
import type { Host, Site } from './netns.ts';
import type { ProcessResult, TestLike, TestProcess } from './processes.ts';
import type { Skippable } from './programs.ts';
import { startSshd } from './sshd.ts';
import type { Sshd } from './sshd.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

const START_TIMEOUT_MS = 60_000;
const READY_LINE = /^\S+ INFO {2}ready(?: |$)/u;
const SECRETS = { EDGE_ROUTER_TOKEN: 'example-token', SIDECAR_SECRET_KEY: 'example-secret' };

/** A node behind a NAT router of its own. */
export interface MaintainedNode {
  readonly host: Site;
  readonly sshd: Sshd;
  startSidecar(): TestProcess;
}

/** The hosts and what runs on them. */
export interface MaintainedSite {
  readonly cloud: Host;
  readonly node: Site;
  readonly operator: Site;
  readonly sshd: Sshd;
  /** A directory of the test's own. */
  readonly dir: string;
  /** Environment of an operator who may reach the node. */
  readonly env: Readonly<Record<string, string>>;
  /** The command line of `edge ctl VERB …` there. */
  command(verb: string, args: readonly string[]): string[];
  /** Runs that to its end. */
  ctl(verb: string, args: readonly string[], input?: string): Promise<ProcessResult>;
  startRouter(): TestProcess;
  startSidecar(): TestProcess;
  /** Adds a node that lets in who may enter the first, and waits until it is online; undefined as below. */
  addNode(name: string): Promise<MaintainedNode | undefined>;
}

/** Starts all of it and waits until the node is online; undefined, with the test skipped, where OpenSSH is missing. */
export async function startMaintainedSite(
  t: TestLike & Skippable,
): Promise<(MaintainedSite & { router: TestProcess; sidecar: TestProcess }) | undefined> {
  const internet = startInternet(t);
  const cloud = internet.addHost('cloud');
  const operator = internet.addSite('operator');
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
  const createNode = async (
    name: string,
    sshdLines: readonly string[] = [],
  ): Promise<MaintainedNode | undefined> => {
    const host = internet.addSite(name);
    const inside = ['ip', 'netns', 'exec', host.namespace];
    const sshd = await startSshd(t, sshdLines, (program, args) => [...inside, program, ...args]);
    if (sshd === undefined) return undefined;
    const args = ['sidecar', '--node', name, '--dns-addr', 'off', ...kubeconfig('sidecar')];
    const startSidecar = (): TestProcess =>
      start(host, name, args, {
        ...SECRETS,
        // all have the host name and the machine id of this machine
        SIDECAR_POD_NAME: name,
        EDGE_MAINTENANCE_UNIQUE_ID: `id-${name}`,
        SIDECAR_ADMIN_ADDR: 'off',
        EDGE_MAINTENANCE: 'true',
        EDGE_MAINTENANCE_TARGET: `127.0.0.1:${sshd.port}`,
        EDGE_MAINTENANCE_HOST_KEY_DIR: sshd.dir,
      });
    return { host, sshd, startSidecar };
  };
  const first = await createNode('node-7');
  if (first === undefined) return undefined;
  const { sshd } = first;
  const env = { ...CLEAN_ENV, ...SECRETS, SSH_AUTH_SOCK: '' };
  const command = (verb: string, args: readonly string[]): string[] => {
    const common = [...kubeconfig('admin'), '--data-dir', join(dir, 'operator')];
    return [process.execPath, edgePath(), 'ctl', verb, ...common, ...args];
  };
  const untilOnline = (name: string): Promise<boolean> => {
    const isOnline = async (): Promise<boolean> =>
      new RegExp(`^${name} +online `, 'mu').test((await site.ctl('nodes', [])).stdout);
    const what = `${name} to be online`;
    return waitFor(isOnline, { what, timeoutMs: START_TIMEOUT_MS, intervalMs: 200 });
  };
  const site: MaintainedSite = {
    cloud,
    node: first.host,
    operator,
    sshd,
    dir,
    env,
    command,
    ctl: (verb, args, input) =>
      operator.run(command(verb, args), {
        env,
        timeoutMs: START_TIMEOUT_MS,
        ...(input === undefined ? {} : { input }),
      }),
    startRouter: () =>
      start(cloud, 'cloud', ['router', '--node', 'cloud', '--advertise-address', cloud.address], SECRETS),
    startSidecar: () => first.startSidecar(),
    async addNode(name) {
      const added = await createNode(name, [`AuthorizedKeysFile ${sshd.userKey}.pub`]);
      added?.startSidecar();
      if (added !== undefined) await untilOnline(name);
      return added;
    },
  };
  const listen = ['--listen', `${cloud.address}:7443`];
  const apiserver = start(cloud, 'cloud', ['apiserver', '--node', 'cloud', ...listen], {});
  await apiserver.waitForLine(READY_LINE, START_TIMEOUT_MS);
  const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name: 'cloud' } };
  const spec = { frps: { bindPort: 7000, auth: { method: 'token' } } };
  const applied = await site.ctl('apply', ['-f', '-'], JSON.stringify({ ...object, spec }));
  assert.equal(applied.status, 0, applied.stderr);
  const router = site.startRouter();
  const sidecar = site.startSidecar();
  await untilOnline('node-7');
  return { ...site, router, sidecar };
}
