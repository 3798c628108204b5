/** What the dashboard remembers of proxies and clients: days of traffic, and those that are gone. Bounded. */
import type { ProxyInfo, SessionInfo } from '../../tunnel/frps/types.ts';
import type { ServerView } from '../status.ts';

/** Days that are kept, today included (frp 7.2). */
export const HISTORY_DAYS = 7;
/** Proxies and clients remembered, each; the ones that closed first give way. */
const MAX_RECORDS = 10_000;
const DAY_MS = 86_400_000;

/** Bytes of the last days; index 0 is today. */
export interface DailyTraffic {
  in: number[];
  out: number[];
}

/** A proxy, live or closed. */
export interface ProxyRecord {
  /** As last seen. */
  info: ProxyInfo;
  isOnline: boolean;
  startedAt: Date;
  closedAt: Date | undefined;
  /** Bytes over all its lives since the router started. */
  totalIn: number;
  totalOut: number;
  /** Whether it ever had a connection. */
  hasCarried: boolean;
  readonly days: DaySeries;
}

/** A client, connected or not. */
export interface ClientRecord {
  key: string;
  info: SessionInfo;
  isOnline: boolean;
  firstConnectedAt: Date;
  disconnectedAt: Date | undefined;
}

/** Bytes a day, for the last seven local days. */
export class DaySeries {
  #days: { day: number; in: number; out: number }[] = [];

  /** Counts bytes for a day. */
  add(day: number, bytesIn: number, bytesOut: number): void {
    let today = this.#days[0];
    if (today?.day !== day) {
      today = { day, in: 0, out: 0 };
      this.#days = [today, ...this.#days].slice(0, HISTORY_DAYS);
    }
    today.in += bytesIn;
    today.out += bytesOut;
  }

  /** The series as of a day; days without traffic are 0. */
  at(day: number): DailyTraffic {
    const traffic: DailyTraffic = { in: [], out: [] };
    for (let back = 0; back < HISTORY_DAYS; back++) {
      const found = this.#days.find((entry) => entry.day === day - back);
      traffic.in.push(found?.in ?? 0);
      traffic.out.push(found?.out ?? 0);
    }
    return traffic;
  }
}

/** The number of a local day: midnight where the router runs starts the next one. */
export function localDay(date: Date): number {
  return Math.floor((date.getTime() - date.getTimezoneOffset() * 60_000) / DAY_MS);
}

/** The key of a client in frp's API: `user.clientID`, with the run id for a client without an id (frp 7.2). */
export function clientKey(info: SessionInfo): string {
  const id = info.clientId === '' ? info.runId : info.clientId;
  return info.user === '' ? id : `${info.user}.${id}`;
}

/** Follows the server by samples. */
export class History {
  readonly proxies = new Map<string, ProxyRecord>();
  readonly clients = new Map<string, ClientRecord>();
  /** Types that a proxy had since the router started. */
  readonly types = new Set<string>();
  /** Traffic of all proxies together. */
  readonly total = new DaySeries();
  #totalIn = 0;
  #totalOut = 0;

  /** Takes in what the server reports now. */
  sample(view: ServerView, now: Date): void {
    const day = localDay(now);
    const { bytesIn, bytesOut } = view.totals;
    this.total.add(day, Math.max(bytesIn - this.#totalIn, 0), Math.max(bytesOut - this.#totalOut, 0));
    this.#totalIn = bytesIn;
    this.#totalOut = bytesOut;
    this.#sampleProxies(view.proxies, day, now);
    this.#sampleClients(view.sessions, now);
  }

  /** Takes in the last counts of a proxy that closed: it may have come and gone between two samples. */
  proxyClosed(info: ProxyInfo, now: Date): void {
    const record = this.#takeProxy(info, localDay(now));
    if (record !== undefined) closeRecord(record, now);
  }

  /** Takes in a client that is gone, which no sample may have seen. */
  clientGone(info: SessionInfo, now: Date): void {
    const record = this.#takeClient(info);
    // A newer login of the same client may have taken the record over before this end was noticed.
    if (record?.info.runId === info.runId) this.#disconnect(record, now);
  }

  /** Forgets closed proxies; says how many they were, and of how many. */
  dropOffline(): { cleared: number; total: number } {
    const total = this.proxies.size;
    for (const [name, record] of this.proxies) if (!record.isOnline) this.proxies.delete(name);
    return { cleared: total - this.proxies.size, total };
  }

  #sampleProxies(proxies: readonly ProxyInfo[], day: number, now: Date): void {
    const seen = new Set<string>();
    for (const info of proxies) {
      seen.add(info.name);
      this.#takeProxy(info, day);
    }
    for (const [name, record] of this.proxies) {
      if (seen.has(name)) continue;
      if (record.isOnline) closeRecord(record, now);
      else if (now.getTime() - (record.closedAt?.getTime() ?? 0) > HISTORY_DAYS * DAY_MS)
        this.proxies.delete(name);
    }
  }

  /** The record of a live proxy, brought up to date; undefined when there is no room for it. */
  #takeProxy(info: ProxyInfo, day: number): ProxyRecord | undefined {
    this.types.add(info.type);
    const known = this.proxies.get(info.name);
    if (known === undefined && !this.#makeRoom(this.proxies)) return undefined;
    const record = known ?? newRecord(info);
    const isSameLife =
      known?.info.runId === info.runId && known.startedAt.getTime() === info.startedAt.getTime();
    const before = isSameLife ? known.info : { bytesIn: 0, bytesOut: 0 };
    this.#count(record, day, info.bytesIn - before.bytesIn, info.bytesOut - before.bytesOut);
    record.info = info;
    record.isOnline = true;
    record.startedAt = info.startedAt;
    record.hasCarried ||= info.totalConnections > 0;
    this.proxies.set(info.name, record);
    return record;
  }

  #count(record: ProxyRecord, day: number, bytesIn: number, bytesOut: number): void {
    const addIn = Math.max(bytesIn, 0);
    const addOut = Math.max(bytesOut, 0);
    if (addIn > 0 || addOut > 0) record.days.add(day, addIn, addOut);
    record.totalIn += addIn;
    record.totalOut += addOut;
  }

  #sampleClients(sessions: readonly SessionInfo[], now: Date): void {
    const seen = new Set<string>();
    for (const info of sessions) {
      seen.add(clientKey(info));
      this.#takeClient(info);
    }
    for (const [key, record] of this.clients) if (!seen.has(key)) this.#disconnect(record, now);
  }

  /** The record of a client that is or was online; an older login does not replace a newer one. */
  #takeClient(info: SessionInfo): ClientRecord | undefined {
    const key = clientKey(info);
    const known = this.clients.get(key);
    if (known === undefined && !this.#makeRoom(this.clients)) return undefined;
    if (known?.isOnline === true && known.info.connectedAt > info.connectedAt) return known;
    const record: ClientRecord = known ?? {
      key,
      info,
      isOnline: true,
      firstConnectedAt: info.connectedAt,
      disconnectedAt: undefined,
    };
    Object.assign(record, { info, isOnline: true });
    this.clients.set(key, record);
    return record;
  }

  #disconnect(record: ClientRecord, now: Date): void {
    // A client without an id cannot be recognised when it comes back.
    if (record.info.clientId === '') this.clients.delete(record.key);
    else if (record.isOnline) Object.assign(record, { isOnline: false, disconnectedAt: now });
  }

  #makeRoom(records: Map<string, { isOnline: boolean }>): boolean {
    if (records.size < MAX_RECORDS) return true;
    for (const [key, record] of records) {
      if (record.isOnline) continue;
      records.delete(key);
      return true;
    }
    return false;
  }
}

function newRecord(info: ProxyInfo): ProxyRecord {
  return {
    info,
    isOnline: true,
    startedAt: info.startedAt,
    closedAt: undefined,
    totalIn: 0,
    totalOut: 0,
    hasCarried: false,
    days: new DaySeries(),
  };
}

function closeRecord(record: ProxyRecord, now: Date): void {
  record.isOnline = false;
  record.closedAt = now;
  record.info = { ...record.info, connections: 0 };
}
