/** Work by key: each key is handled by one call at a time, again when it changed meanwhile, and retried when it fails. */
import { setMaxListeners } from 'node:events';
import { Backoff } from '../lib/backoff.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** How to do the work. */
export interface WorkQueueConfig {
  /** Brings one key to its desired state. A rejection is retried later. */
  handle: (key: string, signal: AbortSignal) => Promise<void>;
  /** The longest wait between tries of a failing key, milliseconds. */
  maxRetryMs: number;
  /** Keys handled at once; further ones wait their turn. No limit when absent. */
  maxRunning?: number;
}

/** What a queue needs from around it. */
export interface WorkQueueDeps {
  clock: Clock;
  random?: () => number;
  log: Logger;
}

/** A queue of keys; keys are independent of one another. */
export interface WorkQueue {
  /** Has the key handled now, or once more after the call under way. Cuts a wait short. */
  add(key: string): void;
  /** Has the key handled after a delay, unless it is handled sooner. */
  addAfter(key: string, delayMs: number): void;
  /** Ends the calls under way, drops what waits; add() does nothing from then on. */
  stop(): Promise<void>;
}

interface Entry {
  isRunning: boolean;
  isDirty: boolean;
  timer: Timer | undefined;
  dueAt: number;
  backoff: Backoff;
}

/** Creates a queue; keys are forgotten when they are done and nothing waits for them. */
export function createWorkQueue(config: WorkQueueConfig, deps: WorkQueueDeps): WorkQueue {
  const { clock, log } = deps;
  const entries = new Map<string, Entry>();
  const running = new Set<Promise<void>>();
  const stopping = new AbortController();
  const maxRunning = config.maxRunning ?? Infinity;
  const waiting: (() => void)[] = [];
  let slots = 0;
  setMaxListeners(0, stopping.signal); // each call under way may listen for the end

  const takeSlot = (): Promise<void> | undefined => {
    if (slots < maxRunning) {
      slots++;
      return undefined;
    }
    return new Promise((resolve) => {
      waiting.push(resolve);
    });
  };
  /** Hands the slot to the one that waits longest. */
  const giveSlot = (): void => {
    const next = waiting.shift();
    if (next === undefined) slots--;
    else next();
  };

  const entryOf = (key: string): Entry => {
    let entry = entries.get(key);
    if (entry === undefined) {
      const backoff = new Backoff({ initialMs: 100, maxMs: config.maxRetryMs }, deps.random);
      entry = { isRunning: false, isDirty: false, timer: undefined, dueAt: Infinity, backoff };
      entries.set(key, entry);
    }
    return entry;
  };

  const cancelTimer = (entry: Entry): void => {
    entry.timer?.cancel();
    entry.timer = undefined;
    entry.dueAt = Infinity;
  };

  const addAfter = (key: string, delayMs: number): void => {
    if (stopping.signal.aborted) return;
    const entry = entryOf(key);
    const dueAt = clock.now() + delayMs;
    if (dueAt >= entry.dueAt) return;
    cancelTimer(entry);
    entry.dueAt = dueAt;
    entry.timer = clock.after(delayMs, () => add(key));
  };

  const runOnce = async (key: string, entry: Entry): Promise<void> => {
    const turn = takeSlot();
    if (turn !== undefined) await turn;
    if (stopping.signal.aborted) {
      giveSlot();
      return;
    }
    entry.isDirty = false; // what changed while it waited is seen now
    try {
      await config.handle(key, stopping.signal);
      entry.backoff.reset();
    } catch (err) {
      if (stopping.signal.aborted) return;
      const delayMs = entry.backoff.next();
      log.debug('work failed, retrying', { key, error: errorMessage(err), delayMs: Math.round(delayMs) });
      addAfter(key, delayMs);
    } finally {
      giveSlot();
    }
  };

  const run = async (key: string, entry: Entry): Promise<void> => {
    entry.isRunning = true;
    do {
      await runOnce(key, entry);
    } while (entry.isDirty && !stopping.signal.aborted);
    entry.isRunning = false;
    if (entry.timer === undefined) entries.delete(key);
  };

  const add = (key: string): void => {
    if (stopping.signal.aborted) return;
    const entry = entryOf(key);
    cancelTimer(entry);
    entry.isDirty = true;
    if (entry.isRunning) return;
    const work = run(key, entry).finally(() => running.delete(work));
    running.add(work);
  };

  return {
    add,
    addAfter,
    async stop() {
      stopping.abort();
      for (const entry of entries.values()) cancelTimer(entry);
      entries.clear();
      await Promise.all(running);
    },
  };
}
