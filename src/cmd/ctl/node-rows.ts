/** The nodes that can be maintained, as `edge ctl nodes` shows them: NodeMaintenances beside their Routers. Pure. */
import { createHash } from 'node:crypto';
import { ROUTER_ANNOTATION, SSH_HOST_KEYS_ANNOTATION } from '../../api/edge.ts';
import type { NodeMaintenance, Router } from '../../api/gen/types.ts';
import { ageOf } from '../../api/age.ts';

/** One node. */
export interface NodeRow {
  node: string;
  /** `unknown` while the Router that says online is silent. */
  state: 'online' | 'offline' | 'unknown';
  /** When the state last changed (RFC 3339). */
  since?: string;
  /** The Router that answers for the state; empty for objects that another program keeps. */
  router: string;
  /** HOST:PORT of the tunnel server. */
  address: string;
  /** When the node was last known to be there (RFC 3339). */
  lastSeen?: string;
  uniqueId: string;
  object: string;
  /** SHA-256 fingerprints of the host keys, as ssh-keygen -l prints them. */
  hostKeys: string[];
}

/** A Router that has not confirmed its status for longer than this is not believed: three heartbeats and some. */
const SILENT_MS = 120_000;

/** The rows of all objects, by node. */
export function nodeRows(
  objects: readonly NodeMaintenance[],
  routers: readonly Router[],
  nowMs: number,
): NodeRow[] {
  const heartbeats = new Map(
    routers.map(({ metadata, status }) => [metadata.name ?? '', status?.lastHeartbeatTime]),
  );
  return objects
    .map((object) => rowOf(object, heartbeats, nowMs))
    .sort((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : a.object < b.object ? -1 : 1));
}

function rowOf(
  { metadata, spec, status }: NodeMaintenance,
  heartbeats: ReadonlyMap<string, string | undefined>,
  nowMs: number,
): NodeRow {
  const service = spec.services?.find(({ type }) => type === 'ssh') ?? spec.services?.[0];
  const state = status?.services?.find(({ name }) => name === service?.name);
  const router = metadata.annotations?.[ROUTER_ANNOTATION] ?? '';
  const beat = heartbeats.get(router);
  const isOnline = state?.status === 'online';
  const isSilent = beat !== undefined && nowMs - Date.parse(beat) > SILENT_MS;
  const lastSeen = isOnline ? (beat ?? state.lastUpdate) : state?.lastUpdate;
  const host = service?.frpServerIpAddress ?? '';
  return {
    node: spec.nodeName,
    state: isOnline ? (isSilent ? 'unknown' : 'online') : 'offline',
    ...(state?.lastUpdate === undefined ? {} : { since: state.lastUpdate }),
    router,
    address: host === '' ? '' : `${host.includes(':') ? `[${host}]` : host}:${service?.proxyPort ?? ''}`,
    ...(lastSeen === undefined ? {} : { lastSeen }),
    uniqueId: service?.uniqueID ?? '',
    object: metadata.name ?? '',
    hostKeys: (metadata.annotations?.[SSH_HOST_KEYS_ANNOTATION] ?? '').split('\n').flatMap(fingerprint),
  };
}

/** `SHA256:…` of a line of `TYPE BASE64`. */
function fingerprint(line: string): string[] {
  const [, blob] = line.split(' ');
  if (blob === undefined || blob === '') return [];
  const hash = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64');
  return [`SHA256:${hash.replace(/=+$/u, '')}`];
}

/** The cells of a table, header first. */
export function nodeTable(rows: readonly NodeRow[], isWide: boolean, nowMs: number): string[][] {
  const wide = (cells: string[]): string[] => (isWide ? cells : []);
  const shown = (text: string): string => (text === '' ? '<none>' : text);
  return [
    ['NODE', 'STATE', 'SINCE', 'ROUTER', 'ADDRESS', 'LAST SEEN', ...wide(['ID', 'OBJECT', 'HOST KEYS'])],
    ...rows.map((row) => [
      row.node,
      row.state,
      ageOf(row.since, nowMs),
      shown(row.router),
      shown(row.address),
      ageOf(row.lastSeen, nowMs),
      ...wide([shown(row.uniqueId), row.object, shown(row.hostKeys.join(','))]),
    ]),
  ];
}
