/**
 * The append-only journal: a batch that append() resolved for is on the disk and survives any crash.
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
import { join } from 'node:path';
import type { EdgeError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { crc32 } from './crc32.ts';
import { damaged, writeFailed } from './errors.ts';
import type { FileLayer, WritableFile } from './files.ts';
import type { ChangeType } from './store.ts';

const MAGIC = Buffer.from('EJ01', 'latin1');
const HEADER_BYTES = 12;
const NOTHING = Buffer.alloc(0);
const MARK_MAGIC = Buffer.from('EJC1', 'latin1');
/**
 * Zeros written ahead of the frames. A sync that need not make the file longer waits for its own data alone, not for
 * the file system's journal with everybody's changes in it.
 */
const ZEROS = Buffer.alloc(256 * 1024);
/** The offset's leading zeros never stand in JSON, so no object can look like a mark. */
const MARK_BYTES = 16;
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

/** Reads frames up to the first unsound byte. */
export function decodeJournal(data: Buffer): JournalContents {
  const records: JournalRecord[] = [];
  let soundBytes = 0;
  let lastFrameAt: number | undefined;
  let next = 0;
  for (let payload = frameAt(data, 0); payload !== undefined; payload = frameAt(data, next)) {
    for (const record of decodeRecords(payload)) records.push(record);
    lastFrameAt = next;
    soundBytes = next + HEADER_BYTES + payload.length;
    next = soundBytes + (markAt(data, soundBytes) === lastFrameAt ? MARK_BYTES : 0);
  }
  let end = data.length;
  while (end > next && data[end - 1] === 0) end--;
  const resumesAt = next < end ? findTraces(data, next) : undefined;
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

const FILE_NAME = /^journal-(\d{16})\.log$/u;

/** The name of the journal file whose first record has this revision. */
export function journalName(firstRevision: number): string {
  return `journal-${String(firstRevision).padStart(16, '0')}.log`;
}

/** The first revision a journal file may hold; undefined when the name is no journal's. */
export function journalStart(name: string): number | undefined {
  const match = FILE_NAME.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** The journal file that is being written. */
export class Journal {
  readonly path: string;
  readonly #file: WritableFile;
  #bytes: number;
  /** How far the file reaches, zeros included. */
  #allocated: number;
  #hasTail = false;
  /** The mark that belongs at #bytes. It is written there at once, and again with the next frame if that failed. */
  #mark: Buffer | undefined;
  #marking: Promise<void> = Promise.resolve();

  private constructor(path: string, file: WritableFile, bytes: number, mark: Buffer | undefined) {
    this.path = path;
    this.#file = file;
    this.#bytes = bytes;
    this.#mark = mark;
    this.#allocated = bytes + (mark?.length ?? 0);
  }

  /**
   * Opens a file whose first `bytes` bytes are sound; what follows them is cut off. `lastFrameAt` says where its
   * last frame begins, which is marked if it was not.
   */
  static async open(
    files: FileLayer,
    dir: string,
    firstRevision: number,
    found: { bytes: number; lastFrameAt?: number | undefined } = { bytes: 0 },
  ): Promise<Journal> {
    const { bytes, lastFrameAt } = found;
    const path = join(dir, journalName(firstRevision));
    try {
      const file = await files.open(path);
      await file.truncate(bytes);
      const mark = lastFrameAt === undefined ? undefined : encodeMark(lastFrameAt);
      if (mark !== undefined) await file.write(mark, bytes);
      await file.sync();
      await files.syncDirectory(dir);
      return new Journal(path, file, bytes, mark);
    } catch (err) {
      throw writeFailed(path, err);
    }
  }

  /** The length of the sound part. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends a batch, JSON texts of JournalRecord, and waits for the disk; `isAlone` says that nobody else waits for
   * this thread. When it rejects, nothing was appended and a later try may work.
   */
  async append(records: readonly string[], isAlone = false): Promise<void> {
    const mark = this.#mark ?? NOTHING;
    const data = encodeFrame(records, mark);
    try {
      if (this.#hasTail) await this.#cutTail();
      this.#hasTail = true;
      await this.#writeFrame(data);
      await this.#file.sync(isAlone);
    } catch (err) {
      await this.#cutTail().catch(() => {}); // tried again before the next append, and by recovery
      throw writeFailed(this.path, err);
    }
    this.#hasTail = false;
    this.#mark = encodeMark(this.#bytes + mark.length);
    this.#bytes += data.length;
    this.#marking = this.#file.write(this.#mark, this.#bytes).catch(() => {}); // it goes with the next frame then
  }

  async #writeFrame(data: Buffer): Promise<void> {
    const end = this.#bytes + data.length;
    if (end + MARK_BYTES > this.#allocated) {
      try {
        await this.#file.write(Buffer.concat([data, ZEROS]), this.#bytes);
        this.#allocated = end + ZEROS.length;
        return;
      } catch {
        await this.#cutTail(); // what is left of a nearly full disk is for frames
      }
    }
    await this.#file.write(data, this.#bytes);
    this.#allocated = Math.max(this.#allocated, end);
  }

  async #cutTail(): Promise<void> {
    await this.#marking;
    this.#allocated = this.#bytes + (this.#mark?.length ?? 0);
    await this.#file.truncate(this.#allocated);
    this.#hasTail = false;
  }

  /** Closes the file; a tail that could not be cut before is left to recovery. */
  async close(): Promise<void> {
    await this.#marking;
    await this.#file.close();
  }
}

function missing(path: string, revision: number, instead: string, dir: string): EdgeError {
  return damaged(
    path,
    `revision ${revision} is missing: ${instead}`,
    `a journal or checkpoint file was removed; restore ${dir} from a backup, or move it away to start empty`,
  );
}

/** What recovery found in the journal files above a revision. */
export interface Replay {
  records: JournalRecord[];
  /** Bytes of frames in the files before the last one. */
  earlierBytes: number;
  /** The file to go on with, when there is one. */
  last: { firstRevision: number; bytes: number; lastFrameAt: number | undefined } | undefined;
}

/**
 * Reads all journal files above `after`. Throws EDGE_ERR_STORE_DAMAGED when records are missing or broken
 * anywhere but at the end of the last file, where a crash in the middle of a write leaves a torn frame.
 */
export async function replayJournals(
  files: FileLayer,
  dir: string,
  after: number,
  log: Logger,
): Promise<Replay> {
  const starts = (await files.list(dir))
    .map(journalStart)
    .filter((start) => start !== undefined)
    .sort((a, b) => a - b);
  const records: JournalRecord[] = [];
  let revision = after;
  let earlierBytes = 0;
  let last: Replay['last'];
  for (const [at, start] of starts.entries()) {
    const path = join(dir, journalName(start));
    const isLast = at === starts.length - 1;
    const next = starts[at + 1];
    if (next !== undefined && next <= after + 1) continue; // wholly inside the checkpoint
    if (start > revision + 1) throw missing(path, revision + 1, `starts at ${start}`, dir);
    const data = await files.read(path);
    const { records: found, soundBytes, lastFrameAt, tornBytes, resumesAt } = decodeJournal(data);
    if (tornBytes > 0 && (!isLast || resumesAt !== undefined)) {
      throw damaged(
        path,
        `damaged at byte ${soundBytes}${resumesAt === undefined ? '' : `, sound again at byte ${resumesAt}`}`,
        `acknowledged writes are in the damaged part; restore the file from a backup, or move ${dir} away to start empty`,
      );
    }
    if (tornBytes > 0) log.warn('cut a torn journal tail', { file: path, bytes: tornBytes });
    for (const record of found) {
      if (record.r <= after) continue;
      if (record.r !== revision + 1) {
        throw missing(path, revision + 1, `found ${record.r}`, dir);
      }
      revision = record.r;
      records.push(record);
    }
    if (isLast) last = { firstRevision: start, bytes: soundBytes, lastFrameAt };
    else earlierBytes += soundBytes;
  }
  return { records, earlierBytes, last };
}
