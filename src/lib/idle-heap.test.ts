/** When a heap is collected: only where nothing else is to do, only while that gives something back, and for real. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { processHeap, shrinkIdleHeap } from './idle-heap.ts';
import type { Heap } from './idle-heap.ts';

const MIB = 1024 * 1024;

/** A heap that is told what it has, and what each collection leaves. */
class PlannedHeap implements Heap {
  mib = 40;
  usedMib = 30;
  spentMs = 0;
  collections = 0;
  /** Sizes after the next collections, MiB; the last one stays. */
  after = [30];

  size(): number {
    return this.mib * MIB;
  }
  used(): number {
    return this.usedMib * MIB;
  }
  cpuMs(): number {
    return this.spentMs;
  }
  collect(): void {
    this.collections++;
    this.mib = (this.after.length > 1 ? this.after.shift() : this.after[0]) ?? this.mib;
  }
}

function start(): { heap: PlannedHeap; looks: (count: number) => void } {
  const heap = new PlannedHeap();
  const clock = new FakeClock();
  shrinkIdleHeap(heap, clock);
  return {
    heap,
    looks: (count) => {
      for (let at = 0; at < count; at++) clock.advance(10_000);
    },
  };
}

test('an idle heap is collected until that gives nothing back, and then left alone', () => {
  const { heap, looks } = start();
  heap.after = [34, 31, 30.5];
  looks(10);
  assert.equal(heap.collections, 3);
});

test('it is collected again when it has grown again', () => {
  const { heap, looks } = start();
  looks(5);
  const before = heap.collections;
  heap.mib = 33;
  looks(5);
  assert.equal(heap.collections, before, 'that growth is not worth it');
  heap.mib = 40;
  looks(5);
  assert.ok(heap.collections > before);
});

test('a busy process is left to its work', () => {
  const { heap, looks } = start();
  for (let at = 0; at < 5; at++) {
    heap.spentMs += 400; // of ten seconds
    looks(1);
  }
  looks(2);
  assert.equal(heap.collections, 0, 'a short rest is not idleness');
  looks(1);
  assert.equal(heap.collections, 1);
});

test('a heap with much in it is not collected, which would stop the thread for long', () => {
  const { heap, looks } = start();
  heap.usedMib = 200;
  looks(5);
  assert.equal(heap.collections, 0);
});

test("the process's own heap can be collected", () => {
  const heap = processHeap();
  assert.ok(heap !== undefined);
  let garbage: number[][] | undefined = [];
  for (let of = 0; of < 200; of++) garbage.push(Array.from({ length: 20_000 }, (_, at) => at + of + 0.5));
  const full = heap.used();
  assert.ok(garbage.length > 0);
  garbage = undefined;
  heap.collect();
  assert.ok(heap.used() < full - 20 * MIB, `${full} bytes before, ${heap.used()} after`);
  assert.ok(heap.size() >= heap.used());
  assert.ok(heap.cpuMs() > 0);
});
