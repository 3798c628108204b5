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

  /** Forgets closed proxies and says how many there were. */
  dropOffline(): number {
    let dropped = 0;
    for (const [name, record] of this.proxies) {
      if (record.isOnline) continue;
      this.proxies.delete(name);
      dropped++;
    }
    return dropped;
  }

  #sampleProxies(proxies: readonly ProxyInfo[], day: number, now: Date): void {
    const seen = new Set<string>();
    for (const info of proxies) {
      seen.add(info.name);
      let record = this.proxies.get(info.name);
      if (record === undefined) {
        if (!this.#makeRoom(this.proxies)) continue;
        const days = new DaySeries();
        record = {
          info,
          isOnline: true,
          startedAt: info.startedAt,
          closedAt: undefined,
          totalIn: 0,
          totalOut: 0,
          days,
        };
        this.proxies.set(info.name, record);
        this.#count(record, day, info.bytesIn, info.bytesOut);
        continue;
      }
      const isSameLife =
        record.info.runId === info.runId && record.startedAt.getTime() === info.startedAt.getTime();
      const before = isSameLife ? record.info : { bytesIn: 0, bytesOut: 0 };
      this.#count(record, day, info.bytesIn - before.bytesIn, info.bytesOut - before.bytesOut);
      record.info = info;
      record.isOnline = true;
      record.startedAt = info.startedAt;
    }
    for (const [name, record] of this.proxies) {
      if (seen.has(name)) continue;
      if (record.isOnline) {
        record.isOnline = false;
        record.closedAt = now;
        record.info = { ...record.info, connections: 0 };
      } else if (now.getTime() - (record.closedAt?.getTime() ?? 0) > HISTORY_DAYS * DAY_MS)
        this.proxies.delete(name);
    }
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
      const key = clientKey(info);
      seen.add(key);
      const record = this.clients.get(key);
      if (record === undefined) {
        if (!this.#makeRoom(this.clients)) continue;
        this.clients.set(key, {
          key,
          info,
          isOnline: true,
          firstConnectedAt: info.connectedAt,
          disconnectedAt: undefined,
        });
      } else Object.assign(record, { info, isOnline: true });
    }
    for (const [key, record] of this.clients) {
      if (seen.has(key)) continue;
      // A client without an id cannot be recognised when it comes back.
      if (record.info.clientId === '') this.clients.delete(key);
      else if (record.isOnline) Object.assign(record, { isOnline: false, disconnectedAt: now });
    }
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
