/** Log lines that strangers can cause: a burst is written whole, then one in a while that says how many were left out. */
import type { Clock } from './clock.ts';
import type { LogFields, LogLevel, Logger } from './log.ts';

/** Lines written at once, and the time until there is room for another one, milliseconds. */
const BURST = 100;
const REFILL_MS = 1000;
/** Longest text of a field; strangers choose them. */
const MAX_TEXT = 128;

/** See the file's first line. */
export class LimitedLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  #room = BURST;
  #refilledAt: number;
  #leftOut = 0;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
    this.#refilledAt = clock.now();
  }

  /** Writes a line, or counts it. */
  write(level: LogLevel, text: string, fields: LogFields): void {
    const now = this.#clock.now();
    const refilled = Math.floor((now - this.#refilledAt) / REFILL_MS);
    if (refilled > 0) {
      this.#room = Math.min(BURST, this.#room + refilled);
      this.#refilledAt += refilled * REFILL_MS;
    }
    if (this.#room === 0) {
      this.#leftOut += 1;
      return;
    }
    this.#room -= 1;
    const more = this.#leftOut === 0 ? {} : { leftOut: this.#leftOut };
    this.#leftOut = 0;
    this.#log[level](text, { ...shortened(fields), ...more });
  }
}

function shortened(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      typeof value === 'string' && value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value,
    ]),
  );
}
