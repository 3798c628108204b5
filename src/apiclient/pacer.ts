/**
 * Slows down the reading from one server that sends more than its share. What was read is never lost: its reader only
 * waits before it reads on, so that the server finds its connection full.
 */
import { sleep } from '../lib/clock.ts';
import type { Clock } from '../lib/clock.ts';

/** The share of one server. */
export interface PacerLimits {
  bytesPerSecond: number;
  /** What may be read at once after a quiet time. */
  burstBytes: number;
}

/** A budget of bytes that refills with time. */
export interface Pacer {
  /** Notes what was read; gives a promise to wait for when that was more than the share, else nothing. */
  take(bytes: number): Promise<void> | undefined;
  /** Ends every wait; nobody waits from then on. */
  stop(): void;
}

/** The longest single wait: a reader must notice its own end and that the server is gone. */
const MAX_WAIT_MS = 5000;

/** Creates a pacer with a full budget. */
export function createPacer(limits: PacerLimits, clock: Clock): Pacer {
  const ending = new AbortController();
  let left = limits.burstBytes;
  let filledAt = clock.now();
  return {
    take(bytes) {
      const now = clock.now();
      left = Math.min(limits.burstBytes, left + ((now - filledAt) / 1000) * limits.bytesPerSecond) - bytes;
      filledAt = now;
      if (left >= 0 || ending.signal.aborted) return undefined;
      const waitMs = (-left / limits.bytesPerSecond) * 1000;
      return sleep(clock, Math.min(waitMs, MAX_WAIT_MS), ending.signal);
    },
    stop: () => ending.abort(),
  };
}
