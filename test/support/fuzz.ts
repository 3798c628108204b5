/** The loop around every fuzz target: repeatable, bounded in time or in number, and told what it did. */
import { createRandom } from './random.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
const TIME_MS = Number(process.env['FUZZ_MS'] ?? 3000);
/** When set, each target runs until it has had this many inputs, whatever the time. */
const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 0);
/** Inputs between two turns of the event loop. */
const BATCH = 100;
/** By then caches are full and code is compiled. */
const SETTLED_AFTER = 100_000;

const residentMiB = (): number => Math.round(process.memoryUsage.rss() / 1024 / 1024);

/** Numbers from 0 up to 1, the same for the same seed. */
export const random = createRandom(SEED);
/** A whole number from 0 up to, not including, the limit. */
export const below = (limit: number): number => Math.floor(random() * limit);
/** One of a list. */
export const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;

/**
 * Calls `once` with one input after the other until the time or the number is reached; a failure names the seed. What
 * memory the process had after the first hundred thousand inputs, and has at the end, is told: it should not grow.
 */
export async function fuzz(name: string, once: () => void | Promise<void>): Promise<void> {
  const end = performance.now() + TIME_MS;
  let inputs = 0;
  let settledMiB: number | undefined;
  try {
    while (INPUTS > 0 ? inputs < INPUTS : performance.now() < end) {
      for (let count = 0; count < BATCH; count++) {
        const waiting = once();
        if (waiting !== undefined) await waiting;
      }
      inputs += BATCH;
      if (inputs === SETTLED_AFTER) settledMiB = residentMiB();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  } catch (err) {
    throw new Error(`${name}: input ${inputs}, FUZZ_SEED=${SEED}`, { cause: err });
  }
  const memory = settledMiB === undefined ? '' : `, RSS ${settledMiB} → ${residentMiB()} MiB`;
  process.stderr.write(`${name}: ${inputs} inputs, seed ${SEED}${memory}\n`);
}
