/**
 * The DNS message as bytes (RFC 1035 4.1): reads queries and writes replies without a socket, a codec or a throw.
 *
 * A name stays in its wire form (length bytes included, ASCII lower case, latin1 string): no two names collide, and
 * it is the key of every table here.
 */

/** Size of the fixed header, bytes (RFC 1035 4.1.1). */
export const HEADER_BYTES = 12;
/** Largest UDP answer to a query without EDNS, bytes (RFC 1035 4.2.1). */
export const PLAIN_UDP_BYTES = 512;
/** UDP size that we offer and never exceed, bytes: fits the smallest IPv6 path unfragmented (DNS flag day 2020). */
export const EDNS_UDP_BYTES = 1232;
/** Largest message over TCP, bytes (RFC 1035 4.2.2). */
export const TCP_MESSAGE_BYTES = 65_535;

/** Record types that this responder knows by number (IANA DNS parameters). */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  DS: 43,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
} as const;

/** Classes (RFC 1035 3.2.4). */
export const CLASS = { IN: 1, CH: 3 } as const;

/** Response codes; BADVERS needs an OPT record to be expressed (RFC 6891 6.1.3). */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

/** Extended errors that we send (RFC 8914 5.2). */
export const EXTENDED_ERROR = {
  STALE_ANSWER: 3,
  CACHED_ERROR: 13,
  NOT_READY: 14,
  NO_REACHABLE_AUTHORITY: 22,
} as const;

/** Bits of the second header word. */
export const FLAG = { QR: 0x8000, AA: 0x0400, TC: 0x0200, RD: 0x0100, RA: 0x0080, CD: 0x0010 } as const;

/** What the OPT record of a query says (RFC 6891 6.1). */
export interface Edns {
  /** What the client can receive over UDP, bytes, as it said. */
  readonly payloadBytes: number;
  readonly version: number;
  readonly isDnssecOk: boolean;
}

/** A query that was read whole; `bytes` belong to it. */
export interface Query {
  readonly bytes: Buffer;
  readonly flags: number;
  /** Wire form, lower case. */
  readonly name: string;
  readonly type: number;
  readonly qclass: number;
  /** Offset after the question. */
  readonly questionEnd: number;
  readonly edns: Edns | undefined;
}

/** Which part of the responder made a reply. */
export type HandlerName = 'zone' | 'cache' | 'stale' | 'forward' | 'outside' | 'protocol';

/** An answer before it is bound to one query: everything after the question. */
export interface Reply {
  readonly handler: HandlerName;
  readonly rcode: number;
  readonly isAuthoritative: boolean;
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
  /** The records; compression pointers count from a header and a question of the same length. */
  readonly body: Buffer;
  /** Sent to clients that speak EDNS (RFC 8914). */
  readonly extendedError?: number;
  /** How long and by which offsets (from the start of `body`) its TTLs may be aged; absent: never cached. */
  readonly freshness?: { readonly seconds: number; readonly ttlOffsets: readonly number[] };
  /**
   * Until when (of the monotonic clock, milliseconds) the same bytes get the same answer: Infinity as long as the zone
   * says the same. Absent: the next query must be looked at.
   */
  readonly sameUntil?: number;
}

const NO_BYTES = Buffer.alloc(0);
/** An OPT record without options, bytes. */
const PLAIN_OPT_BYTES = 11;

/** A reply without records. */
export function emptyReply(handler: HandlerName, rcode: number, extendedError?: number): Reply {
  const base = {
    handler,
    rcode,
    isAuthoritative: false,
    answers: 0,
    authorities: 0,
    additionals: 0,
    body: NO_BYTES,
  };
  return extendedError === undefined ? base : { ...base, extendedError };
}

/** Reads 16 bits; 0 past the end. */
export function readUint16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

/** Reads 32 bits, unsigned; 0 past the end. */
export function readUint32(bytes: Uint8Array, offset: number): number {
  return readUint16(bytes, offset) * 65_536 + readUint16(bytes, offset + 2);
}

/** The offset after a name that may be compressed, or -1 when it is malformed; pointers only go back (RFC 1035 4.1.4). */
export function skipName(bytes: Uint8Array, start: number): number {
  for (let offset = start; offset < bytes.length;) {
    const length = bytes[offset] ?? 0;
    if (length === 0) return offset + 1;
    if (length >= 0xc0) {
      const target = readUint16(bytes, offset) & 0x3fff;
      return offset + 2 <= bytes.length && target >= HEADER_BYTES && target < start ? offset + 2 : -1;
    }
    if (length > 63) return -1; // 01 and 10 are reserved (RFC 6891 5)
    offset += length + 1;
    if (offset - start > 254) return -1;
  }
  return -1;
}

/**
 * Reads a query. A number is the rcode to answer with; undefined means drop: too short to have a header, or itself a
 * response, which must never be answered or two responders could talk for ever.
 */
export function parseQuery(bytes: Buffer): Query | number | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = readUint16(bytes, 2);
  if ((flags & FLAG.QR) !== 0) return undefined;
  if ((flags & 0x7800) !== 0) return RCODE.NOTIMP;
  if (readUint16(bytes, 4) !== 1) return RCODE.FORMERR; // RFC 9619
  const nameEnd = questionNameEnd(bytes);
  const questionEnd = nameEnd + 4;
  if (nameEnd < 0 || questionEnd > bytes.length) return RCODE.FORMERR;
  const isPlain = bytes[7] === 0 && bytes[9] === 0 && bytes[11] === 0 && bytes[6] === 0 && bytes[8] === 0;
  const edns = isPlain && bytes[10] === 0 ? undefined : findEdns(bytes, questionEnd);
  if (edns === null) return RCODE.FORMERR;
  return {
    bytes,
    flags,
    name: lowerName(bytes, nameEnd),
    type: readUint16(bytes, nameEnd),
    qclass: readUint16(bytes, nameEnd + 2),
    questionEnd,
    edns,
  };
}

// The first name of a message has nothing to point back to, so a pointer here is malformed.
function questionNameEnd(bytes: Uint8Array): number {
  for (let offset = HEADER_BYTES; offset < bytes.length;) {
    const length = bytes[offset] ?? 0;
    if (length === 0) return offset + 1;
    if (length > 63) return -1;
    offset += length + 1;
    if (offset - HEADER_BYTES > 254) return -1;
  }
  return -1;
}

/** The bytes from the question to `end` in ASCII lower case; length bytes are at most 63, below "A", so they stay. */
export function lowerName(bytes: Buffer, end: number): string {
  for (let at = HEADER_BYTES; at < end; at += 1) {
    if (isUpperCase(bytes[at] ?? 0)) return foldedName(bytes, end);
  }
  return bytes.toString('latin1', HEADER_BYTES, end);
}

function foldedName(bytes: Buffer, end: number): string {
  const folded = Buffer.from(bytes.subarray(HEADER_BYTES, end));
  for (const [at, byte] of folded.entries()) if (isUpperCase(byte)) folded[at] = byte + 32;
  return folded.toString('latin1');
}

function isUpperCase(byte: number): boolean {
  return byte >= 65 && byte <= 90;
}

// Undefined: no OPT. Null: malformed, or more than one OPT (RFC 6891 6.1.1).
function findEdns(bytes: Uint8Array, start: number): Edns | undefined | null {
  const before = readUint16(bytes, 6) + readUint16(bytes, 8);
  const total = before + readUint16(bytes, 10);
  let edns: Edns | undefined;
  let offset = start;
  for (let index = 0; index < total; index += 1) {
    const nameEnd = skipName(bytes, offset);
    if (nameEnd < 0 || nameEnd + 10 > bytes.length) return null;
    const end = nameEnd + 10 + readUint16(bytes, nameEnd + 8);
    if (end > bytes.length) return null;
    if (readUint16(bytes, nameEnd) === TYPE.OPT) {
      if (edns !== undefined || index < before || nameEnd !== offset + 1) return null;
      if (!areOptionsWhole(bytes, nameEnd + 10, end)) return null;
      edns = {
        payloadBytes: readUint16(bytes, nameEnd + 2),
        version: bytes[nameEnd + 5] ?? 0,
        isDnssecOk: ((bytes[nameEnd + 6] ?? 0) & 0x80) !== 0,
      };
    }
    offset = end;
  }
  return edns;
}

function areOptionsWhole(bytes: Uint8Array, start: number, end: number): boolean {
  let offset = start;
  while (offset + 4 <= end) offset += 4 + readUint16(bytes, offset + 2);
  return offset === end;
}

/**
 * Whether others are likely to ask in the very same words: no spelling of its own (0x20), no cookies or other options, and
 * nothing behind the question but a plain OPT.
 */
export function isCommon(query: Query): boolean {
  const { bytes, questionEnd, edns, name } = query;
  if (bytes.length !== questionEnd + (edns === undefined ? 0 : PLAIN_OPT_BYTES)) return false;
  return bytes.toString('latin1', HEADER_BYTES, questionEnd - 4) === name;
}

/** The largest answer that this query may get over UDP, bytes. */
export function udpLimit(query: Query): number {
  if (query.edns === undefined) return PLAIN_UDP_BYTES;
  return Math.min(Math.max(query.edns.payloadBytes, PLAIN_UDP_BYTES), EDNS_UDP_BYTES);
}

/** Binds a reply to its query: id, flags and the question in the client's own spelling; too long becomes TC and no records. */
export function encodeReply(query: Query, reply: Reply, limitBytes: number): Buffer {
  const { bytes, questionEnd, edns } = query;
  const hasError = edns !== undefined && reply.extendedError !== undefined;
  const optBytes = edns === undefined ? 0 : hasError ? PLAIN_OPT_BYTES + 6 : PLAIN_OPT_BYTES;
  const isTruncated = questionEnd + reply.body.length + optBytes > limitBytes;
  const bodyBytes = isTruncated ? 0 : reply.body.length;
  const out = Buffer.allocUnsafe(questionEnd + bodyBytes + optBytes);
  // Byte by byte: for the few dozen bytes of a usual answer this is compiled code, where set() is a call out of it.
  for (let at = 0; at < questionEnd; at += 1) out[at] = bytes[at] ?? 0;
  if (bodyBytes > 128) out.set(reply.body, questionEnd);
  else for (let at = 0; at < bodyBytes; at += 1) out[questionEnd + at] = reply.body[at] ?? 0;
  const flags = replyFlags(query.flags, reply.rcode) | (reply.isAuthoritative ? FLAG.AA : 0);
  writeUint16(out, 2, isTruncated ? flags | FLAG.TC : flags);
  writeUint16(out, 6, isTruncated ? 0 : reply.answers);
  writeUint16(out, 8, isTruncated ? 0 : reply.authorities);
  writeUint16(out, 10, (isTruncated ? 0 : reply.additionals) + (edns === undefined ? 0 : 1));
  if (edns !== undefined) {
    const error = hasError ? reply.extendedError : undefined;
    writeOpt(out, questionEnd + bodyBytes, reply.rcode >>> 4, edns.isDnssecOk, error);
  }
  return out;
}

/** A reply of twelve bytes to a message whose question cannot be trusted. */
export function encodeHeaderOnly(bytes: Uint8Array, rcode: number): Buffer {
  const out = Buffer.alloc(HEADER_BYTES);
  out[0] = bytes[0] ?? 0;
  out[1] = bytes[1] ?? 0;
  const flags = readUint16(bytes, 2);
  writeUint16(out, 2, replyFlags(flags, rcode) | (flags & 0x7800));
  return out;
}

/** The query that asks an upstream the same question; `hasEdns` false is for servers that answer FORMERR to OPT. */
export function encodeUpstreamQuery(query: Query, id: number, hasEdns: boolean): Buffer {
  const { questionEnd } = query;
  const out = Buffer.alloc(questionEnd + (hasEdns ? PLAIN_OPT_BYTES : 0));
  out.set(query.bytes.subarray(HEADER_BYTES, questionEnd), HEADER_BYTES);
  writeUint16(out, 0, id);
  writeUint16(out, 2, query.flags & (FLAG.RD | FLAG.CD));
  writeUint16(out, 4, 1);
  if (!hasEdns) return out;
  writeUint16(out, 10, 1);
  writeOpt(out, questionEnd, 0, query.edns?.isDnssecOk ?? false, undefined);
  return out;
}

// RA stands even without upstreams: stub resolvers give up on a server that does not recurse. AD never: nothing is
// validated here.
function replyFlags(flags: number, rcode: number): number {
  return FLAG.QR | FLAG.RA | (flags & (FLAG.RD | FLAG.CD)) | (rcode & 15);
}

// OPT (RFC 6891 6.1.2): root name, type, our UDP size, upper rcode bits, version 0, DO, options.
function writeOpt(
  out: Buffer,
  offset: number,
  upperRcode: number,
  isDnssecOk: boolean,
  error: number | undefined,
): void {
  out[offset] = 0;
  writeUint16(out, offset + 1, TYPE.OPT);
  writeUint16(out, offset + 3, EDNS_UDP_BYTES);
  out[offset + 5] = upperRcode;
  out[offset + 6] = 0;
  writeUint16(out, offset + 7, isDnssecOk ? 0x8000 : 0);
  writeUint16(out, offset + 9, error === undefined ? 0 : 6);
  if (error === undefined) return;
  writeUint16(out, offset + 11, 15); // EDE (RFC 8914 2)
  writeUint16(out, offset + 13, 2);
  writeUint16(out, offset + 15, error);
}

function writeUint16(out: Uint8Array, offset: number, value: number): void {
  out[offset] = value >>> 8;
  out[offset + 1] = value & 255;
}

/** What makes two queries the same for a cache: name, type, class, and the bits that change an answer. */
export function questionKey(query: Query): string {
  const bits = (query.flags & (FLAG.RD | FLAG.CD)) | (query.edns?.isDnssecOk === true ? 1 : 0);
  return query.name + String.fromCharCode(query.type, query.qclass, bits);
}
