/**
 * Rates of traffic from what Routers report in their status. A rate is the difference of two reports over the time
 * between their own timestamps, so that neither the reader's clock nor the age of a report enters it. Pure.
 */
import {
  CONDITION_READY,
  CONDITION_SYNCED,
  ORIGIN_ANNOTATION,
  SYNCED_AT_ANNOTATION,
} from '../../../api/edge.ts';
import type { Router, RouterStatusClient } from '../../../api/gen/types.ts';
import { CONFIRMATION_LIMIT_MS, HEARTBEAT_LIMIT_MS } from '../status-routers.ts';

/** Timestamps of reports are whole seconds; over this span, milliseconds, a rate is off by a tenth at most. */
export const MIN_SPAN_MS = 10_000;

/** Counters that only grow. */
export interface Counters {
  bytesIn: number;
  bytesOut: number;
}

/** How much can be believed of what a Router says of itself. */
export type Trust =
  /** It serves. */
  | 'Ready'
  /** It says why it does not. */
  | 'NotReady'
  /** No report for two minutes. */
  | 'Silent'
  /** A mirror whose peer, or whose syncer, is away. */
  | 'Stale'
  /** It never reported. */
  | 'Unknown';

interface Report {
  /** By the Router's clock, milliseconds. */
  at: number;
  totals: Counters & { connections: number };
  clients: ReadonlyMap<string, Counters>;
}

/** The reports of one Router that are needed for its rates, newest last. */
interface History {
  /** The object that the newest one was read from. */
  router: Router;
  /** The start of the Router's process; counters begin anew with it. */
  startTime: string;
  reports: Report[];
  /** When the newest one came, by the reader's monotonic clock; undefined when it was there already. */
  arrivedAt: number | undefined;
}

/** A moment, by both clocks of the reader, milliseconds. */
export interface Moment {
  monotonic: number;
  wall: number;
}

/** One Router, as its newest reports have it. */
export interface RouterView {
  router: Router;
  /** The node whose API server has it; undefined for one of this server. */
  origin: string | undefined;
  trust: Trust;
  /** Why it is not Ready, in words; empty when nobody says. */
  why: string;
  /** Milliseconds since its newest report; undefined before the first one. */
  ageMs: number | undefined;
  /** The span of its rates, seconds; undefined while they are not known. */
  overSeconds: number | undefined;
  /** A second, of a counter of the whole Router; undefined while it is not known. */
  rate: (pick: (totals: Report['totals']) => number) => number | undefined;
  /** A second, of counters of one client; undefined while they are not known. */
  clientRates: (client: RouterStatusClient) => Counters | undefined;
}

/** Keeps the reports of all Routers. */
export class Reports {
  readonly #histories = new Map<string, History>();

  /** Takes the Routers as they are now, and forgets those that are gone. */
  take(routers: readonly Router[], now: Moment): RouterView[] {
    const names = new Set(routers.map(({ metadata }) => metadata.name ?? ''));
    for (const name of this.#histories.keys()) if (!names.has(name)) this.#histories.delete(name);
    return routers.map((router) => this.#view(router, now));
  }

  #view(router: Router, now: Moment): RouterView {
    const history = this.#remember(router, now);
    const newest = history?.reports.at(-1);
    const ageMs =
      newest === undefined
        ? undefined
        : history?.arrivedAt === undefined
          ? now.wall - newest.at
          : now.monotonic - history.arrivedAt;
    const { trust, why } = trustOf(router, ageMs, now.wall);
    const isLive = trust === 'Ready' || trust === 'NotReady';
    const base = isLive && newest !== undefined ? baseline(history?.reports ?? [], newest) : undefined;
    const seconds = base === undefined || newest === undefined ? undefined : (newest.at - base.at) / 1000;
    const perSecond = (now: number, before: number): number | undefined =>
      seconds === undefined || now < before ? undefined : (now - before) / seconds;
    return {
      router,
      origin: router.metadata.annotations?.[ORIGIN_ANNOTATION],
      trust,
      why,
      ageMs,
      overSeconds: seconds,
      rate: (pick) =>
        base === undefined || newest === undefined
          ? undefined
          : perSecond(pick(newest.totals), pick(base.totals)),
      clientRates(client) {
        if (base === undefined) return undefined;
        // one that came after the older report has carried all of its bytes since then
        const isNew = Date.parse(client.connectedAt ?? '') >= base.at;
        const before = base.clients.get(clientKey(client)) ?? (isNew ? NOTHING : undefined);
        if (before === undefined) return undefined;
        const bytesIn = perSecond(client.bytesIn ?? 0, before.bytesIn);
        const bytesOut = perSecond(client.bytesOut ?? 0, before.bytesOut);
        return bytesIn === undefined || bytesOut === undefined ? undefined : { bytesIn, bytesOut };
      },
    };
  }

  #remember(router: Router, now: Moment): History | undefined {
    const { status } = router;
    const name = router.metadata.name ?? '';
    const at = Date.parse(status?.lastHeartbeatTime ?? '');
    if (status === undefined || Number.isNaN(at)) {
      this.#histories.delete(name);
      return undefined;
    }
    const known = this.#histories.get(name);
    if (known?.router === router) return known;
    const startTime = status.startTime ?? '';
    const last = known?.reports.at(-1);
    const isSame =
      known !== undefined && last !== undefined && known.startTime === startTime && at >= last.at;
    const history: History = isSame
      ? known
      : { router, startTime, reports: [], arrivedAt: known === undefined ? undefined : now.monotonic };
    history.router = router;
    if (isSame && at === last.at)
      history.reports.pop(); // the later one within a second has it all
    else if (isSame) history.arrivedAt = now.monotonic;
    const { bytesIn = 0, bytesOut = 0, connections = 0 } = status.traffic ?? {};
    const clients = new Map((status.clients ?? []).map((client) => [clientKey(client), countersOf(client)]));
    history.reports.push({ at, totals: { bytesIn, bytesOut, connections }, clients });
    const base = baseline(history.reports, { at });
    if (base !== undefined) history.reports.splice(0, history.reports.indexOf(base));
    this.#histories.set(name, history);
    return history;
  }
}

const NOTHING: Counters = { bytesIn: 0, bytesOut: 0 };

/** The newest report that is far enough from the one at `newest.at`. */
function baseline(reports: readonly Report[], newest: { at: number }): Report | undefined {
  return reports.findLast(({ at }) => newest.at - at >= MIN_SPAN_MS);
}

function countersOf({ bytesIn = 0, bytesOut = 0 }: RouterStatusClient): Counters {
  return { bytesIn, bytesOut };
}

/** A client that connected anew counts anew. */
function clientKey({ id, role, type, serviceName, remoteAddr, connectedAt }: RouterStatusClient): string {
  return JSON.stringify([id, role, type, serviceName, remoteAddr, connectedAt]);
}

function trustOf(router: Router, ageMs: number | undefined, wallMs: number): { trust: Trust; why: string } {
  const { annotations = {} } = router.metadata;
  const condition = (wanted: string) => router.status?.conditions?.find(({ type }) => type === wanted);
  const ready = condition(CONDITION_READY);
  if (ageMs === undefined || ready === undefined) return { trust: 'Unknown', why: 'never reported' };
  if (annotations[ORIGIN_ANNOTATION] !== undefined) {
    const synced = condition(CONDITION_SYNCED);
    if (synced?.status === 'False') return { trust: 'Stale', why: synced.message ?? synced.reason ?? '' };
    if (wallMs - Date.parse(annotations[SYNCED_AT_ANNOTATION] ?? '') > CONFIRMATION_LIMIT_MS)
      return { trust: 'Stale', why: 'not confirmed by the syncer' };
  }
  if (ageMs > HEARTBEAT_LIMIT_MS) return { trust: 'Silent', why: 'no report' };
  if (ready.status !== 'True') return { trust: 'NotReady', why: ready.message ?? ready.reason ?? '' };
  return { trust: 'Ready', why: '' };
}
