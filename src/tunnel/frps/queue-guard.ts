/**
 * Holds all that a server keeps for peers that do not take it to one bound. Each connection is bounded by itself, but
 * many that open and never read are not. Over the bound, those go that would need longest to take what waits for them.
 */
import type { Clock, Timer } from '../../lib/clock.ts';
import { TunnelError } from '../errors.ts';

/** Somebody for whom bytes wait. */
export interface QueueHolder {
  /** Bytes that wait. */
  readonly heldBytes: number;
  /** Bytes that no longer wait, since it began; only differences mean anything. */
  readonly drainedBytes: number;
  /** Drops it, and what waits. */
  destroy(err: Error): void;
}

/** What a guard needs. */
export interface QueueGuardDeps {
  clock: Clock;
  maxBytes(): number;
  /** All holders there are. */
  holders(): Iterable<QueueHolder>;
  /** So many were dropped, with so many bytes. */
  onDropped(count: number, bytes: number): void;
}

/** Time between two looks, milliseconds; the shorter once a quarter of the bound is used. */
const CALM_MS = 1000;
const BUSY_MS = 100;
/** What is left of the bound after a cut. */
const CUT_TO = 0.75;
/** Over this share of the bound nobody waits for a second look. */
const EMERGENCY = 1.5;

interface Sample {
  drainedBytes: number;
  /** What it takes between two looks, averaged. */
  rate: number;
}

/** See the file's first line. */
export class QueueGuard {
  readonly #deps: QueueGuardDeps;
  #samples = new Map<QueueHolder, Sample>();
  #timer: Timer | undefined;
  #heldBytes = 0;

  constructor(deps: QueueGuardDeps) {
    this.#deps = deps;
  }

  /** Bytes that waited when it looked last. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  start(): void {
    this.#timer ??= this.#deps.clock.after(CALM_MS, () => this.#look());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#samples.clear();
  }

  #look(): void {
    const maxBytes = this.#deps.maxBytes();
    let total = 0;
    const holding: QueueHolder[] = [];
    for (const holder of this.#deps.holders()) {
      const { heldBytes } = holder;
      if (heldBytes === 0) continue;
      total += heldBytes;
      holding.push(holder);
    }
    if (total > maxBytes / 4) {
      const isSecondLook = this.#samples.size > 0;
      this.#sample(holding);
      if (total > maxBytes && (isSecondLook || total > EMERGENCY * maxBytes))
        total -= this.#cut(holding, total - CUT_TO * maxBytes);
    } else this.#samples.clear();
    this.#heldBytes = total;
    this.#timer = this.#deps.clock.after(total > maxBytes / 4 ? BUSY_MS : CALM_MS, () => this.#look());
  }

  #sample(holding: readonly QueueHolder[]): void {
    const samples = new Map<QueueHolder, Sample>();
    for (const holder of holding) {
      const { drainedBytes } = holder;
      const known = this.#samples.get(holder);
      const taken = Math.max(0, drainedBytes - (known?.drainedBytes ?? drainedBytes));
      samples.set(holder, { drainedBytes, rate: ((known?.rate ?? taken) + taken) / 2 });
    }
    this.#samples = samples;
  }

  #cut(holding: readonly QueueHolder[], wantedBytes: number): number {
    const waits = (holder: QueueHolder): number =>
      holder.heldBytes / ((this.#samples.get(holder)?.rate ?? 0) + 1);
    const ranked = holding.map((holder) => ({ holder, bytes: holder.heldBytes, waits: waits(holder) }));
    ranked.sort((a, b) => b.waits - a.waits);
    let count = 0;
    let cutBytes = 0;
    for (const { holder, bytes } of ranked) {
      if (cutBytes >= wantedBytes) break;
      count += 1;
      cutBytes += bytes;
      this.#samples.delete(holder);
      holder.destroy(new TunnelError('limit', 'too much waits for peers that take nothing'));
    }
    this.#deps.onDropped(count, cutBytes);
    return cutBytes;
  }
}
