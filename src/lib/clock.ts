/** Time as a dependency: monotonic for timers and durations, wall time only for timestamps. */

/** A pending timer. */
export interface Timer {
  /** Stops the timer; harmless once it has fired. */
  cancel(): void;
}

/** Where components get time from. */
export interface Clock {
  /** Monotonic milliseconds; only differences mean anything. */
  now(): number;
  /** Wall-clock time, for timestamps in objects and logs. */
  wallNow(): Date;
  /** Calls `fn` once after `delayMs`. The timer does not keep the process alive. */
  after(delayMs: number, fn: () => void): Timer;
  /** Calls `fn` every `periodMs`. The timer does not keep the process alive. */
  every(periodMs: number, fn: () => void): Timer;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => new Date(),
  after(delayMs, fn) {
    const handle = setTimeout(fn, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  every(periodMs, fn) {
    const handle = setInterval(fn, periodMs);
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
};

/** Resolves after `delayMs`, or at once when the signal aborts; never rejects. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = () => {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(delayMs, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** The last second that was asked for: within one, many are. */
let lastSecond = { at: Number.NaN, text: '' };

/** RFC 3339 with whole seconds, as Kubernetes objects carry it. Throws RangeError for an invalid date. */
export function rfc3339(date: Date): string {
  const at = Math.floor(date.getTime() / 1000);
  if (at !== lastSecond.at) lastSecond = { at, text: `${date.toISOString().slice(0, 19)}Z` };
  return lastSecond.text;
}
