/**
 * Gives back the memory that a burst of work left. V8 lets its heap grow with the garbage of busy times and returns it in
 * later collections, and collects by what is allocated: a process with nothing to do keeps what its busiest minute took.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock, Timer } from './clock.ts';

/** The JavaScript heap of this process, and its processor time. */
export interface Heap {
  /** What the heap has taken from the system, bytes. */
  size(): number;
  /** What is in it, garbage included, bytes. */
  used(): number;
  /** Collects all garbage, which stops the thread for as long as it takes. */
  collect(): void;
  /** Processor time of the process so far, milliseconds. */
  cpuMs(): number;
}

const LOOK_MS = 10_000;
/** A look finds the process idle when it used less of a processor than this since the one before. */
const IDLE_SHARE = 0.03;
/**
 * So many looks in a row must have found it idle. What was compiled for shapes of objects of which no one is left goes with
 * them, so the first second of the next burst is slower: nothing that should follow each short rest.
 */
const IDLE_LOOKS = 3;
/** Growth that is worth a collection, bytes. */
const WORTH_BYTES = 4 * 1024 * 1024;
/** A collection that gave back more than this is followed by another one: pages empty over several, bytes. */
const GAIN_BYTES = 1024 * 1024;
/** Where more is in it, collecting stops the thread for longer than the memory is worth, bytes. */
const MAX_USED_BYTES = 128 * 1024 * 1024;

/** The heap of this process; undefined where V8 cannot be told to collect. */
export function processHeap(): Heap | undefined {
  setFlagsFromString('--expose-gc'); // for contexts made from now on
  const gc: unknown = runInNewContext('globalThis.gc');
  if (typeof gc !== 'function') return undefined;
  return {
    size: () => getHeapStatistics().total_heap_size,
    used: () => getHeapStatistics().used_heap_size,
    collect: () => void gc(),
    cpuMs: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
  };
}

/** Collects whenever the process has become idle and its heap is larger than it need be, until the timer is cancelled. */
export function shrinkIdleHeap(heap: Heap, clock: Clock): Timer {
  let spentMs = heap.cpuMs();
  /** A heap that is not larger than this by WORTH_BYTES is left alone. */
  let settled = 0;
  let idleLooks = 0;
  return clock.every(LOOK_MS, () => {
    const before = spentMs;
    spentMs = heap.cpuMs();
    const size = heap.size();
    idleLooks = spentMs - before > LOOK_MS * IDLE_SHARE ? 0 : idleLooks + 1;
    if (idleLooks < IDLE_LOOKS || size < settled + WORTH_BYTES || heap.used() > MAX_USED_BYTES) return;
    heap.collect();
    spentMs = heap.cpuMs();
    const left = heap.size();
    settled = size - left > GAIN_BYTES ? left - WORTH_BYTES : left;
  });
}
