import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { QueueGuard } from './queue-guard.ts';
import type { QueueHolder } from './queue-guard.ts';

class Holder implements QueueHolder {
  heldBytes: number;
  drainedBytes = 0;
  error: Error | undefined;

  constructor(heldBytes: number) {
    this.heldBytes = heldBytes;
  }

  destroy(err: Error): void {
    this.error = err;
    this.heldBytes = 0;
  }
}

function setUp(maxBytes: number) {
  const clock = new FakeClock();
  const holders: Holder[] = [];
  const dropped: [number, number][] = [];
  const guard = new QueueGuard({
    clock,
    maxBytes: () => maxBytes,
    holders: () => holders,
    onDropped: (count, bytes) => dropped.push([count, bytes]),
  });
  guard.start();
  return { clock, holders, dropped, guard };
}

test('below the bound nobody goes', () => {
  const { clock, holders, dropped, guard } = setUp(1000);
  holders.push(new Holder(500), new Holder(500));
  clock.advance(5000);
  assert.deepEqual(dropped, []);
  assert.equal(guard.heldBytes, 1000);
  guard.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('over the bound those go that take nothing, not those that hold most', () => {
  const { clock, holders, dropped } = setUp(1000);
  const [stuck, trickling, slow, fast] = [150, 250, 350, 350].map((bytes) => new Holder(bytes)) as [
    Holder,
    Holder,
    Holder,
    Holder,
  ];
  holders.push(stuck, trickling, slow, fast);
  const drain = (): void => {
    trickling.drainedBytes += 1;
    slow.drainedBytes += 50;
    fast.drainedBytes += 5000;
  };
  clock.advance(1000);
  drain();
  clock.advance(100);
  assert.deepEqual(
    [stuck, trickling, slow, fast].map(({ error }) => error !== undefined),
    [true, true, false, false],
  );
  assert.match(stuck.error?.message ?? '', /take nothing/u);
  assert.deepEqual(dropped, [[2, 400]]);
  assert.equal(slow.error, undefined);
});

test('far over the bound nobody waits for a second look', () => {
  const { clock, holders, dropped, guard } = setUp(1000);
  holders.push(...Array.from({ length: 100 }, () => new Holder(100)));
  clock.advance(1000);
  assert.equal(dropped.length, 1);
  assert.ok(guard.heldBytes <= 750);
});
