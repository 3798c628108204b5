// Goes over all paths and parts in rounds, so that a slow moment of the machine does not hit one path alone.
import { PARTS } from './parts.mjs';

/** Resolves with every round's figures: results.get(path)[part][figure] is a list with a value a round. */
export async function runRounds(paths, parts, { rounds, seconds, report }) {
  const results = new Map(paths.map(({ name }) => [name, {}]));
  for (let round = 0; round < rounds; round++) {
    for (const part of parts) {
      for (const path of paths) {
        if (part === 'memory' && (round > 0 || path.pids.length === 0)) continue; // idle is before the first load
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
