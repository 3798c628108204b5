/** Waiting for conditions: polls until something is true, and says what it waited for when it never was. */
import { errorMessage } from '../../src/lib/errors.ts';

/** How long a condition may take by default: what is awaited comes in a moment, but a busy machine may pause that long. */
export const PATIENCE_MS = 30_000;

/** What must come soon, within a second or two where nothing is in the way, comes in this time on a machine that pauses. */
export const SOON_MS = 10_000;

/** What to wait for and how long. */
export interface WaitOptions {
  /** What is awaited, in words; begins the error message. */
  what: string;
  /** Milliseconds until giving up; {@link PATIENCE_MS} when absent. */
  timeoutMs?: number;
  /** Milliseconds between looks; 20 when absent. */
  intervalMs?: number;
}

/**
 * Calls `condition` until it gives something truthy, and resolves with that. A condition that throws has not come
 * true yet. Rejects after the time limit with what was awaited and the last value or error seen.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions,
): Promise<NonNullable<T>> {
  const { what, timeoutMs = PATIENCE_MS, intervalMs = 20 } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let last: string;
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false && value !== 0 && value !== '')
        return value;
      last = `last value: ${String(value)}`;
    } catch (err) {
      last = `last error: ${errorMessage(err)}`;
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms; ${last}`);
    await new Promise((resolve) => {
      setTimeout(resolve, intervalMs);
    });
  }
}
