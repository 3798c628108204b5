/**
 * Tells within seconds that the peer of a mux session is gone without a word, and that it is back: it asks for a sign of
 * life each second. How long it waits for one follows the line: whoever answers late is given more time.
 */
import type { Clock, Timer } from '../../lib/clock.ts';
import type { YamuxSession } from './session.ts';

/** What is watched. */
export type WatchedMux = Pick<YamuxSession, 'probe' | 'silentMs' | 'roundTripMs'>;

/** What a client adds to the metadata of its login to be watched by an edge Router; frps passes it over. */
export const WATCH_METAS = { watch: '1' } as const;

/** Whether a login asks for that. */
export function isWatched(metas: Readonly<Record<string, string>>): boolean {
  return metas['watch'] === WATCH_METAS.watch;
}

/** Time between questions, milliseconds: 12 bytes each way in a packet of their own. */
const ASK_EVERY_MS = 1000;
/** How often is looked while an answer is owed, milliseconds. */
const LOOK_EVERY_MS = 250;
/** Silence that means something on a line without any delay, milliseconds: four retransmissions of TCP in a row. */
const BASE_LIMIT_MS = 3000;
/** And so many times the slowest answer of late: a lost packet costs a multiple of the round trip. */
const ROUND_TRIPS = 2;
/** The most, milliseconds: a session ends by itself after 10 s without an answer. */
const MAX_LIMIT_MS = 8000;
/** A slow answer counts half as much after so long, milliseconds. */
const FORGET_HALF_MS = 60_000;
/** A look that comes so much later than planned says nothing: this process stood still, and has not read what came. */
const MAX_LATENESS_MS = 1000;

/** See the file's first lines. */
export class SilenceWatch {
  readonly #mux: WatchedMux;
  readonly #clock: Clock;
  readonly #onChange: (isSilent: boolean) => void;
  #slowestMs = 0;
  #lookedAt: number;
  #askedAt = -Infinity;
  #isSilent = false;
  #timer: Timer | undefined;

  constructor(mux: WatchedMux, deps: { clock: Clock; onChange: (isSilent: boolean) => void }) {
    this.#mux = mux;
    this.#clock = deps.clock;
    this.#onChange = deps.onChange;
    this.#lookedAt = this.#clock.now();
    this.#plan(0);
  }

  /** Whether the peer has been silent for too long. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** How much silence is too long on this line now, milliseconds. */
  get limitMs(): number {
    return Math.min(BASE_LIMIT_MS + ROUND_TRIPS * this.#slowestMs, MAX_LIMIT_MS);
  }

  /** Ends it; what it said last stays. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #plan(delayMs: number): void {
    const dueAt = this.#clock.now() + delayMs;
    this.#timer = this.#clock.after(delayMs, () => {
      const isLate = this.#clock.now() - dueAt > MAX_LATENESS_MS;
      const isOwed = isLate || this.#look();
      this.#plan(isOwed ? LOOK_EVERY_MS : this.#askedAt + ASK_EVERY_MS - this.#clock.now());
    });
  }

  /** Whether an answer is owed. */
  #look(): boolean {
    const { roundTripMs = 0, silentMs } = this.#mux;
    const now = this.#clock.now();
    this.#slowestMs *= 0.5 ** ((now - this.#lookedAt) / FORGET_HALF_MS);
    this.#slowestMs = Math.max(this.#slowestMs, roundTripMs);
    this.#lookedAt = now;
    const isSilent = silentMs >= this.limitMs;
    if (isSilent !== this.#isSilent) {
      this.#isSilent = isSilent;
      this.#onChange(isSilent);
    }
    if (silentMs > 0) return true;
    if (now - this.#askedAt < ASK_EVERY_MS) return false;
    this.#askedAt = now;
    return this.#mux.probe();
  }
}
