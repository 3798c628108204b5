/**
 * Keeps the written status true: a change that others route by is written within 100 ms, counters with the
 * heartbeat. Level-triggered: every write carries the newest state, and a failed one is retried with that.
 */
import type { RouterStatus } from '../api/gen/types.ts';
import { Backoff } from '../lib/backoff.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import { within } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import { statusKeys, urgencyOf } from './status.ts';
import type { StatusKeys } from './status.ts';

/** What the reporter needs. */
export interface ReporterDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  /** What is true now; undefined while there is no object to write to. */
  snapshot: () => RouterStatus | undefined;
  /** Writes a status; rejects when it was not stored. */
  write: (status: RouterStatus, signal: AbortSignal) => Promise<void>;
}

/** Between two heartbeats, milliseconds; a reader may take a Router for lost after three. */
export const HEARTBEAT_MS = 30_000;
/** Changes within this time go out together. */
const COALESCE_MS = 30;
/** Clients come and go with single connections; their rows are written no more often than this. */
const CLIENTS_MS = 2000;
/** A comparison takes one part in this many of the time, where routing is not kept waiting for it … */
const COMPARE_SHARE = 10;
/** … longer than this, milliseconds: with the time of coalescing it stays under 100. */
const MAX_REST_MS = 65;
/** A comparison that is slow even so may take one part in this many. */
const BUSY_SHARE = 3;
/** A server that has not answered by then is tried anew. */
const WRITE_TIMEOUT_MS = 10_000;
/** How long a stopping router waits for its last write. */
const LAST_WRITE_MS = 1000;
const RETRY = { initialMs: 200, maxMs: 10_000 };

/** Writes the status of one Router. */
export class StatusReporter {
  readonly #deps: ReporterDeps;
  readonly #backoff: Backoff;
  #written: StatusKeys | undefined;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #timerDueMs = 0;
  #quietUntil = 0;
  #retryAt = 0;
  #writing: Promise<void> | undefined;
  #abort = new AbortController();
  #isStopped = false;
  #isFailing = false;
  #writes = 0;
  #failures = 0;

  constructor(deps: ReporterDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff(RETRY, deps.random);
  }

  /** Writes stored and failed so far. */
  get counts(): { writes: number; failures: number } {
    return { writes: this.#writes, failures: this.#failures };
  }

  /** Notes that something may have changed. Cheap; call it as often as it is true. */
  notify(): void {
    this.#schedule(COALESCE_MS);
  }

  /** Forgets what is written, as when the object was made anew, and retries now instead of after the back-off. */
  rewrite(): void {
    this.#written = undefined;
    this.retryNow();
  }

  /** Ends the wait of the back-off: the API server is back. */
  retryNow(): void {
    this.#backoff.reset();
    this.#retryAt = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#schedule(COALESCE_MS);
  }

  /** Writes the state as it is now a last time, for at most a second, and ends. Idempotent. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const last = async (): Promise<void> => {
      await this.#writing;
      const status = this.#deps.snapshot();
      if (status !== undefined) await this.#write(status, statusKeys(status));
    };
    await within(last(), LAST_WRITE_MS);
    this.#abort.abort();
    await this.#writing;
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped || this.#writing !== undefined) return; // a finished write looks again by itself
    const now = this.#deps.clock.now();
    const dueMs = Math.max(now + delayMs, this.#quietUntil, this.#retryAt);
    if (this.#timer !== undefined) {
      if (this.#timerDueMs <= dueMs) return;
      this.#timer.cancel();
    }
    this.#timerDueMs = dueMs;
    this.#timer = this.#deps.clock.after(dueMs - now, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  #look(): void {
    if (this.#isStopped || this.#writing !== undefined) return;
    const { clock } = this.#deps;
    const startedAt = clock.now();
    const status = this.#deps.snapshot();
    if (status === undefined) return;
    const keys = statusKeys(status);
    const urgency = urgencyOf(this.#written, keys);
    const now = clock.now();
    const costMs = now - startedAt;
    this.#quietUntil = now + Math.min(costMs * COMPARE_SHARE, Math.max(MAX_REST_MS, costMs * BUSY_SHARE));
    const waitMs = urgency === 'now' ? 0 : urgency === 'soon' ? CLIENTS_MS : HEARTBEAT_MS;
    const dueInMs = this.#writtenAt + waitMs - now;
    if (dueInMs > 0) {
      this.#schedule(dueInMs);
      return;
    }
    this.#writing = this.#write(status, keys).finally(() => {
      this.#writing = undefined;
      this.#schedule(COALESCE_MS);
    });
  }

  /** Never rejects: a failure sets the time of the next try. */
  async #write(status: RouterStatus, keys: StatusKeys): Promise<void> {
    if (this.#abort.signal.aborted) return; // stop() has waited long enough
    const { clock, log } = this.#deps;
    const limit = new AbortController();
    const timer = clock.after(WRITE_TIMEOUT_MS, () => limit.abort());
    const onStop = (): void => limit.abort();
    this.#abort.signal.addEventListener('abort', onStop, { once: true });
    try {
      await this.#deps.write(status, limit.signal);
      this.#writes++;
      this.#written = keys;
      this.#writtenAt = clock.now();
      this.#backoff.reset();
      this.#retryAt = 0;
      if (this.#isFailing) log.info('status is written again');
      this.#isFailing = false;
    } catch (err) {
      this.#failures++;
      this.#retryAt = clock.now() + this.#backoff.next();
      // an outage is told once, not at every try
      if (this.#isFailing) log.debug('cannot write the status', { error: errorMessage(err) });
      else log.warn('cannot write the status, retrying', { error: errorMessage(err) });
      this.#isFailing = true;
    } finally {
      timer.cancel();
      this.#abort.signal.removeEventListener('abort', onStop);
    }
  }
}
