/** Asks the upstreams: one question at a time however many clients ask it, and never more than the limit at once. */
import { emptyReply, questionKey, RCODE } from '../wire.ts';
import type { Handler } from '../chain.ts';
import type { Counters } from '../counters.ts';
import type { UpstreamPool } from '../upstream.ts';
import type { Reply } from '../wire.ts';

/** What the handler needs. */
export interface ForwardOptions {
  pool: UpstreamPool;
  counters: Counters;
  /** Different questions under way at once; more are answered SERVFAIL. */
  maxOutstanding: number;
}

/** Creates the handler; without upstreams every query is passed on. */
export function createForwardHandler({ pool, counters, maxOutstanding }: ForwardOptions): Handler {
  const outstanding = new Map<string, Promise<Reply>>();
  return (query, next) => {
    if (pool.size === 0) return next(query);
    if (pool.isOwn(query)) {
      counters.loops += 1;
      return emptyReply('forward', RCODE.SERVFAIL);
    }
    // A loop through a third server arrives here too, with a new id, and ends at the question already under way.
    const key = questionKey(query);
    const shared = outstanding.get(key);
    if (shared !== undefined) return shared;
    if (outstanding.size >= maxOutstanding) {
      counters.overflows += 1;
      return emptyReply('forward', RCODE.SERVFAIL);
    }
    const reply = pool.resolve(query).finally(() => outstanding.delete(key));
    outstanding.set(key, reply);
    return reply;
  };
}
