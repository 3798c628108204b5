/**
 * Questions that no upstream could answer, and until when they are not asked again (RFC 9520): a second at first, twice as
 * long each time, so that a client that tries again and again costs the upstreams little. Bounded; never holds an answer.
 */

/** Times, milliseconds, and the bound. */
export interface FailureLimits {
  /** The first time; RFC 9520 3.2 asks for a second at least. */
  failureMs: number;
  /** The longest; RFC 9520 3.2 allows five minutes, an edge node is online again sooner. */
  maxFailureMs: number;
  /** Beyond, the one that failed longest ago is forgotten. */
  maxFailures: number;
}

interface Entry {
  readonly rcode: number;
  readonly failedAt: number;
  readonly waitMs: number;
  until: number;
}

/** See the file's first line. */
export class FailureMemory {
  readonly #limits: FailureLimits;
  readonly #entries = new Map<string, Entry>();

  constructor(limits: FailureLimits) {
    this.#limits = limits;
  }

  /** Questions remembered. */
  get size(): number {
    return this.#entries.size;
  }

  /** How it failed, as long as it is not to be asked again. */
  get(key: string, now: number): number | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined || now >= entry.until ? undefined : entry.rcode;
  }

  /** It failed; when it did so not long after it was asked again, the next time is twice as long. */
  failed(key: string, rcode: number, now: number): void {
    const { failureMs, maxFailureMs, maxFailures } = this.#limits;
    const former = this.#entries.get(key);
    if (former !== undefined && now < former.until) return; // another client of the same question
    const isInARow = former !== undefined && now < former.failedAt + former.waitMs + maxFailureMs;
    const waitMs = Math.min(isInARow ? former.waitMs * 2 : failureMs, maxFailureMs);
    this.#entries.delete(key); // moves to the end: forgotten last
    this.#entries.set(key, { rcode, failedAt: now, waitMs, until: now + waitMs });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > maxFailures && oldest !== undefined) this.#entries.delete(oldest);
  }

  /** It was answered. */
  answered(key: string): void {
    this.#entries.delete(key);
  }

  /** An upstream that was away is back: everything may be asked once the shortest time is over. */
  relent(): void {
    for (const entry of this.#entries.values())
      entry.until = Math.min(entry.until, entry.failedAt + this.#limits.failureMs);
  }

  /** Forgets all. */
  clear(): void {
    this.#entries.clear();
  }
}
