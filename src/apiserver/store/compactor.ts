/** Decides which part of the history may go: bounded by count, bytes and age, but never below a useful minimum. */
import type { SqliteImage } from './sqlite.ts';

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

/** Rows examined at once: bounds how long one step can take, and is more than one commit can add. */
const STEP_ROWS = 2000;

/** Keeps count of the history, so that a commit below the limits costs nothing, and drops what exceeds them. */
export class Compactor {
  readonly #image: SqliteImage;
  readonly #limits: HistoryLimits;
  #size: { events: number; bytes: number; oldestAt: number };

  constructor(image: SqliteImage, limits: HistoryLimits) {
    this.#image = image;
    this.#limits = limits;
    this.#size = image.historySize();
  }

  /** How many events there are and how long they are together. */
  get size(): { readonly events: number; readonly bytes: number } {
    return this.#size;
  }

  /** Counts committed events. */
  add(events: number, bytes: number, at: number): void {
    if (this.#size.events === 0) this.#size.oldestAt = at;
    this.#size.events += events;
    this.#size.bytes += bytes;
  }

  /** Drops what exceeds the limits, a step at a time; returns the new floor, or undefined when nothing was dropped. */
  step(now: number): number | undefined {
    const { events: maxEvents, bytes: maxBytes, ageMs, minEvents } = this.#limits;
    let { events, bytes } = this.#size;
    const isOver = events > maxEvents || bytes > maxBytes;
    if (!isOver && (events <= minEvents || now - this.#size.oldestAt <= ageMs)) return undefined;
    // going a tenth below the limit makes compaction rare instead of once a write
    const targetEvents = isOver ? maxEvents * 0.9 : maxEvents;
    const targetBytes = isOver ? maxBytes * 0.9 : maxBytes;
    let floor: number | undefined;
    for (const row of this.#image.oldestEvents(STEP_ROWS)) {
      const isOld = now - row.at > ageMs && events > minEvents;
      if (events <= targetEvents && bytes <= targetBytes && !isOld) break;
      floor = row.revision;
      events--;
      bytes -= row.bytes;
    }
    if (floor !== undefined) this.#image.dropEvents(floor);
    this.#size = this.#image.historySize();
    return floor;
  }
}
