/** Tests of the gate: few inside, in the order of their coming, and none for ever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createGate } from './gate.ts';

test('those beyond the places wait their turn, and who gives up does not take one', async () => {
  const clock = new FakeClock();
  const gate = createGate({ places: 2, holdMs: 300 }, clock);
  const inside: string[] = [];
  const enter = async (name: string, signal?: AbortSignal): Promise<() => void> => {
    const leave = await gate.enter(signal);
    inside.push(name);
    return leave;
  };
  const leaveA = await enter('a');
  await enter('b');
  const giveUp = new AbortController();
  const gone = enter('gone', giveUp.signal);
  const c = enter('c');
  await clock.advanceAsync(0);
  assert.deepEqual(inside, ['a', 'b']);
  giveUp.abort();
  (await gone)();
  leaveA();
  leaveA();
  await c;
  assert.deepEqual(inside, ['a', 'b', 'gone', 'c']);
  const d = enter('d');
  await clock.advanceAsync(299);
  assert.equal(inside.length, 4);
  await clock.advanceAsync(1);
  (await d)();
  assert.equal(inside.length, 5, 'a server that does not answer keeps its place for a while only');
  await clock.advanceAsync(1000);
  assert.equal(clock.pendingTimers, 0);
});
