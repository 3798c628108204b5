/** A node whose real sshd is reached through the tunnel: API server with adapter, Router, sidecar, all as processes. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runEdge, startEdge, startEdgeReady } from './edge-process.ts';
import { freePorts } from './ports.ts';
import { runProcess } from './processes.ts';
import type { ProcessResult, TestLike, TestProcess } from './processes.ts';
import type { Skippable } from './programs.ts';
import { startSshd } from './sshd.ts';
import type { Sshd } from './sshd.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** The parts of the world. */
export interface MaintenanceWorld {
  sshd: Sshd;
  dataDir: string;
  auditLog: string;
  recordingsDir: string;
  /** `http://127.0.0.1:PORT` of the adapter. */
  adapter: string;
  apiserver: TestProcess;
  /** Absent where the Router publishes the sshd. */
  sidecar: TestProcess | undefined;
  router: TestProcess;
  startRouter(): Promise<TestProcess>;
  startSidecar(hostKeyDir?: string): TestProcess;
  ctl(...words: string[]): Promise<ProcessResult>;
  /** Resolves when the node's state is this. */
  whenState(state: 'online' | 'offline', timeoutMs?: number): Promise<void>;
}

/** The object of the node. */
export const NODE_OBJECT = 'nodemaintenances-node7';
/** Bearer tokens by their roles. */
export const TOKENS = {
  admin: 'token-of-ops',
  cloud: 'token-of-cloud',
  sidecar: 'token-of-sidecar',
} as const;
/** Five processes that start at once take a while on a loaded machine. */
const STARTED_MS = 45_000;
const SECRET = { SIDECAR_SECRET_KEY: 's3cret', SIDECAR_REQUIRE_SEALED: 'true' };

/**
 * Starts everything and waits until the node is online; undefined, with the test skipped, without OpenSSH. The node's
 * sshd is published by a sidecar, or by the Router itself.
 */
export async function startMaintenanceWorld(
  t: TestLike & Skippable,
  options: { sshd?: readonly string[]; apiserver?: readonly string[]; isByRouter?: boolean } = {},
): Promise<MaintenanceWorld | undefined> {
  const dir = tempDir(t);
  const dataDir = join(dir, 'node');
  mkdirSync(dataDir);
  const [apiPort = 0, adapterPort = 0, bindPort = 0] = await freePorts(3);
  const auditLog = join(dir, 'audit.log');
  const recordingsDir = join(dir, 'recordings');
  const tokenFile = join(dir, 'tokens.csv');
  const tokens = Object.entries(TOKENS).map(([role, token]) => `${token},${role}@example.org,,${role}`);
  writeFileSync(tokenFile, `${tokens.join('\n')}\n`);
  const common = ['--data-dir', dataDir, '--node', 'node-7'];
  const apiserverArgs = [
    'apiserver',
    ...common,
    '--listen',
    `127.0.0.1:${apiPort}`,
    '--token-auth-file',
    tokenFile,
  ];
  const adapterArgs = ['--adapter-listen', `127.0.0.1:${adapterPort}`, '--audit-log', auditLog];
  const apiserver = await startEdgeReady(
    t,
    [...apiserverArgs, ...adapterArgs, '--recordings-dir', recordingsDir, ...(options.apiserver ?? [])],
    { env: SECRET, timeoutMs: STARTED_MS },
  );
  const ctl = (...words: string[]): Promise<ProcessResult> =>
    runEdge(['ctl', '--data-dir', dataDir, ...words]);

  const trusted = join(dir, 'edge_ca.pub');
  writeFileSync(trusted, (await ctl('certs', 'ssh-ca')).stdout);
  const sshd = await startSshd(t, [...(options.sshd ?? []), `TrustedUserCAKeys ${trusted}`]);
  if (sshd === undefined) return undefined;
  const spec = { frps: { bindAddr: '127.0.0.1', bindPort } };
  const file = join(dir, 'router.yaml');
  const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name: 'node-7' }, spec };
  writeFileSync(file, JSON.stringify(object));
  const applied = await ctl('apply', '-f', file);
  if (applied.status !== 0) throw new Error(applied.stderr);

  const maintenanceEnv = (hostKeyDir: string) => ({
    ...SECRET,
    EDGE_MAINTENANCE: 'true',
    EDGE_MAINTENANCE_UNIQUE_ID: 'node7',
    EDGE_MAINTENANCE_HOST_KEY_DIR: hostKeyDir,
    EDGE_MAINTENANCE_TARGET: `127.0.0.1:${sshd.port}`,
  });
  const isByRouter = options.isByRouter === true;
  const startRouter = async (): Promise<TestProcess> => {
    const env = isByRouter ? maintenanceEnv(sshd.dir) : {};
    const router = startEdge(t, ['router', ...common, '--advertise-address', '127.0.0.1'], { env });
    await router.waitForLine(/tunnel server listens/u, STARTED_MS);
    return router;
  };
  const startSidecar = (hostKeyDir = sshd.dir): TestProcess =>
    startEdge(t, ['sidecar', ...common], {
      env: { ...maintenanceEnv(hostKeyDir), SIDECAR_DNS_ADDR: 'off', SIDECAR_ADMIN_ADDR: 'off' },
    });
  const adapter = `http://127.0.0.1:${adapterPort}`;
  const world: MaintenanceWorld = {
    sshd,
    dataDir,
    auditLog,
    recordingsDir,
    adapter,
    apiserver,
    router: await startRouter(),
    sidecar: isByRouter ? undefined : startSidecar(),
    startRouter,
    startSidecar,
    ctl,
    async whenState(state, timeoutMs = STARTED_MS) {
      await waitFor(
        async () => {
          const answer = await fetch(`${adapter}/frp_fetch/${NODE_OBJECT}`, {
            headers: { authorization: `Bearer ${TOKENS.cloud}` },
          });
          const { data } = (await answer.json()) as { data?: { status: string } };
          return data?.status === state;
        },
        { what: `the node to be ${state}`, timeoutMs },
      );
    },
  };
  await world.whenState('online');
  return world;
}

/** An account with a password, removed after the test; undefined, with the test skipped, where none can be made. */
export async function makeAccount(
  t: TestLike & Skippable,
): Promise<{ user: string; password: string } | undefined> {
  const user = `edge-test-${process.pid}`;
  const password = 'right horse';
  const made = await runProcess('useradd', [
    '--no-create-home',
    '--home-dir',
    '/',
    '--shell',
    '/bin/sh',
    user,
  ]);
  if (made.status !== 0) {
    t.skip(`an account cannot be made: ${made.stderr.trim()}`);
    return undefined;
  }
  t.after(async () => {
    await runProcess('userdel', [user]);
  });
  const set = await runProcess('chpasswd', [], { input: `${user}:${password}\n` });
  if (set.status !== 0) throw new Error(set.stderr);
  return { user, password };
}
