/** Randomness that nobody can predict, in the form in which components take it. */
import { randomInt } from 'node:crypto';

const STEPS = 2 ** 32;

/** A number from 0 up to, not including, 1, like Math.random(), whose next numbers follow from the last few. */
export function secureRandom(): number {
  return randomInt(STEPS) / STEPS;
}
