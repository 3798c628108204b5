/**
 * The append-only journal: a batch that append() resolved for is on the disk and survives any crash.
 *
 *     +-----------+-----------+-----------+------------------+
 *     | "EJ01"    | length    | CRC-32    | payload          |   numbers: unsigned, 4 bytes, big endian
 *     +-----------+-----------+-----------+------------------+   CRC-32: over length and payload
 *
 * A frame is one batch, a JSON array of records. A batch is written only after the one before it was synced, so
 * a broken frame that valid ones follow is never the trace of a crash.
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
/** Bounds what a damaged length can make us read; a batch is at most 8 MiB and one object more. */
const MAX_PAYLOAD_BYTES = 64 * 1024 * 1024;

/** One change as the journal keeps it. */
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
  /** the object after it */
  o: unknown;
}

/** Encodes a batch; `records` are JSON texts of JournalRecord. */
export function encodeFrame(records: readonly string[]): Buffer {
  const payload = Buffer.from(`[${records.join(',\n')}]`);
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32BE(payload.length, 4);
  header.writeUInt32BE(crc32(payload, crc32(header.subarray(4, 8))), 8);
  return Buffer.concat([header, payload]);
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

/** What a journal file holds. */
export interface JournalContents {
  records: JournalRecord[];
  /** Where the sound part ends. */
  soundBytes: number;
  /** Where a sound frame follows the unsound part, which a crash cannot explain; undefined when none does. */
  resumesAt: number | undefined;
}

/** Reads frames up to the first unsound byte. */
export function decodeJournal(data: Buffer): JournalContents {
  const records: JournalRecord[] = [];
  let offset = 0;
  while (offset < data.length) {
    const payload = frameAt(data, offset);
    if (payload === undefined) break;
    for (const record of JSON.parse(payload.toString()) as JournalRecord[]) records.push(record);
    offset += HEADER_BYTES + payload.length;
  }
  let resumesAt: number | undefined;
  if (offset < data.length) {
    let next = data.indexOf(MAGIC, offset + 1);
    while (next !== -1 && frameAt(data, next) === undefined) next = data.indexOf(MAGIC, next + 1);
    if (next !== -1) resumesAt = next;
  }
  return { records, soundBytes: offset, resumesAt };
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
  #hasTail = false;

  private constructor(path: string, file: WritableFile, bytes: number) {
    this.path = path;
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Opens a file whose first `bytes` bytes are sound; what follows them is cut off. */
  static async open(files: FileLayer, dir: string, firstRevision: number, bytes: number): Promise<Journal> {
    const path = join(dir, journalName(firstRevision));
    try {
      const file = await files.open(path);
      await file.truncate(bytes);
      await file.sync();
      await files.syncDirectory(dir);
      return new Journal(path, file, bytes);
    } catch (err) {
      throw writeFailed(path, err);
    }
  }

  /** The length of the sound part. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Appends a frame and waits for the disk. When it rejects, nothing was appended and a later try may work. */
  async append(frame: Buffer): Promise<void> {
    try {
      if (this.#hasTail) await this.#cutTail();
      this.#hasTail = true;
      await this.#file.write(frame, this.#bytes);
      await this.#file.sync();
    } catch (err) {
      await this.#cutTail().catch(() => {}); // tried again before the next append, and by recovery
      throw writeFailed(this.path, err);
    }
    this.#hasTail = false;
    this.#bytes += frame.length;
  }

  async #cutTail(): Promise<void> {
    await this.#file.truncate(this.#bytes);
    this.#hasTail = false;
  }

  /** Closes the file; a tail that could not be cut before is left to recovery. */
  async close(): Promise<void> {
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
  /** The file to go on with, when there is one. */
  last: { firstRevision: number; bytes: number } | undefined;
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
  let last: Replay['last'];
  for (const [at, start] of starts.entries()) {
    const path = join(dir, journalName(start));
    const isLast = at === starts.length - 1;
    const next = starts[at + 1];
    if (next !== undefined && next <= after + 1) continue; // wholly inside the checkpoint
    if (start > revision + 1) throw missing(path, revision + 1, `starts at ${start}`, dir);
    const data = await files.read(path);
    const { records: found, soundBytes, resumesAt } = decodeJournal(data);
    if (soundBytes < data.length && (!isLast || resumesAt !== undefined)) {
      throw damaged(
        path,
        `damaged at byte ${soundBytes}${resumesAt === undefined ? '' : `, sound again at byte ${resumesAt}`}`,
        `acknowledged writes are in the damaged part; restore the file from a backup, or move ${dir} away to start empty`,
      );
    }
    if (soundBytes < data.length)
      log.warn('cut a torn journal tail', { file: path, bytes: data.length - soundBytes });
    for (const record of found) {
      if (record.r <= after) continue;
      if (record.r !== revision + 1) {
        throw missing(path, revision + 1, `found ${record.r}`, dir);
      }
      revision = record.r;
      records.push(record);
    }
    if (isLast) last = { firstRevision: start, bytes: soundBytes };
  }
  return { records, last };
}
