/**
 * Memory that sockets are read into, used again and again: fresh memory for each read costs more than the copy out of
 * the kernel. A socket that moves much is read into buffers of a pool, all others into one that they share.
 *
 * A chunk of a pooled buffer is lent. Whoever keeps it beyond the call that brought it takes a hold of the loan, and
 * lets go when the bytes are where they belong; the last one to let go gives the buffer back. Code that knows nothing
 * of loans is safe: what it was handed, and did not answer for with true, is never read into again.
 */

/** Large enough that system calls do not count, small enough for a processor's cache with several hops at work. */
export const POOLED_BYTES = 256 * 1024;
/** Room behind it for what sealing adds to a full read. */
const EXTRA_BYTES = 1024;
const SHARED_BYTES = 64 * 1024;
/**
 * Buffers kept for the next read, 32 MiB; further ones go to the garbage collector. Two dozen streams with full queues have
 * as many on their way; fewer would be allocated anew all the time, and V8 marks its whole heap for every 32 MiB of that.
 */
const MAX_IDLE = 128;
/** Sockets that wait for their next read with a pooled buffer in hand, 16 MiB; further ones use the shared one. */
const MAX_WAITING = 64;

/** A buffer that is lent with the bytes in it. */
export class Loan {
  readonly #buffer: Buffer;
  readonly #pool: ReadBuffers;
  #holds = 1;
  #isLost = false;

  constructor(buffer: Buffer, pool: ReadBuffers) {
    this.#buffer = buffer;
    this.#pool = pool;
  }

  /** One more place keeps bytes of the buffer. */
  hold(): void {
    this.#holds += 1;
  }

  /** One place is done with them. Throws RangeError when called more often than hold(). */
  release(): void {
    this.#holds -= 1;
    if (this.#holds < 0) throw new RangeError('a read buffer was given back twice');
    if (this.#holds === 0 && !this.#isLost) this.#pool.giveBack(this.#buffer);
  }

  /** Somebody may keep bytes without a hold: the buffer is not used again. */
  lose(): void {
    this.#isLost = true;
  }

  /** For the callback of a write: lets go when the bytes have left. A failed write may still refer to them. */
  readonly written = (err?: Error | null): void => {
    if (err === undefined || err === null) this.release();
  };
}

function allocate(): ArrayBuffer {
  return Buffer.allocUnsafeSlow(POOLED_BYTES + EXTRA_BYTES).buffer;
}

/** Hands out read buffers. */
export class ReadBuffers {
  /** What is read into it must be copied before anything else is read. */
  readonly shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
  readonly #idle: Buffer[] = [];
  #leastIdle = 0;
  #waiting = 0;

  /** Buffers at hand. */
  get idle(): number {
    return this.#idle.length;
  }

  /** A buffer for a socket's next read; undefined when too many sockets wait with one. */
  take(): Buffer | undefined {
    if (this.#waiting >= MAX_WAITING) return undefined;
    this.#waiting += 1;
    return this.#next();
  }

  /** A buffer for bytes that are made here rather than read; lent from the start, and a little larger. */
  borrow(): { buffer: Buffer; loan: Loan } {
    const buffer = this.#next();
    return { buffer: Buffer.from(buffer.buffer), loan: new Loan(buffer, this) };
  }

  /** Bytes were read into a buffer that was taken: from here on it is lent. */
  lend(buffer: Buffer): Loan {
    this.#waiting -= 1;
    return new Loan(buffer, this);
  }

  /** Takes back a buffer that was taken and not read into. */
  putBack(buffer: Buffer): void {
    this.#waiting -= 1;
    this.giveBack(buffer);
  }

  /** Takes back a buffer that was lent. */
  giveBack(buffer: Buffer): void {
    if (this.#idle.length < MAX_IDLE) this.#idle.push(buffer);
  }

  /** Gives up the buffers that were not needed since the last call: a process at rest keeps none. */
  trim(): void {
    this.#idle.splice(0, this.#leastIdle);
    this.#leastIdle = this.#idle.length;
  }

  #next(): Buffer {
    const buffer = this.#idle.pop() ?? Buffer.from(allocate(), 0, POOLED_BYTES);
    this.#leastIdle = Math.min(this.#leastIdle, this.#idle.length);
    return buffer;
  }
}

/** The buffers of this process: reads are synchronous, and one thread does them all. */
export const readBuffers = new ReadBuffers();

let current: Loan | undefined;

/** The loan of the chunk that is being handed on; undefined when the chunk is its receiver's own. */
export function currentLoan(): Loan | undefined {
  return current;
}

/** Runs `handOn` with chunks of this loan, or with chunks that are nobody else's. */
export function withLoan<T>(loan: Loan | undefined, handOn: () => T): T {
  const outer = current;
  current = loan;
  try {
    return handOn();
  } finally {
    current = outer;
  }
}
