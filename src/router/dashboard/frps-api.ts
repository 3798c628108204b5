/** The objects of frps's JSON API, as tools written for frps read them (frp protocol 7.2). Pure. */
import { protocolVersion } from '../../lib/build-info.ts';
import type { PortRange } from '../../tunnel/frps/types.ts';
import type { RouterConfig } from '../config.ts';
import { NEVER_MS } from '../fields.ts';
import { compareText } from '../services.ts';
import type { ServerView } from '../status.ts';
import { localDay } from './history.ts';
import type { ClientRecord, History, ProxyRecord } from './history.ts';

/** The proxy types that the API lists. */
export const PROXY_TYPES = ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'xtcp', 'sudp'] as const;

/** What GET /api/serverinfo answers. */
export interface ServerInfo {
  version: string;
  bindPort: number;
  vhostHTTPPort: number;
  vhostHTTPSPort: number;
  tcpmuxHTTPConnectPort: number;
  kcpBindPort: number;
  quicBindPort: number;
  subdomainHost: string;
  maxPoolCount: number;
  maxPortsPerClient: number;
  heartbeatTimeout: number;
  allowPortsStr?: string;
  tlsForce?: boolean;
  totalTrafficIn: number;
  totalTrafficOut: number;
  curConns: number;
  clientCounts: number;
  proxyTypeCount: Record<string, number>;
}

/** Answers GET /api/serverinfo. */
export function serverInfo(
  config: RouterConfig | undefined,
  view: ServerView,
  history: History,
  now: Date,
): ServerInfo {
  const today = history.total.at(localDay(now));
  // A type that had a proxy once stays, with 0.
  const proxyTypeCount: Record<string, number> = Object.fromEntries(
    [...history.types].map((type) => [type, 0]),
  );
  for (const { type } of view.proxies) proxyTypeCount[type] = (proxyTypeCount[type] ?? 0) + 1;
  const server = config?.server;
  const allowPortsStr = portsText(server?.allowPorts ?? []);
  return {
    version: protocolVersion,
    bindPort: view.port ?? server?.bindPort ?? 0,
    vhostHTTPPort: 0,
    vhostHTTPSPort: 0,
    tcpmuxHTTPConnectPort: 0,
    kcpBindPort: 0,
    quicBindPort: 0,
    subdomainHost: '',
    maxPoolCount: server?.maxPoolCount ?? 0,
    maxPortsPerClient: server?.maxPortsPerClient ?? 0,
    heartbeatTimeout: heartbeatSeconds(server?.heartbeatTimeoutMs ?? -1),
    ...(allowPortsStr === '' ? {} : { allowPortsStr }),
    ...(server?.tls.force === true ? { tlsForce: true } : {}),
    totalTrafficIn: today.in[0] ?? 0,
    totalTrafficOut: today.out[0] ?? 0,
    curConns: view.totals.openConnections,
    clientCounts: view.sessions.length,
    proxyTypeCount,
  };
}

/** frp says -1 for "off", which is also its word for "left to the mux". */
function heartbeatSeconds(ms: number): number {
  return ms <= 0 || ms >= NEVER_MS ? -1 : Math.round(ms / 1000);
}

function portsText(ranges: readonly PortRange[]): string {
  return ranges.map(({ start, end }) => (start === end ? String(start) : `${start}-${end}`)).join(',');
}

/** One proxy's statistics. */
export function proxyStats(record: ProxyRecord, now: Date): object {
  const { info } = record;
  const today = record.days.at(localDay(now));
  return {
    name: info.name,
    conf: record.isOnline ? proxyConf(record) : null,
    ...(info.user === '' ? {} : { user: info.user }),
    clientID: info.clientId === '' ? info.runId : info.clientId,
    todayTrafficIn: today.in[0],
    todayTrafficOut: today.out[0],
    curConns: info.connections,
    lastStartTime: shortTime(record.startedAt),
    lastCloseTime: record.closedAt === undefined ? '' : shortTime(record.closedAt),
    status: record.isOnline ? 'online' : 'offline',
  };
}

function proxyConf({ info }: ProxyRecord): object {
  return {
    name: info.name,
    type: info.type,
    ...(Object.keys(info.annotations).length === 0 ? {} : { annotations: info.annotations }),
    ...(Object.keys(info.metas).length === 0 ? {} : { metadatas: info.metas }),
    transport: {
      ...(info.useEncryption ? { useEncryption: true } : {}),
      ...(info.useCompression ? { useCompression: true } : {}),
      bandwidthLimit: info.bandwidthLimit,
      bandwidthLimitMode: info.bandwidthLimitMode === '' ? 'client' : info.bandwidthLimitMode,
    },
    // The key of a group admits to it, so it is not shown.
    loadBalancer: { group: info.group },
    healthCheck: { type: '', intervalSeconds: 0 },
    localIP: '127.0.0.1', // frp's default; a client does not tell the real one
    plugin: null,
    ...(info.type === 'tcp' || info.type === 'udp' ? { remotePort: info.remotePort ?? 0 } : {}),
  };
}

/** The statistics of all proxies of a type, sorted by name. */
export function proxyList(history: History, type: string, now: Date): object[] {
  return [...history.proxies.values()]
    .filter((record) => record.info.type === type)
    .sort((a, b) => compareText(a.info.name, b.info.name))
    .map((record) => proxyStats(record, now));
}

/** Answers GET /api/traffic/NAME. */
export function proxyTraffic(record: ProxyRecord, now: Date): object {
  const days = record.days.at(localDay(now));
  return { name: record.info.name, trafficIn: days.in, trafficOut: days.out };
}

/** A client as both APIs show it. */
export interface ClientObject {
  key: string;
  user: string;
  /** The run id where the client set no id. */
  clientID: string;
  /** Empty when offline. */
  runID: string;
  version: string;
  wireProtocol: string;
  hostname: string;
  clientIP: string;
  /** Unix seconds, as the others. */
  firstConnectedAt: number;
  lastConnectedAt: number;
  disconnectedAt?: number;
  online: boolean;
}

/** One client. */
export function clientObject(record: ClientRecord): ClientObject {
  const { info } = record;
  return {
    key: record.key,
    user: info.user,
    clientID: info.clientId === '' ? info.runId : info.clientId,
    runID: record.isOnline ? info.runId : '',
    version: info.version,
    wireProtocol: info.wireProtocol,
    hostname: info.hostname,
    clientIP: info.remoteAddr.replace(/:\d+$/u, '').replaceAll(/[[\]]/gu, ''),
    firstConnectedAt: unixSeconds(record.firstConnectedAt),
    lastConnectedAt: unixSeconds(info.connectedAt),
    ...(record.isOnline || record.disconnectedAt === undefined
      ? {}
      : { disconnectedAt: unixSeconds(record.disconnectedAt) }),
    online: record.isOnline,
  };
}

/** Filters of GET /api/clients; absent and empty ones let everything through, as does a status that is no status. */
export interface ClientFilter {
  user: string | undefined;
  clientId: string | undefined;
  runId: string | undefined;
  status: string | undefined;
}

/** The clients that pass, sorted by user, id and key. */
export function clientList(history: History, filter: ClientFilter): ClientObject[] {
  const isWanted = (wanted: string | undefined, value: string): boolean =>
    wanted === undefined || wanted === '' || wanted === value;
  const status = filter.status?.toLowerCase();
  return [...history.clients.values()]
    .map((record) => clientObject(record))
    .filter(
      (client) =>
        isWanted(filter.user, client.user) &&
        isWanted(filter.clientId, client.clientID) &&
        isWanted(filter.runId, client.runID) &&
        (status === 'online' ? client.online : status === 'offline' ? !client.online : true),
    )
    .sort(clientSort);
}

/** frp's order of clients. */
export function clientSort(a: ClientObject, b: ClientObject): number {
  return compareText(a.user, b.user) || compareText(a.clientID, b.clientID) || compareText(a.key, b.key);
}

function unixSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

/** Local `MM-DD hh:mm:ss`. */
function shortTime(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
