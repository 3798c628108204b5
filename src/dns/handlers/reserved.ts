/** Answers the reserved names `localhost` and `invalid` itself: they mean the same everywhere, and upstreams need not hear of them (RFC 6761 6.3, 6.4). */
import { encodeName, labelOffsets } from '../names.ts';
import { RCODE, TYPE } from '../wire.ts';
import { encodeRecord, negativeReply, positiveReply, QUESTION_OWNER } from '../zone-records.ts';
import type { Handler } from '../chain.ts';
import type { Reply } from '../wire.ts';

/** Nothing about them ever changes. */
const TTL_SECONDS = 3600;
const LOCALHOST = encodeName('localhost');
const INVALID = encodeName('invalid');

/** Creates the handler; a name that is mapped comes first, so put it behind the zone. */
export function createReservedHandler(): Handler {
  const addresses = new Map([
    [
      TYPE.A as number,
      positiveReply([encodeRecord(QUESTION_OWNER, TTL_SECONDS, { type: 'A', data: '127.0.0.1' })]),
    ],
    [
      TYPE.AAAA as number,
      positiveReply([encodeRecord(QUESTION_OWNER, TTL_SECONDS, { type: 'AAAA', data: '::1' })]),
    ],
  ]);
  return (query, next) => {
    const owner = labelOffsets(query.name).at(-1);
    const top = owner === undefined ? '' : query.name.slice(owner);
    if (top === LOCALHOST) return addresses.get(query.type) ?? negative(RCODE.NOERROR, owner ?? 0);
    if (top === INVALID) return negative(RCODE.NXDOMAIN, owner ?? 0);
    return next(query);
  };
}

function negative(rcode: number, ownerOffset: number): Reply {
  const data = {
    mname: 'localhost',
    rname: 'nobody.invalid',
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: TTL_SECONDS,
  };
  return negativeReply(rcode, encodeRecord(ownerOffset, TTL_SECONDS, { type: 'SOA', data }));
}
