/** Jittered exponential back-off: how long to wait before the next try. */

/** Limits of a back-off. */
export interface BackoffOptions {
  /** The first delay, milliseconds. */
  initialMs: number;
  /** The longest delay, milliseconds. */
  maxMs: number;
  /** Growth from one try to the next; 2 when absent. */
  factor?: number;
  /** Random share taken off each delay, 0 to 1; 0.5 when absent, so that peers do not retry in step. */
  jitter?: number;
}

/** The delays of one sequence of tries. */
export class Backoff {
  readonly #options: Required<BackoffOptions>;
  readonly #random: () => number;
  #nextMs: number;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = { factor: 2, jitter: 0.5, ...options };
    this.#random = random;
    this.#nextMs = options.initialMs;
  }

  /** The delay before the next try, milliseconds. */
  next(): number {
    const base = this.#nextMs;
    this.#nextMs = Math.min(base * this.#options.factor, this.#options.maxMs);
    return base * (1 - this.#options.jitter * this.#random());
  }

  /** Starts over after a success. */
  reset(): void {
    this.#nextMs = this.#options.initialMs;
  }
}
