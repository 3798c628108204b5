/**
 * Remembers what upstreams answered for as long as they allow, longer while they are out of reach (RFC 8767), and for a moment
 * what they could not answer (RFC 9520). What the zone answers never comes here.
 */
import { ageReply, staleReply } from '../records.ts';
import { emptyReply, EXTENDED_ERROR, questionKey, RCODE } from '../wire.ts';
import type { Clock } from '../../lib/clock.ts';
import type { AnswerCache, CacheEntry } from '../answer-cache.ts';
import type { Handler } from '../chain.ts';
import type { DnsLimits } from '../config.ts';
import type { Counters } from '../counters.ts';
import type { FailureMemory } from '../failure-memory.ts';
import type { Reply } from '../wire.ts';

/** TTL of an expired answer, seconds: clients come back soon (RFC 8767 4). */
const STALE_TTL_SECONDS = 30;

/** What the handler needs. */
export interface CacheOptions {
  cache: AnswerCache;
  failures: FailureMemory;
  counters: Counters;
  clock: Clock;
  limits: Pick<DnsLimits, 'staleMs' | 'staleWaitMs' | 'staleRecheckMs'>;
}

/** Creates the handler. */
export function createCacheHandler({ cache, failures, counters, clock, limits }: CacheOptions): Handler {
  const serveStale = (entry: CacheEntry): Reply => {
    counters.staleAnswers += 1;
    return staleReply(entry.reply, STALE_TTL_SECONDS, EXTENDED_ERROR.STALE_ANSWER);
  };

  // Stores what the upstreams said; puts the expired answer in the place of a failure.
  const settle = (key: string, reply: Reply, expired: CacheEntry | undefined): Reply => {
    if (reply.handler !== 'forward') return reply;
    if (reply.rcode !== RCODE.SERVFAIL && reply.rcode !== RCODE.REFUSED) {
      if (reply.freshness === undefined) cache.delete(key);
      else cache.set(key, reply, clock.now());
      failures.answered(key);
      return reply;
    }
    if (expired === undefined) {
      failures.failed(key, reply.rcode, clock.now());
      return reply;
    }
    expired.recheckAt = clock.now() + limits.staleRecheckMs;
    return serveStale(expired);
  };

  const withinPatience = (refreshed: Promise<Reply>, expired: CacheEntry): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const timer = clock.after(limits.staleWaitMs, () => resolve(serveStale(expired)));
      refreshed.then(resolve, reject).finally(() => timer.cancel());
    });

  return (query, next) => {
    const key = questionKey(query);
    const entry = cache.get(key);
    const now = clock.now();
    if (entry !== undefined && now < entry.expiresAt) {
      counters.cacheHits += 1;
      const elapsedSeconds = Math.floor((now - entry.storedAt) / 1000);
      return ageReply(entry.reply, elapsedSeconds, entry.storedAt + (elapsedSeconds + 1) * 1000);
    }
    const failure = failures.get(key, now);
    if (failure !== undefined) {
      counters.cacheHits += 1;
      return emptyReply('cache', failure, EXTENDED_ERROR.CACHED_ERROR);
    }
    counters.cacheMisses += 1;
    const expired = entry !== undefined && now < entry.expiresAt + limits.staleMs ? entry : undefined;
    if (expired !== undefined && now < expired.recheckAt) return serveStale(expired);
    const answer = next(query);
    if (!(answer instanceof Promise)) return expired === undefined ? answer : settle(key, answer, expired); // nobody was asked
    const refreshed = answer.then((reply) => settle(key, reply, expired));
    return expired === undefined ? refreshed : withinPatience(refreshed, expired);
  };
}
