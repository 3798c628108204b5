/** Asks the peer of a mux session whether it lives; time in which this process stood still is not held against it. */
import { sleep } from '../../lib/clock.ts';
import type { Clock } from '../../lib/clock.ts';
import type { YamuxSession } from './session.ts';

/** What is asked. */
export type AskedMux = Pick<YamuxSession, 'probe' | 'silentMs' | 'isClosed'>;

/** How often is looked for an answer, milliseconds. */
const LOOK_EVERY_MS = 20;
/** A look that comes later than this after the one before it says nothing: what came meanwhile is read after the timers. */
const MAX_STEP_MS = 100;

/** Whether the peer gives a sign of life within `limitMs`. Never rejects. */
export async function givesSignOfLife(mux: AskedMux, limitMs: number, clock: Clock): Promise<boolean> {
  let leftMs = limitMs;
  for (let isOwed = mux.probe(); isOwed && !mux.isClosed; isOwed = mux.silentMs > 0) {
    if (leftMs <= 0) return false;
    const lookedAt = clock.now();
    await sleep(clock, LOOK_EVERY_MS);
    const stepMs = clock.now() - lookedAt;
    leftMs = stepMs > MAX_STEP_MS ? Math.max(leftMs - MAX_STEP_MS, LOOK_EVERY_MS) : leftMs - stepMs;
  }
  return !mux.isClosed;
}
