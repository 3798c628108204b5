/** Nodes that are reached for maintenance: a real sshd behind a sidecar each, one Router, and `edge ctl` as an operator. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NODE_MAINTENANCES } from '../../src/api/edge.ts';
import type { NodeMaintenance } from '../../src/api/gen/types.ts';
import type { AuditRecord } from '../../src/ssh/audit.ts';
import { edgePath, startEdge } from './edge-process.ts';
import { runProcess } from './processes.ts';
import type { ProcessOptions, ProcessResult, TestLike } from './processes.ts';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { startNode } from './sidecar-world.ts';
import type { Node } from './sidecar-world.ts';
import { makeSshKey, startSshd } from './sshd.ts';
import type { Sshd, SshdCommand } from './sshd.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** The nodes under test. */
export interface MaintainedNodes {
  readonly node: Node;
  /** By the nodes' names. */
  readonly sshds: ReadonlyMap<string, Sshd>;
  /** The operator's data directory, with audit log and known_hosts. */
  readonly dataDir: string;
  /** The key with which the operator gets into every node. */
  readonly userKey: string;
  /** Environment of an operator who may reach the nodes and is asked nothing. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs `edge ctl VERB …` as that operator; arguments that say who to be on the nodes are added in front. */
  ctl(
    verb: string,
    args: readonly string[],
    options?: ProcessOptions & { timeoutMs?: number },
  ): Promise<ProcessResult>;
  /** The command line of the same. */
  command(verb: string, args: readonly string[]): string[];
}

/** How they are set up. */
export interface MaintainedNodesOptions {
  /** Lines of every sshd's configuration. */
  sshdLines?: readonly string[];
  /** How every sshd is started. */
  sshdCommand?: SshdCommand;
  /** Whether the sidecars tell the host keys; true unless given. */
  tellsHostKeys?: boolean;
}

const SECRET = { SIDECAR_SECRET_KEY: 's3cret' };

/** Starts one node a name, and waits until all are online; undefined, with the test skipped, where OpenSSH is missing. */
export async function startMaintainedNodes(
  t: TestLike & Skippable,
  names: readonly string[],
  { sshdLines = [], sshdCommand, tellsHostKeys = true }: MaintainedNodesOptions = {},
): Promise<MaintainedNodes | undefined> {
  if (requireProgram(t, 'ssh-keygen') === undefined) return undefined;
  const dataDir = tempDir(t);
  const userKey = await makeSshKey(dataDir, 'operator');
  const sshds = new Map<string, Sshd>();
  for (const name of names) {
    const sshd = await startSshd(t, [...sshdLines, `AuthorizedKeysFile ${userKey}.pub`], sshdCommand);
    if (sshd === undefined) return undefined;
    sshds.set(name, sshd);
  }
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  for (const [name, sshd] of sshds) {
    startEdge(t, ['sidecar', '--server', node.client.server, '--node', name, '--dns-addr', 'off'], {
      env: {
        ...SECRET,
        SIDECAR_POD_NAME: name,
        SIDECAR_ADMIN_ADDR: 'off',
        SIDECAR_CACHE_DIR: tempDir(t),
        EDGE_MAINTENANCE: 'true',
        EDGE_MAINTENANCE_UNIQUE_ID: `id-${name}`,
        EDGE_MAINTENANCE_HOST_KEY_DIR: tellsHostKeys ? sshd.dir : tempDir(t),
        EDGE_MAINTENANCE_TARGET: `127.0.0.1:${sshd.port}`,
      },
      name: `sidecar ${name}`,
    });
  }
  await waitFor(
    async () => {
      const { items } = await node.client.list<NodeMaintenance>(NODE_MAINTENANCES);
      return items.filter(({ status }) => status?.services?.[0]?.status === 'online').length === names.length;
    },
    { what: 'the nodes to be online' },
  );
  const env = { ...SECRET, EDGE_SERVER: node.client.server, EDGE_DATA_DIR: dataDir, SSH_AUTH_SOCK: '' };
  const command = (verb: string, args: readonly string[]): string[] => [
    edgePath(),
    'ctl',
    verb,
    '--batch',
    '--identity',
    userKey,
    ...args,
  ];
  return {
    node,
    sshds,
    dataDir,
    userKey,
    env,
    command,
    ctl: (verb, args, options = {}) =>
      runProcess(process.execPath, command(verb, args), {
        name: `edge ctl ${verb}`,
        ...options,
        env: { ...env, ...options.env },
      }),
  };
}

/** What stands in the operator's audit log. */
export function auditRecords({ dataDir }: MaintainedNodes): AuditRecord[] {
  const lines = readFileSync(join(dataDir, 'ssh-audit.log'), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as AuditRecord);
}
