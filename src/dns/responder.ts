/** One message in, at most one out: protocol rules in front of the handler chain. Touches no socket and never throws. */
import { errorMessage } from '../lib/errors.ts';
import { encodeRecordData } from './codec.ts';
import {
  CLASS,
  emptyReply,
  encodeHeaderOnly,
  encodeReply,
  isCommon,
  parseQuery,
  RCODE,
  TCP_MESSAGE_BYTES,
  TYPE,
  udpLimit,
} from './wire.ts';
import type { Logger } from '../lib/log.ts';
import type { Next } from './chain.ts';
import type { Counters, Transport } from './counters.ts';
import type { PacketMemory } from './packet-memory.ts';
import type { Query, Reply } from './wire.ts';

/** What a responder needs. */
export interface ResponderOptions {
  chain: Next;
  /** Changes when what the chain answers may have changed; remembered answers are forgotten then. */
  version: () => number;
  now: () => number;
  counters: Counters;
  log: Logger;
  /** Queries that may wait for an upstream at once; more are answered SERVFAIL. */
  maxPending: number;
  /** Keeps finished answers. */
  memory: PacketMemory;
}

/** Answers messages. */
export interface Responder {
  /** The answer, now or later (never rejects); undefined when the message must not be answered. */
  respond(bytes: Buffer, transport: Transport): Buffer | Promise<Buffer> | undefined;
  /** Queries that wait for an upstream. */
  readonly pending: number;
}

/** Creates a responder. */
export function createResponder(options: ResponderOptions): Responder {
  const { chain, counters, log, maxPending, now, version, memory } = options;
  let memoryVersion = version();
  let pending = 0;

  const finish = (query: Query, reply: Reply, transport: Transport): Buffer => {
    const kind = counters.answered(transport, query.type, reply.rcode, reply.handler);
    if (transport === 'tcp') return encodeReply(query, reply, TCP_MESSAGE_BYTES);
    const answer = encodeReply(query, reply, udpLimit(query));
    if (reply.sameUntil !== undefined && isCommon(query))
      memory.set(query.bytes, answer, reply.sameUntil, kind);
    return answer;
  };

  const recall = (bytes: Buffer): Buffer | undefined => {
    if (version() !== memoryVersion) {
      memory.clear();
      memoryVersion = version();
    }
    const answer = memory.get(bytes, now);
    if (answer === undefined) return undefined;
    counters.answeredLike(memory.hitTag);
    if (memory.hitUntil !== Number.POSITIVE_INFINITY) counters.cacheHits += 1; // the zone's are good for ever
    return answer;
  };

  const fail = (query: Query, err: unknown, transport: Transport): Buffer => {
    counters.internalErrors += 1;
    log.error('dns query failed', { error: errorMessage(err) });
    return finish(query, emptyReply('protocol', RCODE.SERVFAIL), transport);
  };

  const finishLater = async (query: Query, reply: Promise<Reply>, transport: Transport): Promise<Buffer> => {
    pending += 1;
    try {
      return finish(query, await reply, transport);
    } catch (err) {
      return fail(query, err, transport);
    } finally {
      pending -= 1;
    }
  };

  return {
    get pending() {
      return pending;
    },
    respond(bytes, transport) {
      const recalled = transport === 'udp' ? recall(bytes) : undefined;
      if (recalled !== undefined) return recalled;
      const query = parseQuery(bytes);
      if (query === undefined) {
        counters.dropped += 1;
        return undefined;
      }
      if (typeof query === 'number') {
        counters.answered(transport, 0, query, 'protocol');
        return encodeHeaderOnly(bytes, query);
      }
      try {
        const refusal = protocolReply(query);
        if (refusal !== undefined) return finish(query, refusal, transport);
        const answer = chain(query);
        if (!(answer instanceof Promise)) return finish(query, answer, transport);
        if (pending < maxPending) return finishLater(query, answer, transport);
        counters.overflows += 1;
        answer.catch((err: unknown) => log.error('dns query failed', { error: errorMessage(err) }));
        return finish(query, emptyReply('protocol', RCODE.SERVFAIL), transport);
      } catch (err) {
        return fail(query, err, transport);
      }
    },
  };
}

// Rules that hold for every name. Undefined: ask the chain.
function protocolReply(query: Query): Reply | undefined {
  if (query.edns !== undefined && query.edns.version !== 0) return emptyReply('protocol', RCODE.BADVERS);
  if (query.qclass === CLASS.CH) return chaosReply(query);
  if (query.qclass !== CLASS.IN) return emptyReply('protocol', RCODE.REFUSED);
  if (query.type === TYPE.OPT || query.type === 0) return emptyReply('protocol', RCODE.FORMERR);
  // Transaction types and zone transfers (RFC 6895 3.1): nothing here for them, and nothing to pass on.
  if (query.type >= 128 && query.type < TYPE.ANY) return emptyReply('protocol', RCODE.REFUSED);
  return undefined;
}

const VERSION_BIND = '\u0007version\u0004bind\0';

// `dig CH TXT version.bind` is how operators ask who answers; the version number itself is nobody's business.
function chaosReply(query: Query): Reply {
  if (query.name !== VERSION_BIND || query.type !== TYPE.TXT) return emptyReply('protocol', RCODE.REFUSED);
  const head = Buffer.from([0xc0, 12, 0, TYPE.TXT, 0, CLASS.CH, 0, 0, 0, 0]);
  const body = Buffer.concat([head, encodeRecordData({ type: 'TXT', data: 'edge' })]);
  return { ...emptyReply('protocol', RCODE.NOERROR), answers: 1, body };
}
