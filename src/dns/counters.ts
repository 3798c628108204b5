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
const TYPES = Object.entries(TYPE);
// Cell 0 is every type without a name here; all that have one are below 256.
const TYPE_CELL = new Uint8Array(256);
for (const [index, [, type]] of TYPES.entries()) TYPE_CELL[type] = index + 1;
const TYPE_CELLS = TYPES.length + 1;
const RCODE_CELLS = 32;
const HANDLER_CELLS = HANDLERS.length;
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
  /** TCP connections that found the limit reached and none of the others idle. */
  connectionsRefused = 0;
  /** Faults of this program that were answered SERVFAIL. */
  internalErrors = 0;
  /** One cell for each transport, handler, rcode and type. */
  readonly #queries = new Float64Array(TYPE_CELLS * RCODE_CELLS * HANDLER_CELLS * 2);

  /** Counts one answer and gives its kind, with which others like it are counted faster. */
  answered(transport: Transport, type: number, rcode: number, handler: HandlerName): number {
    const typeCell = type < TYPE_CELL.length ? (TYPE_CELL[type] ?? 0) : 0;
    const cell = (typeCell * RCODE_CELLS + (rcode & 31)) * HANDLER_CELLS + HANDLERS.indexOf(handler);
    const kind = cell * 2 + (transport === 'tcp' ? 1 : 0);
    this.answeredLike(kind);
    return kind;
  }

  /** Counts one more answer of this kind. */
  answeredLike(kind: number): void {
    this.#queries[kind] = (this.#queries[kind] ?? 0) + 1;
  }

  /** Every kind of answer given so far. */
  queries(): QueryCount[] {
    const found: QueryCount[] = [];
    for (const [index, count] of this.#queries.entries()) {
      if (count === 0) continue;
      const cell = index >>> 1;
      const rcode = Math.floor(cell / HANDLER_CELLS) % RCODE_CELLS;
      found.push({
        transport: (index & 1) === 1 ? 'tcp' : 'udp',
        type: TYPES[Math.floor(cell / HANDLER_CELLS / RCODE_CELLS) - 1]?.[0] ?? 'other',
        rcode: RCODE_NAMES.get(rcode) ?? String(rcode),
        handler: HANDLERS[cell % HANDLER_CELLS] ?? 'protocol',
        count,
      });
    }
    return found;
  }
}
