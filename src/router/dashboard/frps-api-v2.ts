/** The objects and filters of frps's second JSON API (frp protocol 7.3). Pure; mistakes in a query are QueryError. */
import type { ProxyInfo } from '../../tunnel/frps/types.ts';
import type { RouterConfig } from '../config.ts';
import { compareText } from '../services.ts';
import type { ServerView } from '../status.ts';
import { clientObject, clientSort, PROXY_TYPES, serverInfo } from './frps-api.ts';
import type { ClientObject } from './frps-api.ts';
import { HISTORY_DAYS, localDay } from './history.ts';
import type { ClientRecord, History, ProxyRecord } from './history.ts';

/** A query that cannot be answered; the message goes to who asked, with status 400. */
export class QueryError extends Error {}

/** The parameters of a query; absent ones are undefined, empty ones are not. */
export type Query = (name: string) => string | undefined;

/** One page of a list. */
export interface Page {
  total: number;
  page: number;
  pageSize: number;
  items: object[];
}

const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 200;

/** Cuts the page that a query asks for. Throws QueryError. */
export function pageOf(items: readonly object[], query: Query): Page {
  const page = positive(query('page'), 1, 'page');
  const pageSize = positive(query('pageSize'), DEFAULT_PAGE_SIZE, 'pageSize');
  if (pageSize > MAX_PAGE_SIZE) throw new QueryError(`pageSize must be between 1 and ${MAX_PAGE_SIZE}`);
  if (!Number.isSafeInteger(page * pageSize)) throw new QueryError('page is too large');
  const start = (page - 1) * pageSize;
  return { total: items.length, page, pageSize, items: items.slice(start, start + pageSize) };
}

function positive(text: string | undefined, fallback: number, name: string): number {
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!/^\+?\d+$/u.test(text) || value < 1) throw new QueryError(`${name} must be a positive integer`);
  return value;
}

function oneOf(text: string | undefined, words: readonly string[], name: string): string {
  const found = (text ?? '').toLowerCase();
  if (found !== '' && !words.includes(found))
    throw new QueryError(`${name} must be one of ${words.join(', ')}`);
  return found;
}

function statusFilter(query: Query): (isOnline: boolean) => boolean {
  const status = oneOf(query('status'), ['all', 'online', 'offline'], 'status');
  return (isOnline) => status === '' || status === 'all' || isOnline === (status === 'online');
}

function contains(query: Query): (values: readonly string[]) => boolean {
  const wanted = (query('q') ?? '').toLowerCase();
  return (values) => wanted === '' || values.some((value) => value.toLowerCase().includes(wanted));
}

/** An empty `user=` asks for clients without a user; the other filters take empty for absent. */
function isUser(query: Query, user: string): boolean {
  const wanted = query('user');
  return wanted === undefined || wanted === user;
}

function isWanted(wanted: string | undefined, value: string): boolean {
  return wanted === undefined || wanted === '' || wanted === value;
}

/** Answers GET /api/v2/system/info. */
export function systemInfo(
  config: RouterConfig | undefined,
  view: ServerView,
  history: History,
  now: Date,
): object {
  const { version, totalTrafficIn, totalTrafficOut, curConns, clientCounts, proxyTypeCount, ...rest } =
    serverInfo(config, view, history, now);
  return {
    version,
    config: { allowPortsStr: '', tlsForce: false, ...rest },
    status: { totalTrafficIn, totalTrafficOut, curConns, clientCounts, proxyTypeCount },
  };
}

/** Answers GET /api/v2/users: everybody who has a client or a proxy, by name. */
export function userList(history: History, query: Query): object[] {
  const users = new Map<string, { user: string; clientCount: number; proxyCount: number }>();
  const entry = (user: string) => {
    const found = users.get(user) ?? { user, clientCount: 0, proxyCount: 0 };
    users.set(user, found);
    return found;
  };
  for (const { info } of history.clients.values()) entry(info.user).clientCount++;
  for (const { info } of history.proxies.values()) entry(info.user).proxyCount++;
  const matches = contains(query);
  return [...users.values()]
    .filter(({ user }) => matches([user]))
    .sort((a, b) => compareText(a.user, b.user));
}

/** Answers GET /api/v2/clients. Throws QueryError. */
export function clientListV2(history: History, query: Query): ClientObject[] {
  const hasStatus = statusFilter(query);
  const matches = contains(query);
  return [...history.clients.values()]
    .map((record) => clientObject(record))
    .filter(
      (client) =>
        isUser(query, client.user) &&
        isWanted(query('clientID'), client.clientID) &&
        isWanted(query('runID'), client.runID) &&
        hasStatus(client.online) &&
        matches([
          client.key,
          client.user,
          client.clientID,
          client.runID,
          client.version,
          client.wireProtocol,
          client.hostname,
          client.clientIP,
        ]),
    )
    .sort(clientSort);
}

/** Answers GET /api/v2/clients/KEY. */
export function clientDetail(record: ClientRecord, history: History): object {
  const client = clientObject(record);
  let curConns = 0;
  let proxyCount = 0;
  for (const { info } of history.proxies.values()) {
    if (info.user !== client.user || ownerId(info) !== client.clientID) continue;
    curConns += info.connections;
    proxyCount++;
  }
  return { ...client, status: { phase: record.isOnline ? 'online' : 'offline', curConns, proxyCount } };
}

/** Answers GET /api/v2/proxies. Throws QueryError. */
export function proxyListV2(history: History, query: Query, now: Date): object[] {
  const hasStatus = statusFilter(query);
  const type = oneOf(query('type'), PROXY_TYPES, 'type');
  const matches = contains(query);
  return [...history.proxies.values()]
    .filter(
      ({ info, isOnline }) =>
        (type === '' || info.type === type) &&
        isUser(query, info.user) &&
        isWanted(query('clientID'), ownerId(info)) &&
        hasStatus(isOnline) &&
        matches([
          info.name,
          info.type,
          info.user,
          ownerId(info),
          isOnline ? 'online' : 'offline',
          ...(isOnline && info.remotePort !== undefined ? [String(info.remotePort)] : []),
        ]),
    )
    .sort((a, b) => compareText(a.info.type, b.info.type) || compareText(a.info.name, b.info.name))
    .map((record) => proxyObject(record, now));
}

/** One proxy. */
export function proxyObject(record: ProxyRecord, now: Date): object {
  const { info, isOnline, closedAt } = record;
  const today = record.days.at(localDay(now));
  return {
    name: info.name,
    user: info.user,
    clientID: ownerId(info),
    spec: { type: info.type, [info.type]: isOnline ? specBlock(info) : {} },
    status: {
      phase: isOnline ? 'online' : 'offline',
      todayTrafficIn: today.in[0],
      todayTrafficOut: today.out[0],
      curConns: info.connections,
      lastStartAt: Math.floor(record.startedAt.getTime() / 1000),
      ...(closedAt === undefined ? {} : { lastCloseAt: Math.floor(closedAt.getTime() / 1000) }),
    },
  };
}

function specBlock(info: ProxyInfo): object {
  return {
    ...(Object.keys(info.annotations).length === 0 ? {} : { annotations: info.annotations }),
    ...(Object.keys(info.metas).length === 0 ? {} : { metadatas: info.metas }),
    transport: {
      useEncryption: info.useEncryption,
      useCompression: info.useCompression,
      bandwidthLimit: info.bandwidthLimit,
      bandwidthLimitMode: info.bandwidthLimitMode === '' ? 'client' : info.bandwidthLimitMode,
    },
    loadBalancer: { group: info.group },
    ...(info.type === 'tcp' || info.type === 'udp' ? { remotePort: info.remotePort ?? 0 } : {}),
  };
}

/** The run id stands in for a client id that was not set. */
function ownerId(info: ProxyInfo): string {
  return info.clientId === '' ? info.runId : info.clientId;
}

/** Answers GET /api/v2/proxies/NAME/traffic: local days, oldest first. */
export function trafficHistory(record: ProxyRecord, now: Date): object {
  const days = record.days.at(localDay(now));
  const history = Array.from({ length: HISTORY_DAYS }, (_, index) => {
    const age = HISTORY_DAYS - 1 - index;
    return { date: dateText(now, age), trafficIn: days.in[age], trafficOut: days.out[age] };
  });
  return { name: record.info.name, unit: 'bytes', granularity: 'day', history };
}

function dateText(now: Date, daysAgo: number): string {
  const date = new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo, 12);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** What POST /api/v2/system/prune is to forget. Throws QueryError. */
export function pruneType(query: Query): string {
  const type = oneOf(query('type'), ['offline_proxies'], 'type');
  if (type === '') throw new QueryError('type is required');
  return type;
}
