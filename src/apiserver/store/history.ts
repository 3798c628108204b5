/** What happened lately, so that watches resume: changes in revision order, bounded by count, bytes and age. */
import type { Change } from './store.ts';

/** How much history is kept. */
export interface HistoryLimits {
  /** The most events. */
  events: number;
  /** The most bytes of events; status updates of a large Router are close to a megabyte each. */
  bytes: number;
  /** Events older than this go, milliseconds of wall-clock time. */
  ageMs: number;
  /** Events that age alone does not remove, so that a quiet node's watches still resume after a night. */
  minEvents: number;
}

export const DEFAULT_HISTORY: HistoryLimits = {
  events: 10_000,
  bytes: 32 * 1024 * 1024,
  ageMs: 60 * 60_000,
  minEvents: 1000,
};

/** A change and when it was committed, wall-clock milliseconds. */
export interface HistoryEvent {
  readonly change: Change;
  readonly at: number;
}

/** Events examined at once when some are too old: more than one commit can add. */
const STEP_EVENTS = 2000;
/** Dropped events that the array still holds; moving the others down is then worth it. */
const MAX_DROPPED = 4096;

/** The events of a store. */
export class History {
  readonly #limits: HistoryLimits;
  #events: HistoryEvent[] = [];
  /** Where the oldest one stands; those before it are dropped. */
  #head = 0;
  #bytes = 0;
  #floor: number;

  constructor(limits: HistoryLimits, floor: number) {
    this.#limits = limits;
    this.#floor = floor;
  }

  /** Changes up to this revision are no longer here. */
  get floor(): number {
    return this.#floor;
  }

  /** How many events there are and how long they are together. */
  get size(): { readonly events: number; readonly bytes: number } {
    return { events: this.#events.length - this.#head, bytes: this.#bytes };
  }

  /** Adds a committed change; revisions must rise. */
  add(change: Change, at: number): void {
    this.#events.push({ change, at });
    this.#bytes += change.stored.json.length;
  }

  /** Up to `limit` changes of a resource above a revision, oldest first. */
  after(resource: string, revision: number, limit: number): Change[] {
    const found: Change[] = [];
    for (let at = this.#firstAfter(revision); at < this.#events.length && found.length < limit; at++) {
      const change = this.#events[at]?.change;
      if (change?.stored.resource === resource) found.push(change);
    }
    return found;
  }

  #firstAfter(revision: number): number {
    let [low, high] = [this.#head, this.#events.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#events[middle]?.change.stored.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops what exceeds the limits. */
  compact(now: number): void {
    const { events: maxEvents, bytes: maxBytes, ageMs, minEvents } = this.#limits;
    const isOver = this.size.events > maxEvents || this.#bytes > maxBytes;
    // going a tenth below the limit makes this rare instead of once a write
    const targetEvents = isOver ? maxEvents * 0.9 : maxEvents;
    const targetBytes = isOver ? maxBytes * 0.9 : maxBytes;
    for (let step = 0; step < STEP_EVENTS; step++) {
      const oldest = this.#events[this.#head];
      if (oldest === undefined) break;
      const { events } = this.size;
      const isOld = now - oldest.at > ageMs && events > minEvents;
      if (events <= targetEvents && this.#bytes <= targetBytes && !isOld) break;
      this.#head++;
      this.#bytes -= oldest.change.stored.json.length;
      this.#floor = oldest.change.stored.revision;
    }
    if (this.#head > MAX_DROPPED || this.#head === this.#events.length) {
      this.#events = this.#events.slice(this.#head);
      this.#head = 0;
    }
  }
}
