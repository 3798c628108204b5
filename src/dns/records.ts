/** Reads what an upstream answered: checks its structure, cuts off its OPT, and finds the TTLs that age in a cache. */
import { RCODE, readUint16, readUint32, skipName, TYPE } from './wire.ts';
import type { Reply } from './wire.ts';

/** Longest time that an answer is believed, seconds: a day, so that a wrong TTL heals (RFC 8767 4 advises a week at most). */
export const MAX_TTL_SECONDS = 86_400;
/** Longest time that "there is no such name" is believed, seconds; RFC 2308 5 allows hours, an edge node gains names sooner. */
export const MAX_NEGATIVE_TTL_SECONDS = 300;

/** Turns a message whose question ends at `questionEnd` into a reply; undefined when it is malformed. */
export function parseUpstreamAnswer(bytes: Uint8Array, questionEnd: number): Reply | undefined {
  const counts = [readUint16(bytes, 6), readUint16(bytes, 8), readUint16(bytes, 10)] as const;
  const rcode = readUint16(bytes, 2) & 15;
  const ttlOffsets: number[] = [];
  let positiveSeconds = MAX_TTL_SECONDS;
  let negativeSeconds: number | undefined;
  let kept = 0;
  let offset = questionEnd;
  for (const [section, count] of counts.entries()) {
    kept = 0;
    for (; kept < count; kept += 1) {
      const nameEnd = skipName(bytes, offset);
      if (nameEnd < 0 || nameEnd + 10 > bytes.length) return undefined;
      const type = readUint16(bytes, nameEnd);
      const end = nameEnd + 10 + readUint16(bytes, nameEnd + 8);
      if (end > bytes.length) return undefined;
      if (type === TYPE.OPT) {
        // OPT is hop by hop. What follows it (rarely anything) is optional too, and moving it would break pointers.
        if (section !== 2 || bytes[nameEnd + 4] !== 0) return undefined;
        break;
      }
      ttlOffsets.push(nameEnd + 4 - questionEnd);
      const seconds = ttlSeconds(bytes, nameEnd + 4);
      if (section === 0) positiveSeconds = Math.min(positiveSeconds, seconds);
      if (section === 1 && type === TYPE.SOA) {
        negativeSeconds = Math.min(seconds, readUint32(bytes, end - 4), MAX_NEGATIVE_TTL_SECONDS);
      }
      offset = end;
    }
  }
  const isNegative = rcode === RCODE.NXDOMAIN || counts[0] === 0;
  const seconds = isNegative ? Math.min(negativeSeconds ?? 0, positiveSeconds) : positiveSeconds;
  const isCacheable = seconds > 0 && (rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN);
  const reply: Reply = {
    handler: 'forward',
    rcode,
    isAuthoritative: false,
    answers: counts[0],
    authorities: counts[1],
    additionals: kept,
    body: ownCopy(bytes.subarray(questionEnd, offset)),
  };
  return isCacheable ? { ...reply, freshness: { seconds, ttlOffsets } } : reply;
}

// A cached view would keep a whole TCP chunk alive, a small Buffer.from() its share of the pool.
function ownCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

// A TTL with the top bit set counts as zero (RFC 2181 8).
function ttlSeconds(bytes: Uint8Array, offset: number): number {
  const seconds = readUint32(bytes, offset);
  return seconds > 0x7fff_ffff ? 0 : seconds;
}

/** A copy of a cached reply whose TTLs are `elapsedSeconds` older, never below one second; the next second is `sameUntil`. */
export function ageReply(reply: Reply, elapsedSeconds: number, sameUntil: number): Reply {
  return { ...withTtls(reply, 'cache', (seconds) => Math.max(1, seconds - elapsedSeconds)), sameUntil };
}

/** A copy of an expired reply with the short TTL that RFC 8767 4 asks for, seconds. */
export function staleReply(reply: Reply, ttl: number, extendedError: number): Reply {
  return { ...withTtls(reply, 'stale', () => ttl), extendedError };
}

function withTtls(reply: Reply, handler: 'cache' | 'stale', change: (seconds: number) => number): Reply {
  const body = Buffer.from(reply.body);
  for (const offset of reply.freshness?.ttlOffsets ?? []) {
    body.writeUInt32BE(change(ttlSeconds(body, offset)), offset);
  }
  return { ...reply, handler, body };
}
