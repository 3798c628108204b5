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

/** Rows examined at once; bounds how long one step can take. */
const STEP_ROWS = 2000;

/** Drops what exceeds the limits, a step at a time; returns the new floor, or undefined when nothing was dropped. */
export function compact(image: SqliteImage, limits: HistoryLimits, now: number): number | undefined {
  let { events, bytes } = image.historySize();
  // going a tenth below the limit makes compaction rare instead of once a write
  const isOver = events > limits.events || bytes > limits.bytes;
  const targetEvents = isOver ? limits.events * 0.9 : limits.events;
  const targetBytes = isOver ? limits.bytes * 0.9 : limits.bytes;
  let floor: number | undefined;
  for (const row of image.oldestEvents(STEP_ROWS)) {
    const isOld = now - row.at > limits.ageMs && events > limits.minEvents;
    if (events <= targetEvents && bytes <= targetBytes && !isOld) break;
    floor = row.revision;
    events--;
    bytes -= row.bytes;
  }
  if (floor !== undefined) image.dropEvents(floor);
  return floor;
}
