/** Ends what nobody uses: calls back after a time in which nothing happened. */
import type { Clock } from '../lib/clock.ts';

/** A running idle timer. */
export interface IdleTimer {
  /** Something happened. Cheap enough for every chunk of a stream. */
  touch(): void;
  /** Stops it for good. Idempotent. */
  stop(): void;
}

/** Calls `onIdle` once, `limitMs` after the last touch; never when the limit is 0. */
export function createIdleTimer(clock: Clock, limitMs: number, onIdle: () => void): IdleTimer {
  if (limitMs === 0) return { touch: () => {}, stop: () => {} };
  let lastUse = clock.now();
  const look = (): void => {
    const left = lastUse + limitMs - clock.now();
    if (left <= 0) onIdle();
    else timer = clock.after(left, look);
  };
  let timer = clock.after(limitMs, look);
  return {
    touch: () => {
      lastUse = clock.now();
    },
    stop: () => timer.cancel(),
  };
}
