// Goes over all paths and parts in rounds, so that a slow moment of the machine does not hit one path alone.
import { drive } from './drive.mjs';
import { PARTS } from './parts.mjs';

/**
 * Connections are opened this long on every path before the first round, seconds: processes that run for weeks are
 * measured with their code compiled and their heaps grown, and each path gets the same.
 */
const WARM_UP_SECONDS = 5;
const WARM_UP_CONCURRENCY = 32;

/** Resolves with every round's figures: results.get(path)[part][figure] is a list with a value a round. */
export async function runRounds(paths, parts, { rounds, seconds, report }) {
  const results = new Map(paths.map(({ name }) => [name, {}]));
  if (parts.includes('memory')) {
    // Idle is before the first load.
    for (const path of paths) add(results.get(path.name), 'memory', await PARTS.memory.measure(path));
  }
  for (const path of paths) {
    await drive('connections', path, [WARM_UP_CONCURRENCY, WARM_UP_SECONDS], WARM_UP_SECONDS);
  }
  for (let round = 0; round < rounds; round++) {
    for (const part of parts) {
      if (part === 'memory') continue;
      for (const path of paths) {
        add(results.get(path.name), part, await PARTS[part].measure(path, seconds));
      }
    }
    report(`round ${round + 1} of ${rounds}`);
  }
  return results;
}

function add(figures, part, measured) {
  figures[part] ??= {};
  for (const [name, value] of Object.entries(measured)) (figures[part][name] ??= []).push(value);
}
