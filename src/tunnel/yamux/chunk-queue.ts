/**
 * Bytes of a stream that wait, with the loans of their memory. Small pieces are gathered in blocks: a peer that sends byte
 * by byte would otherwise cost a hundred bytes for each of them, and each would be a frame of its own.
 */
import { currentLoan, withLoan } from '../read-buffers.ts';
import type { Loan } from '../read-buffers.ts';

/** Smaller pieces are copied; a block holds no more than this, bytes. */
const GATHER_BELOW_BYTES = 16 * 1024;
/** The first block; each further one is twice as large as the one before it. */
const FIRST_BLOCK_BYTES = 512;

interface Entry {
  memory: Buffer;
  start: number;
  end: number;
  loan: Loan | undefined;
  /** Whether the memory behind `end` is ours to write to. */
  isBlock: boolean;
}

/** See the file's first line. */
export class ChunkQueue {
  #entries: Entry[] = [];
  #bytes = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Appends a chunk, with a hold of the loan that it came with when it is not copied. */
  push(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    if (chunk.length < GATHER_BELOW_BYTES) {
      this.#gather(chunk);
      return;
    }
    const loan = currentLoan();
    loan?.hold();
    const memory = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    this.#entries.push({ memory, start: 0, end: chunk.length, loan, isBlock: false });
  }

  /**
   * Takes up to `maxBytes` of the oldest chunk and gives them to `use`, within their loan; `use` answers as
   * ByteStream.write does. The queue must not be empty.
   */
  take(maxBytes: number, use: (chunk: Buffer) => boolean | void): void {
    const entry = this.#entries[0] as Entry;
    const { memory, start, loan } = entry;
    const end = Math.min(entry.end, start + maxBytes);
    const isLast = end === entry.end;
    if (isLast) this.#entries.shift();
    else entry.start = end;
    this.#bytes -= end - start;
    const chunk = start === 0 && end === memory.length ? memory : memory.subarray(start, end);
    const isAnsweredFor = withLoan(loan, () => use(chunk));
    if (isAnsweredFor !== true) loan?.lose();
    if (isLast) loan?.release();
  }

  /** Drops everything; loans are not given back, since somebody may still send from that memory. */
  clear(): void {
    this.#entries = [];
    this.#bytes = 0;
  }

  #gather(chunk: Uint8Array): void {
    const tail = this.#entries.at(-1);
    if (tail?.isBlock === true && tail.memory.length - tail.end >= chunk.length) {
      tail.memory.set(chunk, tail.end);
      tail.end += chunk.length;
      return;
    }
    const wanted = tail?.isBlock === true ? 2 * tail.memory.length : FIRST_BLOCK_BYTES;
    const memory = Buffer.allocUnsafe(Math.max(chunk.length, Math.min(wanted, GATHER_BELOW_BYTES)));
    memory.set(chunk);
    this.#entries.push({ memory, start: 0, end: chunk.length, loan: undefined, isBlock: true });
  }
}
