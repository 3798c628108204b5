/** A clock that moves only when a test says so; timers fire in order of their time, then of their making. */
import type { Clock, Timer } from '../../src/lib/clock.ts';

interface Pending {
  dueMs: number;
  serial: number;
  periodMs: number | undefined;
  fn: () => void;
}

/** A Clock under the control of a test. It starts at monotonic 0 and wall time 2026-01-01T00:00:00Z. */
export class FakeClock implements Clock {
  readonly #pending = new Set<Pending>();
  #nowMs = 0;
  #wallOffsetMs = Date.UTC(2026, 0, 1);
  #serial = 0;

  now(): number {
    return this.#nowMs;
  }

  wallNow(): Date {
    return new Date(this.#wallOffsetMs + this.#nowMs);
  }

  after(delayMs: number, fn: () => void): Timer {
    return this.#add(delayMs, undefined, fn);
  }

  every(periodMs: number, fn: () => void): Timer {
    return this.#add(periodMs, periodMs, fn);
  }

  /** How many timers wait; 0 after a component that cleans up has stopped. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Moves time on and fires, at its own time, each timer that comes due on the way. */
  advance(byMs: number): void {
    const end = this.#nowMs + byMs;
    for (let next = this.#firstDue(end); next !== undefined; next = this.#firstDue(end)) {
      this.#nowMs = next.dueMs;
      if (next.periodMs === undefined) this.#pending.delete(next);
      else next.dueMs += Math.max(next.periodMs, 1);
      next.fn();
    }
    this.#nowMs = end;
  }

  /** Lets time pass in which nothing ran, as when the process was stopped: all timers that came due fire at its end. */
  sleep(forMs: number): void {
    this.#nowMs += forMs;
    for (let next = this.#firstDue(this.#nowMs); next !== undefined; next = this.#firstDue(this.#nowMs)) {
      if (next.periodMs === undefined) this.#pending.delete(next);
      else next.dueMs = this.#nowMs + Math.max(next.periodMs, 1);
      next.fn();
    }
  }

  /** As advance, and lets promises settle between timers; for code that awaits between its waits. */
  async advanceAsync(byMs: number): Promise<void> {
    const end = this.#nowMs + byMs;
    await settle();
    for (let next = this.#firstDue(end); next !== undefined; next = this.#firstDue(end)) {
      this.advance(next.dueMs - this.#nowMs);
      await settle();
    }
    this.advance(end - this.#nowMs);
    await settle();
  }

  /** Sets the wall clock as an administrator does; monotonic time and timers do not notice. */
  setWall(date: Date): void {
    this.#wallOffsetMs = date.getTime() - this.#nowMs;
  }

  #add(delayMs: number, periodMs: number | undefined, fn: () => void): Timer {
    const entry: Pending = {
      dueMs: this.#nowMs + Math.max(delayMs, 0),
      serial: this.#serial++,
      periodMs,
      fn,
    };
    this.#pending.add(entry);
    return { cancel: () => void this.#pending.delete(entry) };
  }

  #firstDue(endMs: number): Pending | undefined {
    let first: Pending | undefined;
    for (const entry of this.#pending) {
      if (entry.dueMs > endMs) continue;
      const isEarlier = first === undefined || entry.dueMs < first.dueMs;
      if (isEarlier || (entry.dueMs === first?.dueMs && entry.serial < first.serial)) first = entry;
    }
    return first;
  }
}

/** Two turns of the event loop: promise chains and what they schedule with setImmediate have run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
