/** Handlers in a row: each answers a query or passes it on; exactly one reply comes out. */
import { emptyReply, RCODE } from './wire.ts';
import type { Query, Reply } from './wire.ts';

/** A reply now, which keeps the hot path free of promises, or later. */
export type Answer = Reply | Promise<Reply>;
/** Passes a query on. */
export type Next = (query: Query) => Answer;
/** One link: returns its own reply or what `next` returns. It must not throw; a promise it returns must not reject. */
export type Handler = (query: Query, next: Next) => Answer;

/** Joins handlers in order; a query that no one answers is REFUSED. */
export function createChain(handlers: readonly Handler[]): Next {
  const refuse: Next = () => emptyReply('outside', RCODE.REFUSED);
  return handlers.reduceRight<Next>((next, handler) => (query) => handler(query, next), refuse);
}
