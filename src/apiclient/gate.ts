/**
 * Lets few requests of many clients begin at once. A process that opens hundreds of TLS connections in one moment answers
 * none of them in time, takes that for servers that are away, and opens them all again.
 */
import type { Clock } from '../lib/clock.ts';

/** How many may be inside, and for how long one counts. */
export interface GateLimits {
  places: number;
  /** A server that does not answer keeps its place no longer than this, milliseconds. */
  holdMs: number;
}

/** A way in with few places. */
export interface Gate {
  /** Waits for a place, first come first served, or until the signal aborts; the caller calls what it gets when it is through. */
  enter(signal?: AbortSignal): Promise<() => void>;
}

/** Creates a gate; those who wait are bounded in number by the clients that share it. */
export function createGate(limits: GateLimits, clock: Clock): Gate {
  const waiting = new Set<() => void>();
  let inside = 0;

  const admit = (): (() => void) => {
    inside++;
    let isInside = true;
    const leave = (): void => {
      if (!isInside) return;
      isInside = false;
      timer.cancel();
      inside--;
      const [next] = waiting;
      next?.();
    };
    const timer = clock.after(limits.holdMs, leave);
    return leave;
  };

  return {
    enter(signal) {
      if (signal?.aborted === true) return Promise.resolve(() => {});
      if (inside < limits.places) return Promise.resolve(admit());
      return new Promise((resolve) => {
        const end = (leave: () => void): void => {
          waiting.delete(onTurn);
          signal?.removeEventListener('abort', onAbort);
          resolve(leave);
        };
        const onTurn = (): void => end(admit());
        const onAbort = (): void => end(() => {}); // the request itself tells that it was given up
        waiting.add(onTurn);
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    },
  };
}
