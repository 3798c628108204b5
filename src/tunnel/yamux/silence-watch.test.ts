/** Unit tests of the watch over a mux session: when silence counts, on which line, and what it costs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { SilenceWatch } from './silence-watch.ts';
import type { WatchedMux } from './silence-watch.ts';

/** A peer behind a line: answers after the line's round trip while the line is up. */
function line(clock: FakeClock, initialRoundTripMs = 20) {
  let isUp = true;
  let roundTripMs = initialRoundTripMs;
  let measuredMs: number | undefined;
  let askedAt: number | undefined;
  const peer = {
    asked: 0,
    cut: () => {
      isUp = false;
    },
    /** The line carries again, and what was lost comes now. */
    heal: () => {
      isUp = true;
      answer();
    },
    slowDown: (ms: number) => {
      roundTripMs = ms;
    },
  };
  const answer = (): void => {
    if (askedAt === undefined || !isUp) return;
    measuredMs = clock.now() - askedAt;
    askedAt = undefined;
  };
  const mux: WatchedMux = {
    get roundTripMs() {
      return measuredMs;
    },
    get silentMs() {
      return askedAt === undefined ? 0 : clock.now() - askedAt;
    },
    probe: () => {
      if (askedAt === undefined) {
        askedAt = clock.now();
        peer.asked += 1;
        clock.after(roundTripMs, answer);
      }
      return true;
    },
  };
  return { mux, peer };
}

/** A watch over a line, and the changes it told with their times in seconds. */
function watch(roundTripMs?: number) {
  const clock = new FakeClock();
  const { mux, peer } = line(clock, roundTripMs);
  const told: [atS: number, isSilent: boolean][] = [];
  const silence = new SilenceWatch(mux, {
    clock,
    onChange: (isSilent) => told.push([Math.round(clock.now() / 100) / 10, isSilent]),
  });
  return { clock, peer, told, silence };
}

test('a cut line is noticed within five seconds, and its return within one', () => {
  for (let offsetMs = 0; offsetMs < 1000; offsetMs += 130) {
    const { clock, peer, told, silence } = watch();
    clock.advance(10_000 + offsetMs);
    const cutAt = clock.now();
    peer.cut();
    clock.advance(6000);
    assert.equal(told.length, 1);
    const tookS = (told[0]?.[0] ?? NaN) - cutAt / 1000;
    assert.ok(tookS >= 2.9 && tookS <= 5, `${tookS} s`);
    assert.equal(silence.isSilent, true);
    peer.heal();
    clock.advance(1000);
    assert.equal(told[1]?.[1], false);
    silence.stop();
  }
});

test('a quiet line costs one question a second', () => {
  const { clock, peer, told, silence } = watch();
  clock.advance(100_000);
  assert.ok(peer.asked >= 75 && peer.asked <= 101, `${peer.asked} in 100 s`);
  assert.deepEqual(told, []);
  silence.stop();
  assert.equal(silence.isSilent, false);
});

test('a line that takes a second each way, and loses packets, is given time', () => {
  const { clock, peer, told } = watch(2000);
  clock.advance(20_000);
  for (const lateMs of [2600, 5000, 7000, 2000]) {
    peer.slowDown(lateMs);
    clock.advance(20_000);
  }
  assert.deepEqual(told, []);
  peer.cut();
  clock.advance(12_000);
  assert.equal(told.length, 1);
});

test('the patience that a slow answer earned goes in minutes', () => {
  const { clock, peer, silence } = watch();
  clock.advance(5000);
  const usualMs = silence.limitMs;
  peer.slowDown(1000);
  clock.advance(3000);
  assert.ok(silence.limitMs > 4900, `${silence.limitMs}`);
  peer.slowDown(20);
  clock.advance(600_000);
  assert.ok(silence.limitMs - usualMs < 50, `${silence.limitMs}`);
});

test('a process that stood still does not blame its peers', () => {
  const { clock, peer, told } = watch();
  clock.advance(5000);
  peer.cut();
  clock.advance(1000);
  // Nothing ran for a minute: the timers come late, before what has arrived is read.
  const now = clock.now.bind(clock);
  clock.now = () => now() + 60_000;
  peer.heal();
  clock.advance(3000);
  assert.deepEqual(told, []);
});

test('nothing is asked after the end', () => {
  const { clock, silence } = watch();
  clock.advance(3000);
  silence.stop();
  clock.advance(100); // the answer under way
  assert.equal(clock.pendingTimers, 0);
});
