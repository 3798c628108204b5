/** The list of peers: read from `--peers` or a file, checked, and turned into ways to reach their API servers. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { checkServer, loadAccess, readKubeconfig } from '../apiclient/kubeconfig.ts';
import type { ClusterAccess } from '../apiclient/kubeconfig.ts';
import { errorMessage, UsageError } from '../lib/errors.ts';
import { suggestion } from '../lib/options.ts';
import { parseYaml } from '../lib/yaml.ts';
import { isRecord } from '../lib/json.ts';

/** A peer as the user describes it. Paths are absolute or start at the working directory. */
export interface Peer {
  /** The peer's node, which is the name of its Router. */
  node: string;
  /** Its API server; may be absent when `kubeconfig` is given. */
  server?: string | undefined;
  caFile?: string | undefined;
  /** PEM, or base64 of it. */
  caData?: string | undefined;
  tokenFile?: string | undefined;
  clientCertFile?: string | undefined;
  clientKeyFile?: string | undefined;
  /** A kubeconfig of the peer's API server, copied from the peer. */
  kubeconfig?: string | undefined;
}

/** Credentials for peers that are given by flag. */
export type PeerCredentials = Pick<Peer, 'tokenFile' | 'caFile' | 'clientCertFile' | 'clientKeyFile'>;

/** A DNS-1123 subdomain: what the name of a cluster-scoped object may be. */
const NODE_NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/u;
const MAX_PEERS = 1000;

const FILE_KEYS = [
  'server',
  'caFile',
  'caData',
  'tokenFile',
  'clientCertFile',
  'clientKeyFile',
  'kubeconfig',
] as const;
const PATH_KEYS = new Set<string>(['caFile', 'tokenFile', 'clientCertFile', 'clientKeyFile', 'kubeconfig']);

/** Parses `NODE=URL` entries. Throws UsageError that names `what`. */
export function parsePeerList(
  entries: readonly string[],
  credentials: PeerCredentials,
  what: string,
): Peer[] {
  const peers = entries.map((entry): Peer => {
    const at = entry.indexOf('=');
    if (at <= 0) throw new UsageError(`${what}: "${entry}" is not of the form NODE=URL`);
    const server = checkServer(entry.slice(at + 1).trim(), `${what}: ${entry.slice(0, at)}`);
    return { node: entry.slice(0, at).trim(), server, ...credentials };
  });
  return checkPeers(peers, what);
}

/** Reads a peers file: `peers: [{node, server, …}]`; relative paths start at its directory. Throws UsageError. */
export function readPeersFile(path: string): Peer[] {
  let value: unknown;
  try {
    value = parseYaml(readFileSync(path, 'utf8'), path);
  } catch (err) {
    throw new UsageError(`peers file: ${errorMessage(err)}`, { cause: err });
  }
  const list = isRecord(value) ? value['peers'] : undefined;
  if (value === undefined || (isRecord(value) && list === null)) return [];
  if (!Array.isArray(list)) throw new UsageError(`${path}: wanted a map with a list "peers"`);
  const peers = (list as unknown[]).map((entry, at) =>
    parsePeer(entry, `${path}: peers[${at}]`, dirname(path)),
  );
  return checkPeers(peers, path);
}

function parsePeer(value: unknown, what: string, directory: string): Peer {
  if (!isRecord(value)) throw new UsageError(`${what}: wanted a map`);
  const known = ['node', ...FILE_KEYS];
  for (const [key, field] of Object.entries(value)) {
    if (!known.includes(key))
      throw new UsageError(`${what}: unknown setting "${key}"${suggestion(key, known)}`);
    if (typeof field !== 'string' || field === '') throw new UsageError(`${what}: ${key}: wanted a text`);
  }
  const fields = value as Record<string, string>;
  const peer: Peer = { node: fields['node'] ?? '' };
  for (const key of FILE_KEYS) {
    const field = fields[key];
    if (field !== undefined) peer[key] = PATH_KEYS.has(key) ? resolve(directory, field) : field;
  }
  if (peer.server === undefined && peer.kubeconfig === undefined)
    throw new UsageError(`${what}: needs server or kubeconfig`);
  if (peer.server !== undefined) peer.server = checkServer(peer.server, `${what}: server`);
  return peer;
}

function checkPeers(peers: Peer[], what: string): Peer[] {
  if (peers.length > MAX_PEERS) throw new UsageError(`${what}: ${peers.length} peers, at most ${MAX_PEERS}`);
  const seen = new Set<string>();
  for (const { node } of peers) {
    if (!NODE_NAME.test(node))
      throw new UsageError(`${what}: "${node}" is not a node name: lower-case letters, digits, "-" and "."`);
    if (seen.has(node)) throw new UsageError(`${what}: two peers are called "${node}"`);
    seen.add(node);
  }
  return peers;
}

/** Reads a peer's credentials; called again whenever they change. Rejects when a file is missing or wrong. */
export async function peerAccess(peer: Peer): Promise<ClusterAccess> {
  const base = peer.kubeconfig === undefined ? undefined : readKubeconfig(peer.kubeconfig);
  const server = peer.server ?? base?.server;
  if (server === undefined) throw new UsageError(`peer ${peer.node}: has no server`);
  const given = await loadAccess({
    server,
    tokenFile: peer.tokenFile,
    caFile: peer.caFile,
    clientCert: peer.clientCertFile,
    clientKey: peer.clientKeyFile,
    defaultKubeconfigs: [],
  });
  const access = { ...base, ...given, files: [...(base?.files ?? []), ...(given.files ?? [])] };
  return peer.caData === undefined ? access : { ...access, ca: pemOf(peer.caData) };
}

function pemOf(data: string): string {
  return data.includes('-----BEGIN') ? data : Buffer.from(data, 'base64').toString('utf8');
}
