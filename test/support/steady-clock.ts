/** A clock that runs as the machine's does, but stands still while this process does. */
import type { Clock } from '../../src/lib/clock.ts';
import { FakeClock } from './fake-clock.ts';
import type { Cleanup } from './temp-dir.ts';

/** How far it goes in one turn of the event loop at most, milliseconds. */
const STEP_MS = 5;

/**
 * Starts one for a test whose peers are in its own process: they pause together, and a time limit counts only the
 * time in which they could have answered. Stands still after the test.
 */
export function startSteadyClock(t: Cleanup): Clock {
  const clock = new FakeClock();
  const steps = setInterval(() => clock.advance(STEP_MS), STEP_MS);
  t.after(() => clearInterval(steps));
  return clock;
}
