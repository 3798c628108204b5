/** What a node's state says while its sidecar, its Router and its line come and go, and how soon. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsMissing } from '../support/netns.ts';
import { startMaintainedSite } from '../support/netns-maintenance.ts';
import { slowLineMissing } from '../support/slow-line.ts';
import { waitFor } from '../support/wait.ts';

const reason = netnsMissing() ?? slowLineMissing();
/** What takes at most 5 s on an idle machine, and 40 s where only the keep-alive notices. */
const SHOWN_MS = 25_000;
/** How long a bad line must not make the node flap. */
const BAD_LINE_MS = 15_000;
/** A machine that stands still for longer adds that to what the line does. */
const PAUSE_MS = 500;
const STEP_MS = 100;

/** Sleeps; the longest time that this process was kept from waking up, milliseconds. */
async function sleepLightly(ms: number): Promise<number> {
  const end = performance.now() + ms;
  let longestMs = 0;
  for (let before = performance.now(); before < end; before = performance.now()) {
    await sleep(STEP_MS);
    longestMs = Math.max(longestMs, performance.now() - before - STEP_MS);
  }
  return longestMs;
}

test('a node goes offline and comes back with its line', { skip: reason ?? false }, async (t) => {
  const site = await startMaintainedSite(t);
  if (site === undefined) return;
  const { cloud, node } = site;
  const columns = 'STATE:.status.services[0].status,WHY:.status.conditions[0].reason';
  const watch = cloud.start(
    t,
    site.command('get', ['nodemaintenances', '-w', '--no-headers', '-o', `custom-columns=${columns}`]),
    { env: site.env, name: 'edge ctl get -w' },
  );
  /** The states so far; an object that changes in another way repeats its own. */
  const states = (): string[] => {
    const lines = watch.stdout.trimEnd().split(/ *\n/u);
    return lines.map((line) => line.replaceAll(/ +/gu, ' ')).filter((line, at, all) => line !== all[at - 1]);
  };
  /** Does something, and waits for the states that follow. */
  const follow = async (what: string, step: () => void | Promise<void>, ...next: string[]): Promise<void> => {
    const wanted = [...states(), ...next];
    const began = performance.now();
    await step();
    await waitFor(() => states().length >= wanted.length, {
      what: `${next.join(', ')} after ${what}`,
      timeoutMs: SHOWN_MS,
    });
    assert.deepEqual(states(), wanted);
    t.diagnostic(`${what}: ${next.join(', ')} after ${Math.round(performance.now() - began)} ms`);
  };
  await waitFor(() => states()[0] === 'online TunnelUp', { what: 'the first state', timeoutMs: SHOWN_MS });

  await follow('a cut line', () => node.cut(), 'offline NodeSilent');
  await follow('a line that is back at once', () => node.heal(), 'online TunnelUp');
  await follow('a pulled plug', () => node.unplug(), 'offline NodeSilent');
  await site.router.waitForLine(/client gone/u, SHOWN_MS); // it has given up

  await follow('a plug that is back', () => node.heal(), 'online TunnelUp');
  await follow('a Router that is cut off', () => cloud.cut(), 'offline NodeSilent');
  await follow('its return', () => cloud.heal(), 'online TunnelUp');
  await follow('kill -9 of the sidecar', () => site.sidecar.kill(), 'offline TunnelDown');
  await follow('its start', () => void site.startSidecar(), 'online TunnelUp');

  const before = states();
  await node.degrade({ roundTripMs: 2000, lossPercent: 2, seed: 7 });
  const pausedMs = await sleepLightly(BAD_LINE_MS);
  if (pausedMs > PAUSE_MS) t.diagnostic(`the bad line shows nothing: a pause of ${Math.round(pausedMs)} ms`);
  else assert.deepEqual(states(), before, 'a line of a second each way with losses is no reason to flap');
});
