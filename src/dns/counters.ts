/** Counts what the responder does; bounded whatever clients ask, cheap enough for every packet. */
import { RCODE, TYPE } from './wire.ts';
import type { HandlerName } from './wire.ts';

/** How a query came. */
export type Transport = 'udp' | 'tcp';

/** Answers of one kind. */
export interface QueryCount {
  transport: Transport;
  /** Record type asked for; `other` for those without a name here. */
  type: string;
  rcode: string;
  handler: HandlerName;
  count: number;
}

const HANDLERS: readonly HandlerName[] = ['zone', 'cache', 'stale', 'forward', 'outside', 'protocol'];
const TYPE_NAMES = new Map<number, string>(Object.entries(TYPE).map(([name, value]) => [value, name]));
const RCODE_NAMES = new Map<number, string>(Object.entries(RCODE).map(([name, value]) => [value, name]));

/** Counters of one responder. */
export class Counters {
  /** Messages that got no answer: too short, responses, clients that are not allowed. */
  dropped = 0;
  cacheHits = 0;
  cacheMisses = 0;
  staleAnswers = 0;
  /** Queries answered SERVFAIL because too many were open. */
  overflows = 0;
  /** Our own upstream queries that came back to us. */
  loops = 0;
  /** Datagrams from an upstream's address that do not answer what was asked; forgeries look like this. */
  mismatches = 0;
  upstreamQueries = 0;
  upstreamFailures = 0;
  /** TCP connections closed at the limit. */
  connectionsRefused = 0;
  /** Faults of this program that were answered SERVFAIL. */
  internalErrors = 0;
  readonly #queries = new Map<number, number>();

  /** Counts one answer. */
  answered(transport: Transport, type: number, rcode: number, handler: HandlerName): void {
    const known = TYPE_NAMES.has(type) ? type : 0;
    // type below 2^16, rcode below 2^5, handler below 2^3, transport one bit: fits a small integer.
    const key =
      (known << 9) | ((rcode & 31) << 4) | (HANDLERS.indexOf(handler) << 1) | (transport === 'tcp' ? 1 : 0);
    this.#queries.set(key, (this.#queries.get(key) ?? 0) + 1);
  }

  /** Every kind of answer given so far. */
  queries(): QueryCount[] {
    return [...this.#queries].map(([key, count]) => ({
      transport: (key & 1) === 1 ? 'tcp' : 'udp',
      type: TYPE_NAMES.get(key >>> 9) ?? 'other',
      rcode: RCODE_NAMES.get((key >>> 4) & 31) ?? String((key >>> 4) & 31),
      handler: HANDLERS[(key >>> 1) & 7] ?? 'protocol',
      count,
    }));
  }
}
