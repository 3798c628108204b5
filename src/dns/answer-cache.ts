/** Replies by question, bounded in number and bytes; the least recently used goes first. Keeps expired ones for bad times. */
import type { Reply } from './wire.ts';

/** A kept reply; times are of the monotonic clock, milliseconds. */
export interface CacheEntry {
  readonly reply: Reply;
  readonly storedAt: number;
  readonly expiresAt: number;
  /** Until then the expired reply is given without asking again: the upstreams just failed. */
  recheckAt: number;
}

/** Bytes that an entry costs beside its name and body: objects, arrays and the map, by measurement rounded up. */
const ENTRY_BYTES = 400;

/** A bounded table of replies. */
export class AnswerCache {
  readonly #entries = new Map<string, CacheEntry>();
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxEntries: number, maxBytes: number) {
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
  }

  /** Number of entries. */
  get size(): number {
    return this.#entries.size;
  }

  /** What the entries weigh, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The entry, fresh or expired, now the most recently used. */
  get(key: string): CacheEntry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keeps a reply that has `freshness`; others are ignored. */
  set(key: string, reply: Reply, now: number): void {
    if (reply.freshness === undefined) return;
    this.delete(key);
    const expiresAt = now + reply.freshness.seconds * 1000;
    this.#entries.set(key, { reply, storedAt: now, expiresAt, recheckAt: 0 });
    this.#bytes += weight(key, reply);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) break;
      this.delete(oldest);
    }
  }

  /** Forgets one reply. */
  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= weight(key, entry.reply);
  }

  /** Forgets all. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}

function weight(key: string, reply: Reply): number {
  return ENTRY_BYTES + key.length + reply.body.length + 8 * (reply.freshness?.ttlOffsets.length ?? 0);
}
