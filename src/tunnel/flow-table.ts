/** Flows by key: each ends when it is idle for too long, and the one idle longest when a further one needs its place. */
import type { Clock, Timer } from '../lib/clock.ts';

/** Why the table ended a flow. */
export type FlowEnd = 'idle' | 'evicted';

/** Limits of a table. */
export interface FlowTableOptions<Flow> {
  clock: Clock;
  maxFlows: number;
  /** A flow ends this long after it was last used, milliseconds. */
  idleMs: number;
  /** The table has dropped a flow; not called for remove(). */
  onEnd(flow: Flow, why: FlowEnd): void;
}

interface Entry<Flow> {
  flow: Flow;
  usedAt: number;
}

/** See the file's first line. One timer serves all flows. */
export class FlowTable<Flow> {
  readonly #options: FlowTableOptions<Flow>;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry<Flow>>();
  #timer: Timer | undefined;
  #total = 0;
  #evicted = 0;

  constructor(options: FlowTableOptions<Flow>) {
    this.#options = options;
  }

  /** Flows now. */
  get size(): number {
    return this.#entries.size;
  }

  /** Flows that were ever added. */
  get total(): number {
    return this.#total;
  }

  /** Flows that had to make room. */
  get evicted(): number {
    return this.#evicted;
  }

  /** The flow of a key, which counts as a use of it. */
  use(key: string): Flow | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    entry.usedAt = this.#options.clock.now();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.flow;
  }

  /** Adds a flow under a key that has none. */
  add(key: string, flow: Flow): void {
    if (this.#entries.size >= this.#options.maxFlows) this.#evictOldest();
    this.#entries.set(key, { flow, usedAt: this.#options.clock.now() });
    this.#total += 1;
    this.#timer ??= this.#options.clock.after(this.#options.idleMs, () => this.#expire());
  }

  /** Forgets a flow without telling; undefined when there is none. */
  remove(key: string): Flow | undefined {
    const flow = this.#entries.get(key)?.flow;
    this.#entries.delete(key);
    if (this.#entries.size === 0) this.#stopTimer();
    return flow;
  }

  /** Forgets all flows without telling and returns them. */
  clear(): Flow[] {
    const flows = [...this.#entries.values()].map((entry) => entry.flow);
    this.#entries.clear();
    this.#stopTimer();
    return flows;
  }

  #evictOldest(): void {
    const oldest = this.#entries.entries().next();
    if (oldest.done === true) return;
    const [key, { flow }] = oldest.value;
    this.#entries.delete(key);
    this.#evicted += 1;
    this.#options.onEnd(flow, 'evicted');
  }

  #expire(): void {
    this.#timer = undefined;
    const { clock, idleMs } = this.#options;
    const now = clock.now();
    for (const [key, { flow, usedAt }] of this.#entries) {
      if (now - usedAt < idleMs) {
        this.#timer = clock.after(usedAt + idleMs - now, () => this.#expire());
        return;
      }
      this.#entries.delete(key);
      this.#options.onEnd(flow, 'idle');
    }
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
