// What happens to the service while news of it is late. Each starts from a world that is at rest and knows the truth.
import { pause } from '../../scripts/demo/wait.mjs';
import { startLoad, summarize } from './load.mjs';

/** How long the load goes on after the news has arrived: parked connections have come or failed by then, milliseconds. */
const AFTER_MS = 7000;
const WARM_UP_MS = 500;
/** At every Router that the node knows: what a sidecar does when it is not told otherwise. */
const EVERYWHERE = '';

/** By name: which providers there are before, what happens, and how long the load goes on after that. */
export const SCENARIOS = {
  moves: {
    title: 'the only provider moves to another Router',
    before: { 'node-a': 'node-a' },
    event: (world) => move(world, 'node-b'),
    lengthMs: (delayMs) => delayMs + AFTER_MS,
  },
  shrinks: {
    title: 'one of two providers dies',
    before: { 'node-a': 'node-a', 'node-b': 'node-b' },
    event: (world) => world.stopProvider('node-a'),
    lengthMs: () => AFTER_MS,
  },
  everywhere: {
    title: 'the provider moves, registered at every Router',
    before: { 'node-a': EVERYWHERE },
    event: (world) => move(world, EVERYWHERE),
    lengthMs: () => AFTER_MS,
  },
  router: {
    title: 'one of two Routers dies, the provider is at both',
    before: { 'node-b': EVERYWHERE },
    event: (world) => world.killRouter('node-a'),
    lengthMs: () => AFTER_MS,
    after: (world) => world.restartRouter('node-a'),
  },
  quiet: {
    title: 'cut, and nothing happens',
    before: { 'node-a': 'node-a' },
    cuts: true,
    event: () => {},
    lengthMs: () => 1000,
  },
  cut: {
    title: 'cut, and the only provider moves meanwhile',
    before: { 'node-a': 'node-a' },
    cuts: true,
    event: (world) => move(world, 'node-b'),
    lengthMs: () => AFTER_MS,
  },
};

/** The new provider is there before the old one goes. */
async function move(world, routers) {
  await world.startProvider('node-b', routers);
  await world.stopProvider('node-a');
}

/** Brings the world to rest with these providers. */
async function prepare(world, before) {
  world.delayMs = 0;
  await world.setProviders(before);
  const isEverywhere = Object.values(before).includes(EVERYWHERE);
  await world.settled(isEverywhere ? 'node-a node-b' : Object.keys(before).join(' '));
}

/**
 * Runs a scenario with news that is `ms` late, or a cut of that length. Resolves with what became of the connections by
 * policy, and after a cut with how long after its end the consumer's node knew the truth.
 */
export async function runScenario(world, name, ms) {
  const { before, event, lengthMs, cuts, after } = SCENARIOS[name];
  await prepare(world, before);
  if (!cuts) world.delayMs = ms;
  const load = startLoad(world.targets);
  await pause(WARM_UP_MS);
  const since = performance.now();
  let convergedMs;
  if (cuts) world.cut();
  await event(world);
  if (cuts) {
    await pause(ms);
    convergedMs = await healAndMeasure(world, name === 'cut' ? 'node-b' : 'node-a');
  }
  await pause(lengthMs(ms));
  const attempts = await load.end();
  await after?.(world);
  const policies = [...attempts].map(([policy, made]) => [policy, summarize(made, since)]);
  return { policies: Object.fromEntries(policies), convergedMs };
}

async function healAndMeasure(world, truth) {
  const healedAt = performance.now();
  world.heal();
  while (!(await world.isFresh()) || (await world.known()) !== truth) await pause(5);
  return Math.round(performance.now() - healedAt);
}
