/** Builds the replies of owned names; every owner is a pointer into the question, so the client's spelling comes back. */
import { encodeRecordData } from './codec.ts';
import { CLASS, HEADER_BYTES, RCODE, TYPE } from './wire.ts';
import type { Reply } from './wire.ts';
import type { RecordData } from './codec.ts';

/** The question itself as the owner of a record. */
export const QUESTION_OWNER = 0;

const RECORD_TYPE = {
  A: TYPE.A,
  AAAA: TYPE.AAAA,
  PTR: TYPE.PTR,
  SOA: TYPE.SOA,
  SRV: TYPE.SRV,
  HINFO: TYPE.HINFO,
  TXT: TYPE.TXT,
} as const;

/** One record: its owner is the part of the question that starts at this offset, or a name written out (wire form). */
export function encodeRecord(owner: number | string, ttl: number, record: RecordData): Buffer {
  const name = typeof owner === 'string' ? Buffer.from(owner, 'latin1') : pointer(HEADER_BYTES + owner);
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16BE(RECORD_TYPE[record.type], 0);
  fixed.writeUInt16BE(CLASS.IN, 2);
  fixed.writeUInt32BE(ttl, 4);
  return Buffer.concat([name, fixed, encodeRecordData(record)]);
}

function pointer(offset: number): Buffer {
  return Buffer.from([0xc0 | (offset >>> 8), offset & 255]);
}

/** An authoritative reply with records. */
export function positiveReply(answers: readonly Buffer[], additionals: readonly Buffer[] = []): Reply {
  return {
    handler: 'zone',
    rcode: RCODE.NOERROR,
    isAuthoritative: true,
    answers: answers.length,
    authorities: 0,
    additionals: additionals.length,
    sameUntil: Number.POSITIVE_INFINITY,
    body: Buffer.concat([...answers, ...additionals]),
  };
}

/** NODATA or NXDOMAIN with the SOA that says how long to believe it (RFC 2308 3). */
export function negativeReply(rcode: number, soa: Buffer): Reply {
  return {
    handler: 'zone',
    rcode,
    isAuthoritative: true,
    answers: 0,
    authorities: 1,
    additionals: 0,
    sameUntil: Number.POSITIVE_INFINITY,
    body: soa,
  };
}
