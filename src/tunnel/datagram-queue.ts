/** A queue of datagrams with a fixed capacity: when it is full the oldest goes, and is counted. */

/** Datagrams that wait in one direction of a UDP service, as many as frp holds. */
export const MAX_QUEUED_DATAGRAMS = 1024;

/** See the file's first line: late datagrams are worth less than new ones. */
export class DatagramQueue<T> {
  readonly #slots: (T | undefined)[];
  #head = 0;
  #size = 0;
  #dropped = 0;

  constructor(capacity: number = MAX_QUEUED_DATAGRAMS) {
    this.#slots = Array.from<T | undefined>({ length: capacity });
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** How many were pushed out by newer ones, or cleared. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds one; the oldest makes room when none is left. */
  push(item: T): void {
    if (this.#size === this.#slots.length) {
      this.shift();
      this.#dropped += 1;
    }
    this.#slots[(this.#head + this.#size) % this.#slots.length] = item;
    this.#size += 1;
  }

  /** Takes the oldest. */
  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#slots.length;
    this.#size -= 1;
    return item;
  }

  /** Drops and counts all. */
  clear(): void {
    this.#dropped += this.#size;
    while (this.#size > 0) this.shift();
  }
}
