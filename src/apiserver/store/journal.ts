/** The append-only journal: a batch that append() resolved for is on the disk and survives any crash. */
import { join } from 'node:path';
import { writeFailed } from './errors.ts';
import { removeLeftover } from './files.ts';
import type { FileLayer, WritableFile } from './files.ts';
import { encodeFrame, encodeMark, MARK_BYTES } from './journal-frames.ts';

const NOTHING = Buffer.alloc(0);
/**
 * Zeros written ahead of the frames. A sync that need not make the file longer waits for its own data alone, not for
 * the file system's journal with everybody's changes in it.
 */
const ZEROS = Buffer.alloc(256 * 1024);

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

/** Where the journals among these files start, in order. */
export function journalStarts(names: readonly string[]): number[] {
  return names
    .map(journalStart)
    .filter((start) => start !== undefined)
    .sort((a, b) => a - b);
}

/** Whether a checkpoint at `revision` holds all that is in the journal at that place of `starts`: the next one tells. */
export function isInside(starts: readonly number[], at: number, revision: number): boolean {
  return (starts[at + 1] ?? Infinity) <= revision + 1;
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
   * last frame begins, which is marked if it was not. When a new file cannot be opened it is removed again; throws
   * StrayFileError when that fails, too.
   */
  static async open(
    files: FileLayer,
    dir: string,
    firstRevision: number,
    found?: { bytes: number; lastFrameAt?: number | undefined },
  ): Promise<Journal> {
    const { bytes, lastFrameAt } = found ?? { bytes: 0 };
    const path = join(dir, journalName(firstRevision));
    let file: WritableFile | undefined;
    try {
      file = await files.open(path);
      await file.truncate(bytes);
      const mark = lastFrameAt === undefined ? undefined : encodeMark(lastFrameAt);
      if (mark !== undefined) await file.write(mark, bytes);
      await file.sync();
      await files.syncDirectory(dir);
      return new Journal(path, file, bytes, mark);
    } catch (err) {
      await file?.close().catch(() => {}); // its error says nothing new
      // it is empty and the next one will sync its absence; files that are out of reach for a moment must not stop all writes
      if (found === undefined) await removeLeftover(files, path, false);
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

  /** Closes the file, without the zeros and with its last mark; a tail that cannot be cut is left to recovery. */
  async close(): Promise<void> {
    try {
      await this.#cutTail();
      await this.#file.sync();
    } catch {
      // every frame was synced when it was written
    }
    await this.#file.close();
  }
}
