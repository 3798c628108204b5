/**
 * Finished UDP answers by the bytes of the query: what was asked a moment ago in the same words is answered without reading it.
 *
 * Everything after the id is the key (flags, question, EDNS), so equal bytes have equal answers as long as the zone and the
 * cache say the same. It is an open hash table over one growing block of bytes: no object an entry, nothing for the
 * garbage collector. Bounded in entries, bytes and probes; when it is full it starts over.
 */

/** A probe longer than this is a miss: who sends names with equal hashes makes only them slow. */
const MAX_PROBES = 8;
const FIRST_SLOTS = 256;
const FIRST_BYTES = 16 * 1024;

/** Numbers of a slot: where the entry's bytes start (-1: empty), how many are query and answer, what `set` was told. */
const FIELD = { start: 0, queryBytes: 1, answerBytes: 2, tag: 3 } as const;
const FIELDS = 4;
/** Memory of a slot, bytes. */
const SLOT_BYTES = FIELDS * 4 + 8;

/** Limits and what is told about a hit. */
export interface PacketMemoryOptions {
  maxEntries: number;
  /** Of queries and answers together. */
  maxBytes: number;
}

/** The memory. */
export class PacketMemory {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  /** A query, then its answer, for each entry. */
  #bytes: Buffer = Buffer.alloc(0);
  #usedBytes = 0;
  #size = 0;
  #mask = 0;
  /** Of each slot, side by side so that a look-up touches one line of the processor's cache: see FIELD. */
  #slots = new Int32Array(0);
  #until = new Float64Array(0);
  #hitTag = 0;
  #hitUntil = 0;

  constructor({ maxEntries, maxBytes }: PacketMemoryOptions) {
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
    this.clear();
  }

  /** Number of entries. */
  get size(): number {
    return this.#size;
  }

  /** What it holds on to, bytes. */
  get heldBytes(): number {
    return this.#bytes.length + this.#until.length * SLOT_BYTES;
  }

  /** What `set` was told of the entry that `get` found last. */
  get hitTag(): number {
    return this.#hitTag;
  }

  /** Until when the entry that `get` found last is good; Infinity for ever. */
  get hitUntil(): number {
    return this.#hitUntil;
  }

  /** A new copy of the answer to this query with its id; undefined when there is none, or only one that is over. */
  get(query: Uint8Array, now: () => number): Buffer | undefined {
    const slot = this.#find(query);
    if (slot < 0) return undefined;
    const until = this.#until[slot] ?? 0;
    if (until !== Number.POSITIVE_INFINITY && now() >= until) return undefined;
    this.#hitTag = this.#field(slot, FIELD.tag);
    this.#hitUntil = until;
    const bytes = this.#bytes;
    const from = this.#field(slot, FIELD.start) + query.length;
    const length = this.#field(slot, FIELD.answerBytes);
    const out = Buffer.allocUnsafe(length);
    out[0] = query[0] ?? 0;
    out[1] = query[1] ?? 0;
    // Byte by byte: for the few dozen bytes of a usual answer this is compiled code, where set() is a call out of it.
    for (let at = 2; at < length; at += 1) out[at] = bytes[from + at] ?? 0;
    return out;
  }

  /** Keeps the answer to a query until a time of the clock (Infinity: for ever) with a number to tell at a hit. */
  set(query: Uint8Array, answer: Uint8Array, until: number, tag: number): void {
    const wanted = query.length + answer.length;
    let slot = this.#find(query);
    // The same question again, when the former answer is over: usually of the same length.
    if (slot < 0 || this.#field(slot, FIELD.answerBytes) !== answer.length) {
      if (!this.#makeRoom(wanted)) return;
      slot = this.#find(query); // making room may have moved or removed it
      if (slot < 0) slot = this.#freeSlot(query);
      this.#slots.set([this.#usedBytes, query.length, answer.length, tag], slot * FIELDS);
      this.#usedBytes += wanted;
    }
    const start = this.#field(slot, FIELD.start);
    this.#bytes.set(query, start);
    this.#bytes.set(answer, start + query.length);
    this.#until[slot] = until;
    this.#slots[slot * FIELDS + FIELD.tag] = tag;
  }

  /** Forgets all, and gives the memory back. */
  clear(): void {
    this.#bytes = Buffer.alloc(Math.min(FIRST_BYTES, this.#maxBytes));
    this.#usedBytes = 0;
    this.#allocate(FIRST_SLOTS);
  }

  #allocate(slots: number): void {
    this.#mask = slots - 1;
    this.#size = 0;
    this.#slots = new Int32Array(slots * FIELDS).fill(-1);
    this.#until = new Float64Array(slots);
  }

  #field(slot: number, field: number): number {
    return this.#slots[slot * FIELDS + field] ?? -1;
  }

  #find(query: Uint8Array): number {
    const bytes = this.#bytes;
    const length = query.length;
    let slot = hash(query) & this.#mask;
    for (let probe = 0; probe < MAX_PROBES; probe += 1) {
      const start = this.#field(slot, FIELD.start);
      if (start < 0) return -1;
      if (this.#field(slot, FIELD.queryBytes) === length) {
        let at = 2;
        while (at < length && bytes[start + at] === query[at]) at += 1;
        if (at >= length) return slot;
      }
      slot = (slot + 1) & this.#mask;
    }
    return -1;
  }

  // When all that may be looked at are taken, the last of them gives way.
  #freeSlot(query: Uint8Array): number {
    let slot = hash(query) & this.#mask;
    for (let probe = 1; probe < MAX_PROBES && this.#field(slot, FIELD.start) >= 0; probe += 1)
      slot = (slot + 1) & this.#mask;
    if (this.#field(slot, FIELD.start) < 0) this.#size += 1;
    return slot;
  }

  // False: it would never fit.
  #makeRoom(wanted: number): boolean {
    if (wanted > this.#maxBytes) return false;
    if (this.#size >= this.#maxEntries || this.#usedBytes + wanted > this.#maxBytes) this.clear();
    if (this.#usedBytes + wanted > this.#bytes.length) {
      const grown = Buffer.alloc(Math.min(this.#maxBytes, Math.max(this.#bytes.length * 2, wanted * 2)));
      grown.set(this.#bytes.subarray(0, this.#usedBytes));
      this.#bytes = grown;
    }
    // At most a quarter of the slots is taken, so that probes stay short.
    if (this.#size * 4 >= this.#until.length) this.#rehash();
    return true;
  }

  #rehash(): void {
    const [slots, until] = [this.#slots, this.#until];
    this.#allocate(until.length * 2);
    for (let from = 0; from < until.length; from += 1) {
      const entry = slots.subarray(from * FIELDS, (from + 1) * FIELDS);
      const [start = -1, queryBytes = 0] = entry;
      if (start < 0) continue;
      const slot = this.#freeSlot(this.#bytes.subarray(start, start + queryBytes));
      this.#slots.set(entry, slot * FIELDS);
      this.#until[slot] = until[from] ?? 0;
    }
  }
}

// FNV-1a over what follows the id, two bytes a step.
function hash(bytes: Uint8Array): number {
  let state = bytes.length;
  for (let at = 2; at < bytes.length; at += 2) {
    state = Math.imul(state ^ ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)), 0x0100_0193);
  }
  return state ^ (state >>> 15);
}
