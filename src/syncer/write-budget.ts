/** How many writes one origin may cause: a burst to appear with all it has, then a steady share. */
import type { Clock } from '../lib/clock.ts';

/** More than a node has objects, so that a node that appears or comes back is never slowed down. */
const BURST = 2500;
const PER_SECOND = 25;

/** Counts writes by origin. Origins are configured or limited in number by the caller. */
export interface WriteBudget {
  /** Takes one write; gives 0, or how long to wait before asking again, milliseconds. */
  take(origin: string): number;
}

/** Creates budgets that are full. */
export function createWriteBudget(clock: Clock): WriteBudget {
  const accounts = new Map<string, { left: number; at: number }>();
  return {
    take(origin) {
      const now = clock.now();
      const account = accounts.get(origin) ?? { left: BURST, at: now };
      accounts.set(origin, account);
      account.left = Math.min(BURST, account.left + ((now - account.at) / 1000) * PER_SECOND);
      account.at = now;
      if (account.left < 1) return Math.ceil(((1 - account.left) * 1000) / PER_SECOND);
      account.left--;
      return 0;
    },
  };
}
