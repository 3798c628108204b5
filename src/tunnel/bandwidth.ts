/** Bandwidth limits: frp's way to write them, the token bucket, and a stream that keeps to it by pausing, not by buffering. */
import type { Clock, Timer } from '../lib/clock.ts';
import { HIGH_WATER_BYTES, LOW_WATER_BYTES } from './byte-stream.ts';
import { WrappedStream } from './wrapped-stream.ts';
import type { ByteStream, ByteStreamHandler } from './byte-stream.ts';
import { TunnelError } from './errors.ts';

const UNIT_BYTES = { KB: 1024, MB: 1024 * 1024 } as const;

/**
 * Bytes a second of a limit such as `1MB` or `0.5KB`; undefined for an empty text and for less than one byte, which
 * both mean none, as with frp. Throws TunnelError (proxyRefused) for anything else.
 */
export function parseBandwidth(text: string): number | undefined {
  const match = /^(?<number>\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(?<unit>KB|MB)$/u.exec(text.trim());
  if (match?.groups === undefined) {
    if (text.trim() === '') return undefined;
    throw new TunnelError(
      'proxyRefused',
      `bandwidth limit "${text.slice(0, 40)}": wanted a number and KB or MB`,
    );
  }
  const unit = match.groups['unit'] as keyof typeof UNIT_BYTES;
  const bytes = Math.floor(Number(match.groups['number']) * UNIT_BYTES[unit]);
  return bytes > 0 ? bytes : undefined;
}

/** A token bucket whose burst is one second of its rate. Takers may overdraw it, and wait until the debt is paid. */
export class TokenBucket {
  readonly #bytesPerSecond: number;
  readonly #clock: Pick<Clock, 'now'>;
  #tokens: number;
  #at: number;

  /** `bytesPerSecond` is more than 0. */
  constructor(bytesPerSecond: number, clock: Pick<Clock, 'now'>) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
    this.#tokens = bytesPerSecond;
    this.#at = clock.now();
  }

  /** Takes bytes and answers how long the taker has to wait before it takes more, milliseconds. */
  take(bytes: number): number {
    const now = this.#clock.now();
    const earned = ((now - this.#at) / 1000) * this.#bytesPerSecond;
    this.#at = now;
    this.#tokens = Math.min(this.#tokens + earned, this.#bytesPerSecond) - bytes;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#bytesPerSecond) * 1000;
  }
}

/** Wraps a stream so that it takes what it carries, both ways, from the bucket. Owns the inner stream. */
export function limitedStream(inner: ByteStream, bucket: TokenBucket, clock: Clock): ByteStream {
  return new LimitedStream(inner, bucket, clock);
}

class LimitedStream extends WrappedStream {
  readonly #bucket: TokenBucket;
  readonly #clock: Clock;
  #handler: ByteStreamHandler | undefined;
  #isPaused = true;
  #reading: Timer | undefined;
  #writing: Timer | undefined;
  #isClosed = false;

  constructor(inner: ByteStream, bucket: TokenBucket, clock: Clock) {
    super(inner);
    this.#bucket = bucket;
    this.#clock = clock;
  }

  /** While what was written is not paid for, the stream looks full, so that the writer pauses its source. */
  override get queuedBytes(): number {
    return this.inner.queuedBytes + (this.#writing === undefined ? 0 : HIGH_WATER_BYTES + 1);
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.inner.setHandler({
      onData: (chunk) => {
        const isPassedOn = handler.onData(chunk);
        this.#payForReading(chunk.length);
        return isPassedOn;
      },
      onEnd: () => handler.onEnd(),
      onDrain: () => {
        if (this.#writing === undefined) handler.onDrain();
      },
      onClose: (err) => {
        this.#isClosed = true;
        this.#reading?.cancel();
        this.#writing?.cancel();
        handler.onClose(err);
      },
    });
  }

  override write(chunk: Uint8Array): boolean | void {
    if (this.#isClosed) return true;
    const isPassedOn = this.inner.write(chunk);
    const waitMs = this.#bucket.take(chunk.length);
    if (waitMs <= 0) return isPassedOn;
    this.#writing?.cancel();
    this.#writing = this.#clock.after(waitMs, () => {
      this.#writing = undefined;
      // Above the mark the inner stream tells by itself.
      if (this.inner.queuedBytes <= LOW_WATER_BYTES) this.#handler?.onDrain();
    });
    return isPassedOn;
  }

  #payForReading(bytes: number): void {
    const waitMs = this.#bucket.take(bytes);
    if (waitMs <= 0 || this.#isClosed) return;
    this.inner.pause();
    this.#reading?.cancel();
    this.#reading = this.#clock.after(waitMs, () => {
      this.#reading = undefined;
      if (!this.#isPaused) this.inner.resume();
    });
  }

  override pause(): void {
    this.#isPaused = true;
    this.inner.pause();
  }

  override resume(): void {
    this.#isPaused = false;
    if (this.#reading === undefined) this.inner.resume();
  }
}
