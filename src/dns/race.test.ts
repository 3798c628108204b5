/** The order of a race over time: late ones, failures, refusals, the end of the time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { race } from './race.ts';
import { emptyReply, RCODE } from './wire.ts';
import type { Reply } from './wire.ts';

interface Plan {
  afterMs: number;
  /** Undefined is a failure. */
  rcode?: number;
}

// Each entrant is asked once, answers by its plan, and writes down when it was asked and aborted.
function setUp(plans: Record<string, Plan>, { mayLinger = true, totalMs = 1000, tryMs = 500 } = {}) {
  const clock = new FakeClock();
  const log: string[] = [];
  const startedAt = clock.now();
  const at = (): number => clock.now() - startedAt;
  const ask = (name: string, limitMs: number, abandoned: AbortSignal): Promise<Reply | undefined> => {
    log.push(`${at()} ask ${name} for ${limitMs}`);
    const { afterMs, rcode } = plans[name] ?? { afterMs: 0 };
    return new Promise((resolve) => {
      let hasEnded = false;
      const end = (reply: Reply | undefined): void => {
        timer.cancel();
        hasEnded = true;
        resolve(reply);
      };
      const timer = clock.after(Math.min(afterMs, limitMs), () =>
        end(rcode === undefined || afterMs > limitMs ? undefined : emptyReply('forward', rcode)),
      );
      abandoned.addEventListener('abort', () => {
        if (hasEnded) return;
        log.push(`${at()} abort ${name}`);
        end(undefined);
      });
    });
  };
  const result = race({
    entrants: Object.keys(plans),
    clock,
    totalMs,
    tryMs,
    patienceMs: () => 100,
    ask,
    onLate: (name) => log.push(`${at()} late ${name}`),
    mayLinger: () => mayLinger,
  }).then((reply) => log.push(`${at()} end ${reply?.rcode}`));
  return { clock, log, result };
}

test('an answer in time asks nobody else', async () => {
  const { clock, log } = setUp({ a: { afterMs: 99, rcode: 0 }, b: { afterMs: 0, rcode: 0 } });
  await clock.advanceAsync(1000);
  assert.deepEqual(log, ['0 ask a for 500', '99 end 0']);
  assert.equal(clock.pendingTimers, 0);
});

test('a late one gets company; whoever answers first wins', async () => {
  const late = setUp({ a: { afterMs: 120, rcode: 3 }, b: { afterMs: 50, rcode: 0 } });
  await late.clock.advanceAsync(1000);
  assert.deepEqual(late.log, ['0 ask a for 500', '100 late a', '100 ask b for 500', '120 end 3']);
  const beaten = setUp({ a: { afterMs: 400, rcode: 0 }, b: { afterMs: 50, rcode: 0 } });
  await beaten.clock.advanceAsync(1000);
  assert.equal(beaten.log.at(-1), '150 end 0');
});

test('a loser is aborted when it may not linger', async () => {
  const plans = { a: { afterMs: 400, rcode: 0 }, b: { afterMs: 50, rcode: 0 } };
  const { clock, log } = setUp(plans, { mayLinger: false });
  await clock.advanceAsync(1000);
  assert.deepEqual(log.slice(-2), ['150 abort a', '150 end 0']);
  assert.equal(clock.pendingTimers, 0);
});

test('a failure or refusal asks the next at once; without a better one the refusal is the answer', async () => {
  const { clock, log } = setUp({
    a: { afterMs: 10 },
    b: { afterMs: 10, rcode: RCODE.REFUSED },
    c: { afterMs: 10 },
  });
  await clock.advanceAsync(1000);
  assert.deepEqual(log, ['0 ask a for 500', '10 ask b for 500', '20 ask c for 500', '30 end 5']);
});

test('all silent ends with the tries, at the latest with the total', async () => {
  const silent = { afterMs: 1e9 };
  const tries = setUp({ a: silent, b: silent });
  await tries.clock.advanceAsync(2000);
  assert.equal(tries.log.at(-1), '600 end undefined');
  const total = setUp({ a: silent, b: silent }, { totalMs: 250 });
  await total.clock.advanceAsync(2000);
  assert.deepEqual(total.log, ['0 ask a for 250', '100 late a', '100 ask b for 150', '250 end undefined']);
  assert.equal(total.clock.pendingTimers, 0);
});

test('nobody to ask is no answer', async () => {
  const { clock, log } = setUp({});
  await clock.advanceAsync(0);
  assert.deepEqual(log, ['0 end undefined']);
});
