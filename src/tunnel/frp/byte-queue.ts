/** Bytes that wait until a decoder has enough of them: amortised linear in what arrives, however small the pieces. */

/** A queue of bytes. Slices given out stay valid: what is appended later never overwrites them. */
export class ByteQueue {
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Whether the buffer is our own, with room behind `#end`, or a chunk of the transport's. */
  #isOwn = false;

  /** Bytes in the queue. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Adds bytes; the queue may keep the chunk itself. */
  push(chunk: Buffer): void {
    const { length } = this;
    if (length === 0) {
      this.#buffer = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#isOwn = false;
      return;
    }
    if (!this.#isOwn || this.#buffer.length - this.#end < chunk.length) {
      // Doubling keeps the copying linear also for a peer that sends byte by byte.
      const grown = Buffer.allocUnsafe(Math.max(2 * length, length + chunk.length));
      this.#buffer.copy(grown, 0, this.#start, this.#end);
      this.#buffer = grown;
      this.#start = 0;
      this.#end = length;
      this.#isOwn = true;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  /** The first `count` bytes, or fewer when there are not as many; they stay in the queue. */
  peek(count: number): Buffer {
    return this.#buffer.subarray(this.#start, Math.min(this.#end, this.#start + count));
  }

  /** Takes `count` bytes, which must be there. */
  take(count: number): Buffer {
    const taken = this.peek(count);
    this.#start += taken.length;
    if (this.#start === this.#end) this.#release();
    return taken;
  }

  /** Takes everything. */
  takeAll(): Buffer {
    return this.take(this.length);
  }

  #release(): void {
    this.#buffer = Buffer.alloc(0);
    this.#start = 0;
    this.#end = 0;
    this.#isOwn = false;
  }
}
