/**
 * Whether a node's sshd is the one it should be. An operator's known_hosts file decides where it has lines for the node;
 * else the keys that the node told when it registered (its NodeMaintenance object); else the first use.
 */
import { createHash } from 'node:crypto';
import { SshError } from './errors.ts';
import type { KnownHosts } from './known-hosts.ts';

/** What a host key is checked against. */
export interface HostKeyPolicy {
  /** The node's name, which is also its name in the known_hosts file. */
  node: string;
  /** Keys that the node told, `TYPE BASE64` each; empty when it told none. */
  told: readonly string[];
  /** Absent where there is no file, as on a server that serves many: then only told keys are trusted. */
  knownHosts?: KnownHosts;
  /** Asked about the key of a node that nothing is known of; `false` refuses it. Absent refuses. */
  onUnknown?: (key: HostKey) => Promise<boolean>;
}

/** A key that an sshd presents. */
export interface HostKey {
  node: string;
  type: string;
  /** `SHA256:…`, as `ssh-keygen -l` prints it. */
  fingerprint: string;
  /** `TYPE BASE64`. */
  line: string;
}

/** Describes a key in its wire form (RFC 4253 section 6.6: a string that names the type comes first). */
export function describeHostKey(node: string, blob: Buffer): HostKey {
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : 0;
  const type = blob.toString('latin1', 4, 4 + Math.min(length, 64));
  const digest = createHash('sha256').update(blob).digest('base64').replace(/=+$/u, '');
  return { node, type, fingerprint: `SHA256:${digest}`, line: `${type} ${blob.toString('base64')}` };
}

/** Resolves when the key may be trusted, and stores one that is new; rejects with EDGE_ERR_SSH_HOST_KEY. */
export async function checkHostKey(blob: Buffer, policy: HostKeyPolicy): Promise<void> {
  const { node, told, knownHosts } = policy;
  const key = describeHostKey(node, blob);
  const known = (knownHosts?.find(node) ?? []).filter(({ marker }) => marker !== 'cert-authority');
  const same = known.filter((entry) => `${entry.type} ${entry.key}` === key.line);
  const revoked = same.find(({ marker }) => marker === 'revoked');
  if (revoked !== undefined)
    throw new SshError('host-key', `${describe(key)} is revoked by ${knownHosts?.path}:${revoked.line}`);
  if (same.length > 0) return;
  const pinned = known.find(({ marker }) => marker === undefined);
  if (pinned !== undefined) {
    throw new SshError('host-key', `${describe(key)} is not the one of ${knownHosts?.path}:${pinned.line}`, {
      hint: changedHint(key, `delete line ${pinned.line} of ${knownHosts?.path}`),
    });
  }
  if (told.includes(key.line)) return;
  if (told.length > 0) {
    throw new SshError('host-key', `${describe(key)} is none of those that the node registered with`, {
      hint: changedHint(key, `let "edge sidecar --maintenance" on it read the right --host-key-dir`),
    });
  }
  if (policy.onUnknown === undefined || !(await policy.onUnknown(key)))
    throw new SshError('host-key', `${describe(key)} is not known`, {
      hint: 'the node told none when it registered; does its sidecar find public keys in --host-key-dir?',
    });
  await knownHosts?.add(node, key.line);
}

function describe({ node, type, fingerprint }: HostKey): string {
  return `host key of node "${node}" (${type} ${fingerprint})`;
}

function changedHint({ node }: HostKey, remedy: string): string {
  return `somebody may be in between. If you know that the sshd of ${node} was set up anew, ${remedy}`;
}

/** Host key algorithms, best first (RFC 8709, 5656, 8332); `ssh-rsa` signatures (SHA-1) are left out. */
const ALGORITHMS = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
] as const;

/** An algorithm with which a server proves that it has its host key. */
export type HostKeyAlgorithm = (typeof ALGORITHMS)[number];

/** The algorithms to offer: those of the keys that are known come first, so that the server shows one of these. */
export function hostKeyAlgorithms({ node, told, knownHosts }: HostKeyPolicy): HostKeyAlgorithm[] {
  const pinned = (knownHosts?.find(node) ?? []).filter(({ marker }) => marker === undefined);
  const types = new Set(
    pinned.length > 0 ? pinned.map(({ type }) => type) : told.map((line) => line.split(' ', 1)[0] ?? ''),
  );
  const isKnown = (algorithm: string): boolean =>
    types.has(algorithm.startsWith('rsa-') ? 'ssh-rsa' : algorithm);
  return [...ALGORITHMS.filter(isKnown), ...ALGORITHMS.filter((algorithm) => !isKnown(algorithm))];
}
