/** Joins two byte streams: paced by bytes queued, half-close kept, an abort of one side aborts the other. */
import type { Clock, Timer } from '../lib/clock.ts';
import { HIGH_WATER_BYTES } from './byte-stream.ts';
import type { ByteStream, ByteStreamHandler } from './byte-stream.ts';
import { TunnelError } from './errors.ts';

/** How a relay ended. */
export interface RelayStats {
  bytesAToB: number;
  bytesBToA: number;
  /** Why it was aborted; absent after a clean end. */
  error?: Error;
}

/** Settings of a relay. */
export interface RelayOptions {
  clock: Clock;
  /** Aborts after this long, up to a quarter more, without a byte in either direction, milliseconds; never when absent. */
  idleTimeoutMs?: number;
  /** Called once when both streams are closed. */
  onClose?: (stats: RelayStats) => void;
}

/** A running relay. */
export interface RelayHandle {
  readonly bytesAToB: number;
  readonly bytesBToA: number;
  /** Bytes in memory that one of the sides has not taken. */
  readonly heldBytes: number;
  /** Bytes that were taken; only differences mean anything. */
  readonly drainedBytes: number;
  /** Aborts both sides. */
  destroy(err?: Error): void;
}

/**
 * One side closed its sending half and nothing moves in the other direction: the peer has most likely gone
 * without a word. Ten minutes is longer than any answer that sends nothing at all while it is computed.
 */
const HALF_CLOSED_IDLE_MS = 600_000;

/** Looks for bytes in the time that a connection may be idle: it ends a quarter of that time late at most. */
const IDLE_LOOKS = 4;

/** Starts relaying; both streams belong to the relay from here on. */
export function relay(a: ByteStream, b: ByteStream, options: RelayOptions): RelayHandle {
  return new Relay(a, b, options);
}

class Direction {
  readonly from: ByteStream;
  readonly to: ByteStream;
  bytes = 0;
  isPaused = false;
  hasEnded = false;

  constructor(from: ByteStream, to: ByteStream) {
    this.from = from;
    this.to = to;
  }
}

class Relay implements RelayHandle {
  readonly #forth: Direction;
  readonly #back: Direction;
  readonly #options: RelayOptions;
  #openSides = 2;
  #error: Error | undefined;
  #timer: Timer | undefined;
  #bytesAtCheck = 0;

  constructor(a: ByteStream, b: ByteStream, options: RelayOptions) {
    this.#forth = new Direction(a, b);
    this.#back = new Direction(b, a);
    this.#options = options;
    a.setHandler(this.#handlerFor(this.#forth, this.#back));
    b.setHandler(this.#handlerFor(this.#back, this.#forth));
    if (options.idleTimeoutMs !== undefined) this.#watchIdle(options.idleTimeoutMs);
    a.resume();
    b.resume();
  }

  get bytesAToB(): number {
    return this.#forth.bytes;
  }

  get bytesBToA(): number {
    return this.#back.bytes;
  }

  get heldBytes(): number {
    return heldBy(this.#forth.from) + heldBy(this.#back.from);
  }

  get drainedBytes(): number {
    return this.#forth.bytes + this.#back.bytes - this.heldBytes;
  }

  destroy(err?: Error): void {
    const reason = err ?? new TunnelError('closed', 'connection aborted');
    this.#error ??= reason;
    this.#forth.from.destroy(reason);
    this.#back.from.destroy(reason);
  }

  /** What the stream `out.from` tells: its data goes `out`, and it drains what comes `into` it. */
  #handlerFor(out: Direction, into: Direction): ByteStreamHandler {
    return {
      onData: (chunk) => {
        out.bytes += chunk.length;
        const isPassedOn = out.to.write(chunk);
        if (!out.isPaused && out.to.queuedBytes > HIGH_WATER_BYTES) {
          out.isPaused = true;
          out.from.pause();
        }
        return isPassedOn;
      },
      onEnd: () => {
        out.hasEnded = true;
        out.to.end();
        if (!into.hasEnded && this.#options.idleTimeoutMs === undefined) this.#watchIdle(HALF_CLOSED_IDLE_MS);
      },
      onDrain: () => {
        if (!into.isPaused) return;
        into.isPaused = false;
        into.from.resume();
      },
      onClose: (err) => this.#sideClosed(out, into, err),
    };
  }

  #sideClosed(out: Direction, into: Direction, err: Error | undefined): void {
    this.#error ??= err;
    // A close before both halves ended is an abort, also when the transport gives no reason.
    if (err !== undefined || !out.hasEnded || !into.hasEnded) {
      const reason = err ?? new TunnelError('closed', 'the other side of the connection closed early');
      this.#error ??= reason;
      out.to.destroy(reason);
    }
    this.#openSides -= 1;
    if (this.#openSides > 0) return;
    this.#timer?.cancel();
    this.#options.onClose?.({
      bytesAToB: this.#forth.bytes,
      bytesBToA: this.#back.bytes,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    });
  }

  #watchIdle(limitMs: number): void {
    this.#timer?.cancel();
    this.#bytesAtCheck = this.#forth.bytes + this.#back.bytes;
    let quietLooks = 0;
    this.#timer = this.#options.clock.every(limitMs / IDLE_LOOKS, () => {
      const bytes = this.#forth.bytes + this.#back.bytes;
      quietLooks = bytes === this.#bytesAtCheck ? quietLooks + 1 : 0;
      this.#bytesAtCheck = bytes;
      if (quietLooks >= IDLE_LOOKS) this.destroy(new TunnelError('timeout', 'connection idle for too long'));
    });
  }
}

function heldBy(stream: ByteStream): number {
  return stream.heldBytes ?? stream.queuedBytes;
}
