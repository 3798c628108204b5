/**
 * The form of journals: frames with checksums, and marks of those that were synced. Pure; nothing here touches a file.
 *
 *     +-----------+-----------+-----------+------------------+
 *     | "EJ01"    | length    | CRC-32    | payload          |   numbers: unsigned, 4 bytes, big endian
 *     +-----------+-----------+-----------+------------------+   CRC-32: over length and payload
 *
 * A frame is one batch, a JSON array of records. A batch is written only after the one before it was synced, so
 * a broken frame that valid ones follow is never the trace of a crash. Once a frame is synced, its end is marked:
 *
 *     +-----------+-----------------------+-----------+
 *     | "EJC1"    | where the frame began | CRC-32    |   8 bytes and 4, big endian; CRC-32: over the 8 bytes
 *     +-----------+-----------------------+-----------+
 *
 * A broken last frame with its mark was whole once: a flipped bit, refused like any damage. Without its mark it is
 * the torn end of a crash, never acknowledged, and cut. The mark itself is not synced, the next frame's sync takes
 * it along: what remains undecidable is a bit that flips in the very last frame of a machine that lost its power
 * before the mark was on the disk.
 */
import { crc32 } from './crc32.ts';
import type { ChangeType } from './store.ts';

const MAGIC = Buffer.from('EJ01', 'latin1');
const HEADER_BYTES = 12;
const NOTHING = Buffer.alloc(0);
const MARK_MAGIC = Buffer.from('EJC1', 'latin1');
/** The offset's leading zeros never stand in JSON, so no object can look like a mark. */
export const MARK_BYTES = 16;
/** Bounds what a damaged length can make us read; a batch is at most 8 MiB and one object more. */
const MAX_PAYLOAD_BYTES = 64 * 1024 * 1024;

/** One change as the journal keeps it, a JSON object on a line of its own whose last member, `o`, is the object. */
export interface JournalRecord {
  /** revision */
  r: number;
  t: ChangeType;
  /** resource */
  k: string;
  n: string;
  /** wall-clock milliseconds */
  at: number;
  /** labels before the change */
  l: Record<string, string> | null;
  /** the object after it, JSON */
  json: string;
}

const LINE_FEED = 0x0a;
/** What ends the members before the object, unless it is a label of that name. */
const OBJECT_KEY = ',"o":';

/** Encodes a batch; `records` are JSON texts of JournalRecord. The frame follows `lead`, in one buffer. */
export function encodeFrame(records: readonly string[], lead: Buffer = NOTHING): Buffer {
  const text = `[${records.join(',\n')}]`;
  const at = lead.length;
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(at + HEADER_BYTES + length);
  lead.copy(frame);
  MAGIC.copy(frame, at);
  frame.writeUInt32BE(length, at + 4);
  frame.write(text, at + HEADER_BYTES);
  const payload = frame.subarray(at + HEADER_BYTES);
  frame.writeUInt32BE(crc32(payload, crc32(frame.subarray(at + 4, at + 8))), at + 8);
  return frame;
}

/** The payload of a whole and sound frame at `offset`, else undefined. */
function frameAt(data: Buffer, offset: number): Buffer | undefined {
  if (offset + HEADER_BYTES > data.length || !data.subarray(offset, offset + 4).equals(MAGIC))
    return undefined;
  const length = data.readUInt32BE(offset + 4);
  const start = offset + HEADER_BYTES;
  if (length > MAX_PAYLOAD_BYTES || start + length > data.length) return undefined;
  const payload = data.subarray(start, start + length);
  const isSound =
    crc32(payload, crc32(data.subarray(offset + 4, offset + 8))) === data.readUInt32BE(offset + 8);
  return isSound ? payload : undefined;
}

/** The records of a payload. Their objects are not read: most are not needed, and some only as texts. */
function decodeRecords(payload: Buffer): JournalRecord[] {
  const records: JournalRecord[] = [];
  const end = payload.length - 1; // the bracket
  for (let start = 1; start < end;) {
    const feed = payload.indexOf(LINE_FEED, start); // JSON has no other: in texts it is escaped
    const comma = feed === -1 ? end : feed - 1; // or the bracket
    records.push(decodeRecord(payload, start, comma - 1));
    start = feed === -1 ? end : feed + 1;
  }
  return records;
}

/** The record that begins at `start` and whose closing brace is at `end`. */
function decodeRecord(payload: Buffer, start: number, end: number): JournalRecord {
  for (let at = payload.indexOf(OBJECT_KEY, start); ; at = payload.indexOf(OBJECT_KEY, at + 1)) {
    if (at === -1 || at >= end) throw new SyntaxError('a record without an object');
    try {
      const head = JSON.parse(`${payload.toString('utf8', start, at)}}`) as Omit<JournalRecord, 'json'>;
      return { ...head, json: payload.toString('utf8', at + OBJECT_KEY.length, end) };
    } catch (err) {
      if (!(err instanceof SyntaxError)) throw err; // that one was a label
    }
  }
}

/** How every record begins. */
const FIRST_REVISION = /^\[\{"r":(\d+),/u;
const FIRST_REVISION_BYTES = 32;

/** The revision of a payload's first record; 0 when it is written in another way. */
function firstRevision(payload: Buffer): number {
  return Number(FIRST_REVISION.exec(payload.toString('latin1', 0, FIRST_REVISION_BYTES))?.[1] ?? 0);
}

/** The mark of a synced frame that began at `offset`. */
export function encodeMark(offset: number): Buffer {
  const mark = Buffer.alloc(MARK_BYTES);
  MARK_MAGIC.copy(mark);
  mark.writeBigUInt64BE(BigInt(offset), 4);
  mark.writeUInt32BE(crc32(mark.subarray(4, 12)), 12);
  return mark;
}

/** Where the frame began whose mark stands at `at`; undefined when no sound mark does. */
function markAt(data: Buffer, at: number): number | undefined {
  if (at + MARK_BYTES > data.length || !data.subarray(at, at + 4).equals(MARK_MAGIC)) return undefined;
  const isSound = crc32(data.subarray(at + 4, at + 12)) === data.readUInt32BE(at + 12);
  return isSound ? Number(data.readBigUInt64BE(at + 4)) : undefined;
}

/** What a journal file holds. */
export interface JournalContents {
  records: JournalRecord[];
  /** Where the last sound frame ends; its mark may follow. */
  soundBytes: number;
  /** Where that frame began; undefined when there is none. */
  lastFrameAt: number | undefined;
  /** How many bytes after it are neither frame nor mark; zeros up to the end are room for frames to come. */
  tornBytes: number;
  /** Where a sound frame or mark follows the unsound part, which a crash cannot explain; undefined when none does. */
  resumesAt: number | undefined;
}

/** Which records are wanted of a journal: those at its end. */
export interface JournalEnd {
  /** Records up to this revision are not. */
  after: number;
  /** Nor are frames before those that have so many bytes together. */
  bytes: number;
}

const ALL: JournalEnd = { after: 0, bytes: Infinity };

/** Reads frames up to the first unsound byte. Frames of which nothing is wanted are checked like the others. */
export function decodeJournal(data: Buffer, { after, bytes }: JournalEnd = ALL): JournalContents {
  const payloads: Buffer[] = [];
  /** Where the wanted ones begin, and how long they are together. */
  let [from, length] = [0, 0];
  let soundBytes = 0;
  let lastFrameAt: number | undefined;
  let next = 0;
  for (let payload = frameAt(data, 0); payload !== undefined; payload = frameAt(data, next)) {
    if (firstRevision(payload) <= after + 1) [from, length] = [payloads.length, 0]; // those before end there
    payloads.push(payload);
    length += payload.length;
    for (
      let first = payloads[from];
      first !== undefined && length - first.length >= bytes;
      first = payloads[from]
    ) {
      length -= first.length;
      from++;
    }
    lastFrameAt = next;
    soundBytes = next + HEADER_BYTES + payload.length;
    next = soundBytes + (markAt(data, soundBytes) === lastFrameAt ? MARK_BYTES : 0);
  }
  let end = data.length;
  while (end > next && data[end - 1] === 0) end--;
  const resumesAt = next < end ? findTraces(data, next) : undefined;
  const records = payloads.slice(from).flatMap((payload) => decodeRecords(payload));
  return { records, soundBytes, lastFrameAt, tornBytes: end - next, resumesAt };
}

/** The first byte behind `offset` that was only written after what stands at `offset` had been synced. */
function findTraces(data: Buffer, offset: number): number | undefined {
  for (
    let at = data.indexOf('EJ', offset + 1, 'latin1');
    at !== -1;
    at = data.indexOf('EJ', at + 1, 'latin1')
  ) {
    // an older mark can only be of a frame before the unsound part
    if (frameAt(data, at) !== undefined || (markAt(data, at) ?? -1) >= offset) return at;
  }
  return undefined;
}
