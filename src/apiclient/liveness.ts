/** Finds out whether an API server can be reached: notices a silent path within seconds, a healed one within half of one. */
import { Backoff } from '../lib/backoff.ts';
import { sleep } from '../lib/clock.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { ApiClient } from './client.ts';

/** Between two probes of a path in use: a peer counts as gone after at most this and PROBE_LIMIT_MS. */
const PROBE_EVERY_MS = 2000;
/** How long an answer may take: satellite links need about one second with TLS. */
const PROBE_LIMIT_MS = 2500;

/** What a probe reports. */
export interface ProbeEvents {
  onAlive(): void;
  /** Called once; the probing has ended. */
  onDead(err: unknown): void;
}

/** Asks /readyz again and again until cancelled or until it gets no answer. */
export function keepProbing(client: ApiClient, clock: Clock, events: ProbeEvents): Timer {
  const ending = new AbortController();
  const probe = async (): Promise<void> => {
    for (;;) {
      await sleep(clock, PROBE_EVERY_MS, ending.signal);
      if (ending.signal.aborted) return;
      await client.ping({ timeoutMs: PROBE_LIMIT_MS, signal: ending.signal });
      events.onAlive();
    }
  };
  probe().catch((err: unknown) => {
    if (!ending.signal.aborted) events.onDead(err);
  });
  return { cancel: () => ending.abort() };
}

/**
 * Tries overlap while a path swallows packets: each has time for a slow link, and a new one starts often enough that
 * a healed path is used at once.
 */
const MAX_TRIES_AT_ONCE = 6;
const TRY_LIMIT_MS = 5000;
const TRY_SPACING = { initialMs: 100, maxMs: 600 };

/** Resolves when the server answers anything, or the signal aborts; never rejects. */
export async function reach(
  client: ApiClient,
  clock: Clock,
  random: () => number,
  signal: AbortSignal,
): Promise<void> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  signal.addEventListener('abort', end, { once: true });
  const spacing = new Backoff(TRY_SPACING, random);
  let tries = 0;
  while (!ending.signal.aborted && !signal.aborted) {
    if (tries < MAX_TRIES_AT_ONCE) {
      tries++;
      client
        .ping({ timeoutMs: TRY_LIMIT_MS, signal: ending.signal, isFresh: true })
        .then(end, () => {}) // the next try tells
        .finally(() => tries--);
    }
    await sleep(clock, spacing.next(), ending.signal);
  }
  signal.removeEventListener('abort', end);
}
