/** The upstream servers: their order, their health, and one question asked of them until someone answers. */
import { formatHostPort } from '../lib/address.ts';
import { Backoff } from '../lib/backoff.ts';
import { errorMessage } from '../lib/errors.ts';
import { exchangeTcp, exchangeUdp } from './exchange.ts';
import { race } from './race.ts';
import { parseUpstreamAnswer } from './records.ts';
import {
  emptyReply,
  encodeUpstreamQuery,
  EXTENDED_ERROR,
  FLAG,
  HEADER_BYTES,
  lowerName,
  RCODE,
  readUint16,
  TYPE,
} from './wire.ts';
import type { HostPort } from '../lib/address.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { DnsLimits } from './config.ts';
import type { Counters } from './counters.ts';
import type { Query, Reply } from './wire.ts';

/** What a pool needs. */
export interface UpstreamPoolOptions {
  limits: Pick<DnsLimits, 'tryTimeoutMs' | 'totalTimeoutMs'>;
  counters: Counters;
  clock: Clock;
  /** 0 to 1; query ids come from it, so it must not be predictable. */
  random: () => number;
  log: Logger;
  /** One that was down answers again. */
  onBack: () => void;
}

/** How one upstream does. */
export interface UpstreamStatus {
  address: string;
  isDown: boolean;
  queries: number;
  failures: number;
}

/** Failures in a row after which an upstream is asked last: one lost datagram is no outage. */
const MAX_FAILURES = 2;
/** Tries of one question, over all upstreams. */
const MAX_TRIES = 4;
/** How often an upstream that is down is probed. */
const PROBE_BACKOFF = { initialMs: 500, maxMs: 10_000 } as const;
/** An upstream that takes this many of its usual round trips is late, and the next one is asked too. */
const PATIENCE_ROUND_TRIPS = 3;
/** Bounds of that, milliseconds; the upper one, which also stands in before the first answer, is for asking another upstream. */
const PATIENCE_MS = { min: 100, max: 300 } as const;
/** How long one that was late is asked after the others, milliseconds. */
const LATE_MS = 10_000;
/** Tries under way up to which one that lost goes on, to know how its upstream does; beyond, it is aborted. */
const MAX_LINGERING = 64;

interface Upstream {
  readonly address: HostPort;
  readonly backoff: Backoff;
  consecutiveFailures: number;
  queries: number;
  failures: number;
  probe: Timer | undefined;
  /** Smoothed, milliseconds. */
  roundTripMs: number | undefined;
  lateUntil: number;
}

/** A set of upstreams. */
export class UpstreamPool {
  readonly #options: UpstreamPoolOptions;
  #upstreams: Upstream[] = [];
  readonly #waiting = new Set<AbortController>();
  /** Ids and questions under way, to know our own queries when they come back. */
  readonly #own = new Set<string>();
  #isClosed = false;

  constructor(options: UpstreamPoolOptions) {
    this.#options = options;
  }

  /** Number of upstreams. */
  get size(): number {
    return this.#upstreams.length;
  }

  /** Makes these the upstreams; those that stay keep their health. Questions under way are not disturbed. */
  replace(addresses: readonly HostPort[]): void {
    const former = new Map(this.#upstreams.map((upstream) => [addressText(upstream), upstream]));
    this.#upstreams = addresses.map((address) => {
      const text = formatHostPort(address.host, address.port);
      const kept = former.get(text);
      former.delete(text);
      return kept ?? this.#create(address);
    });
    for (const gone of former.values()) gone.probe?.cancel();
  }

  /** Asks until one upstream gives a usable answer; SERVFAIL when none does in time. Never rejects. */
  async resolve(query: Query): Promise<Reply> {
    const { clock, limits } = this.#options;
    const reply = await race({
      entrants: this.#order(),
      clock,
      totalMs: limits.totalTimeoutMs,
      tryMs: limits.tryTimeoutMs,
      patienceMs: (upstream, next) => {
        const maxMs = next === upstream ? limits.tryTimeoutMs : PATIENCE_MS.max;
        const usualMs = upstream.roundTripMs ?? PATIENCE_MS.max / PATIENCE_ROUND_TRIPS;
        return Math.min(Math.max(usualMs * PATIENCE_ROUND_TRIPS, PATIENCE_MS.min), maxMs);
      },
      ask: (upstream, limitMs, abandoned) => this.#try(upstream, query, limitMs, abandoned),
      onLate: (upstream) => {
        upstream.lateUntil = clock.now() + LATE_MS;
      },
      mayLinger: () => this.#waiting.size <= MAX_LINGERING,
    });
    return reply ?? emptyReply('forward', RCODE.SERVFAIL, EXTENDED_ERROR.NO_REACHABLE_AUTHORITY);
  }

  /** Whether a query that reached us is one of ours: an upstream points back here. */
  isOwn(query: Query): boolean {
    return this.#own.size > 0 && this.#own.has(ownKey(readUint16(query.bytes, 0), query));
  }

  /** How each upstream does, in order. */
  status(): UpstreamStatus[] {
    return this.#upstreams.map((upstream) => ({
      address: addressText(upstream),
      isDown: isDown(upstream),
      queries: upstream.queries,
      failures: upstream.failures,
    }));
  }

  /** Ends every question under way; none is asked any more. */
  close(): void {
    this.#isClosed = true;
    this.replace([]);
    for (const controller of this.#waiting) controller.abort();
  }

  #create(address: HostPort): Upstream {
    const backoff = new Backoff(PROBE_BACKOFF, this.#options.random);
    return {
      address,
      backoff,
      consecutiveFailures: 0,
      queries: 0,
      failures: 0,
      probe: undefined,
      roundTripMs: undefined,
      lateUntil: 0,
    };
  }

  // Healthy ones as configured, then those that were late, then those that are down: a wrong memory must not make a name
  // unreachable. A lone upstream gets a second try, because UDP loses datagrams.
  #order(): Upstream[] {
    const now = this.#options.clock.now();
    const rank = (upstream: Upstream): number => (isDown(upstream) ? 2 : upstream.lateUntil > now ? 1 : 0);
    const order = this.#upstreams.toSorted((a, b) => rank(a) - rank(b));
    return (order.length === 1 ? [...order, ...order] : order).slice(0, MAX_TRIES);
  }

  async #try(
    upstream: Upstream,
    query: Query,
    limitMs: number,
    abandoned?: AbortSignal,
  ): Promise<Reply | undefined> {
    const { clock, counters, log } = this.#options;
    if (this.#isClosed) return undefined;
    const startedAt = clock.now();
    upstream.queries += 1;
    counters.upstreamQueries += 1;
    try {
      const reply = await this.#ask(upstream, query, limitMs, abandoned);
      this.#succeeded(upstream, clock.now() - startedAt);
      return reply;
    } catch (err) {
      if (this.#isClosed || abandoned?.aborted === true) return undefined;
      counters.upstreamFailures += 1;
      log.debug('dns upstream failed', { upstream: addressText(upstream), error: errorMessage(err) });
      this.#failed(upstream);
      return undefined;
    }
  }

  // UDP first, TCP when the answer did not fit, and once more without EDNS for servers from before 1999 (RFC 6891 7).
  async #ask(
    upstream: Upstream,
    query: Query,
    limitMs: number,
    abandoned: AbortSignal | undefined,
  ): Promise<Reply> {
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    const timer = this.#options.clock.after(limitMs, abort);
    abandoned?.addEventListener('abort', abort, { once: true });
    this.#waiting.add(controller);
    try {
      let hasEdns = true;
      let answer = await this.#exchange(exchangeUdp, upstream, query, controller.signal, hasEdns);
      const rcode = readUint16(answer, 2) & 15;
      if (rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP) {
        hasEdns = false;
        answer = await this.#exchange(exchangeUdp, upstream, query, controller.signal, hasEdns);
      }
      if ((readUint16(answer, 2) & FLAG.TC) !== 0) {
        answer = await this.#exchange(exchangeTcp, upstream, query, controller.signal, hasEdns);
      }
      const hasQuestion = readUint16(answer, 4) === 1;
      const reply = hasQuestion ? parseUpstreamAnswer(answer, query.questionEnd) : undefined;
      return reply ?? emptyReply('forward', RCODE.SERVFAIL);
    } finally {
      timer.cancel();
      abandoned?.removeEventListener('abort', abort);
      this.#waiting.delete(controller);
    }
  }

  async #exchange(
    exchange: typeof exchangeUdp,
    upstream: Upstream,
    query: Query,
    signal: AbortSignal,
    hasEdns: boolean,
  ): Promise<Buffer> {
    const id = Math.floor(this.#options.random() * 65_536) & 0xffff;
    const message = encodeUpstreamQuery(query, id, hasEdns);
    const key = ownKey(id, query);
    this.#own.add(key);
    const accept = (answer: Buffer): boolean => {
      const isMatch = isAnswerTo(message, query.questionEnd, answer);
      if (!isMatch) this.#options.counters.mismatches += 1;
      return isMatch;
    };
    try {
      return await exchange(upstream.address, message, accept, signal);
    } finally {
      this.#own.delete(key);
    }
  }

  #succeeded(upstream: Upstream, elapsedMs: number): void {
    upstream.roundTripMs = ((upstream.roundTripMs ?? elapsedMs) * 3 + elapsedMs) / 4;
    if (isDown(upstream)) {
      this.#options.log.info('dns upstream is back', { upstream: addressText(upstream) });
      this.#options.onBack();
    }
    upstream.consecutiveFailures = 0;
    upstream.backoff.reset();
    upstream.probe?.cancel();
    upstream.probe = undefined;
  }

  #failed(upstream: Upstream): void {
    upstream.failures += 1;
    upstream.consecutiveFailures += 1;
    if (upstream.consecutiveFailures === MAX_FAILURES) {
      this.#options.log.warn('dns upstream is down', { upstream: addressText(upstream) });
    }
    if (isDown(upstream)) this.#probeLater(upstream);
  }

  // In the background, so that no client pays for finding out.
  #probeLater(upstream: Upstream): void {
    if (upstream.probe !== undefined || !this.#upstreams.includes(upstream)) return;
    upstream.probe = this.#options.clock.after(upstream.backoff.next(), () => {
      upstream.probe = undefined;
      if (this.#upstreams.includes(upstream))
        void this.#try(upstream, PROBE, this.#options.limits.tryTimeoutMs);
    });
  }
}

// The name servers of the root: every resolver has an answer to that, and any answer will do.
const PROBE: Query = {
  bytes: Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, TYPE.NS, 0, 1]),
  flags: FLAG.RD,
  name: '\0',
  type: TYPE.NS,
  qclass: 1,
  questionEnd: HEADER_BYTES + 5,
  edns: undefined,
};

function isDown(upstream: Upstream): boolean {
  return upstream.consecutiveFailures >= MAX_FAILURES;
}

// RFC 5452 9.1: the id and the question must be those that were sent; case may differ, some servers fold it. Servers that
// cannot read a query at all leave the question out; that is accepted only together with an error.
function isAnswerTo(sent: Buffer, questionEnd: number, answer: Buffer): boolean {
  if (answer.length < HEADER_BYTES || answer[0] !== sent[0] || answer[1] !== sent[1]) return false;
  const flags = readUint16(answer, 2);
  if ((flags & FLAG.QR) === 0 || (flags & 0x7800) !== 0) return false;
  if (readUint16(answer, 4) === 0) return (flags & 15) !== 0;
  if (readUint16(answer, 4) !== 1 || answer.length < questionEnd) return false;
  return lowerName(answer, questionEnd) === lowerName(sent, questionEnd);
}

function ownKey(id: number, query: Query): string {
  return `${id} ${query.type} ${query.name}`;
}

function addressText(upstream: Upstream): string {
  return formatHostPort(upstream.address.host, upstream.address.port);
}
