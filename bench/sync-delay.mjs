// What late news of other nodes does to connections: `npm run bench -- sync-delay [--write] [SCENARIO[:SECONDS,…]...]`. A mesh
// and a hub, side by side, as real processes; the line to the consumer's syncer is slow or cut. Prints tables; with --write
// it replaces what it measured in docs/studies/sync-delay.json, and draws the plots anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchProcesses } from './processes.mjs';
import { drawDelays } from './sync/chart.mjs';
import { cutTable, delayTable } from './sync/report.mjs';
import { runScenario, SCENARIOS } from './sync/scenarios.mjs';
import { World } from './sync/world.mjs';

const SECOND = 1000;
/** How late the news is, or how long the cut lasts. */
const STEPS = {
  moves: [0, 1, 5, 10, 30, 60],
  shrinks: [0, 60],
  everywhere: [0, 60],
  router: [0, 60],
  quiet: [30],
  cut: [5, 30, 60],
};
const root = join(import.meta.dirname, '..');

/** Runs the scenarios; resolves with one record a scenario, step and kind of world. */
async function measure(wanted, report) {
  const processes = new BenchProcesses((dead) => report(processes.tail(dead)));
  const worlds = [new World(processes, 'mesh', 0), new World(processes, 'hub', 1)];
  try {
    await Promise.all(worlds.map((world) => world.start()));
    const results = [];
    for (const { name, seconds } of wanted) {
      report(`${SCENARIOS[name].title}: ${seconds} s`);
      const run = async (world) => ({
        scenario: name,
        seconds,
        kind: world.kind,
        ...(await runScenario(world, name, seconds * SECOND)),
      });
      results.push(...(await Promise.all(worlds.map(run))));
    }
    return results;
  } finally {
    for (const world of worlds) world.stop();
    await processes.stop();
  }
}

/** `moves:0,5` or `moves`, as the runs that are meant. */
function parseWanted(text) {
  const [name, steps] = text.split(':');
  if (SCENARIOS[name] === undefined)
    throw new Error(`unknown scenario ${name}; there are ${Object.keys(SCENARIOS).join(', ')}`);
  return (steps?.split(',').map(Number) ?? STEPS[name]).map((seconds) => ({ name, seconds }));
}

/** What was measured before and is not now, and what is, in the order of the scenarios. */
function merged(before, results) {
  const key = ({ scenario, seconds, kind }) => `${scenario} ${seconds} ${kind}`;
  const all = new Map([...before, ...results].map((result) => [key(result), result]));
  const order = Object.keys(SCENARIOS);
  return [...all.values()].sort(
    (a, b) =>
      order.indexOf(a.scenario) - order.indexOf(b.scenario) ||
      a.seconds - b.seconds ||
      (a.kind < b.kind ? 1 : -1),
  );
}

/** Runs the study; `run` says where and with what. */
export async function syncDelay(args, run) {
  const isWritten = args.includes('--write');
  const names = args.filter((arg) => arg !== '--write');
  const wanted = (names.length === 0 ? Object.keys(SCENARIOS) : names).flatMap(parseWanted);
  const results = await measure(wanted, (text) => console.error(text));
  console.log([run, '', ...delayTable(results), '', ...cutTable(results)].join('\n'));
  if (!isWritten) return;
  const file = (name) => join(root, 'docs/studies', name);
  const before = JSON.parse(readFileSync(file('sync-delay.json'), 'utf8'));
  const all = merged(before.results, results);
  writeFileSync(file('sync-delay.json'), `${JSON.stringify({ run, results: all })}\n`);
  writeFileSync(file('sync-delay.svg'), drawDelays(all));
}
