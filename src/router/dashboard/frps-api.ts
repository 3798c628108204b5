/** The objects of frps's JSON API, as tools written for frps read them (frp protocol 7.2). Pure. */
import { protocolVersion } from '../../lib/build-info.ts';
import type { PortRange } from '../../tunnel/frps/types.ts';
import type { RouterConfig } from '../config.ts';
import { compareText } from '../services.ts';
import type { ServerView } from '../status.ts';
import { localDay } from './history.ts';
import type { ClientRecord, History, ProxyRecord } from './history.ts';

/** The proxy types that the API lists. */
export const PROXY_TYPES = ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'xtcp', 'sudp'] as const;

/** Answers GET /api/serverinfo. */
export function serverInfo(
  config: RouterConfig | undefined,
  view: ServerView,
  history: History,
  now: Date,
): object {
  const today = history.total.at(localDay(now));
  const proxyTypeCount: Record<string, number> = {};
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
    heartbeatTimeout: Math.round((server?.heartbeatTimeoutMs ?? -1) / 1000) || -1,
    ...(allowPortsStr === '' ? {} : { allowPortsStr }),
    ...(server?.tls.force === true ? { tlsForce: true } : {}),
    totalTrafficIn: today.in[0],
    totalTrafficOut: today.out[0],
    curConns: view.totals.openConnections,
    clientCounts: view.sessions.length,
    proxyTypeCount,
  };
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
      ...(info.bandwidthLimitMode === '' ? {} : { bandwidthLimitMode: info.bandwidthLimitMode }),
    },
    // The key of a group admits to it, so it is not shown.
    loadBalancer: { group: info.group, groupKey: '' },
    healthCheck: { type: '', intervalSeconds: 0 },
    localIP: '',
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

/** One client. */
export function clientObject(record: ClientRecord): object {
  const { info } = record;
  return {
    key: record.key,
    user: info.user,
    clientID: info.clientId,
    runID: record.isOnline ? info.runId : '',
    version: info.version,
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

/** Filters of GET /api/clients; absent ones let everything through. */
export interface ClientFilter {
  user: string | undefined;
  clientId: string | undefined;
  runId: string | undefined;
  status: string | undefined;
}

/** The clients that pass, sorted by user, id and key. */
export function clientList(history: History, filter: ClientFilter): object[] {
  const isWanted = ({ info, isOnline }: ClientRecord): boolean =>
    (filter.user === undefined || info.user === filter.user) &&
    (filter.clientId === undefined || info.clientId === filter.clientId) &&
    (filter.runId === undefined || (isOnline && info.runId === filter.runId)) &&
    (filter.status === undefined || filter.status === 'all' || (filter.status === 'online') === isOnline);
  return [...history.clients.values()]
    .filter(isWanted)
    .sort(
      (a, b) =>
        compareText(a.info.user, b.info.user) ||
        compareText(a.info.clientId, b.info.clientId) ||
        compareText(a.key, b.key),
    )
    .map(clientObject);
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
