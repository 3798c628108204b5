/** The work connections of one session: idle ones kept ready, takers served in order, both bounded. */
import type { Clock, Timer } from '../../lib/clock.ts';
import { TunnelError } from '../errors.ts';
import type { MessageChannel } from '../frp/message-channel.ts';

/** What a pool needs. */
export interface WorkPoolDeps {
  clock: Clock;
  /** Asks the client for one more. */
  request(): void;
  /** Whether the client is so silent that what it opened before may lead nowhere. */
  isSilent(): boolean;
  /** Idle connections kept. */
  capacity: number;
  /** Takers that may wait. */
  maxWaiting: number;
}

interface Taker {
  resolve(channel: MessageChannel): void;
  reject(err: Error): void;
  timer: Timer;
  canGoElsewhere: boolean;
}

/** See the file's first line. */
export class WorkConnPool {
  readonly #deps: WorkPoolDeps;
  readonly #idle: MessageChannel[] = [];
  readonly #takers = new Set<Taker>();
  #isClosed = false;

  constructor(deps: WorkPoolDeps) {
    this.#deps = deps;
  }

  /** Takers that wait. */
  get waiting(): number {
    return this.#takers.size;
  }

  /** Adds a connection the client opened; false when the pool is full or closed. */
  add(channel: MessageChannel): boolean {
    if (this.#isClosed) return false;
    const taker = this.#takers.values().next();
    if (taker.done !== true) {
      taker.value.resolve(channel);
      return true;
    }
    if (this.#idle.length >= this.#deps.capacity) return false;
    this.#idle.push(channel);
    return true;
  }

  /**
   * Takes one, waiting up to `limitMs`, or until release() for a taker that can go elsewhere. Rejects with TunnelError:
   * timeout, limit, closed.
   */
  take(limitMs: number, canGoElsewhere = false): Promise<MessageChannel> {
    if (this.#isClosed) return Promise.reject(new TunnelError('closed', 'client is gone'));
    // Every take asks for one: it refills the pool, or it is the one that is waited for.
    this.#deps.request();
    // Of a silent client only a new connection proves that it is still there.
    const isUsable = !this.#deps.isSilent();
    for (
      let channel = isUsable ? this.#idle.shift() : undefined;
      channel !== undefined;
      channel = this.#idle.shift()
    ) {
      if (!channel.isClosed) return Promise.resolve(channel);
    }
    if (this.#takers.size >= this.#deps.maxWaiting) {
      return Promise.reject(
        new TunnelError('limit', `${this.#takers.size} connections wait for this client already`),
      );
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        taker.timer.cancel();
        this.#takers.delete(taker);
      };
      const taker: Taker = {
        canGoElsewhere,
        resolve: (channel) => {
          settle();
          resolve(channel);
        },
        reject: (err) => {
          settle();
          reject(err);
        },
        timer: this.#deps.clock.after(limitMs, () => {
          taker.reject(new TunnelError('timeout', `client opened no work connection within ${limitMs} ms`));
        }),
      };
      this.#takers.add(taker);
    });
  }

  /** Fails those who wait and can go elsewhere. */
  release(err: Error): void {
    for (const taker of this.#takers) if (taker.canGoElsewhere) taker.reject(err);
  }

  /** Closes what is idle and fails who waits. */
  close(err: Error): void {
    this.#isClosed = true;
    for (const channel of this.#idle) channel.close(err);
    this.#idle.length = 0;
    for (const taker of this.#takers) taker.reject(err);
  }
}
