/** frp's payload compression: a byte stream in snappy's framing, each write flushed, memory bounded by one chunk. */
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { SnappyDecoder, SnappyEncoder } from './snappy-framing.ts';

/** Wraps a stream so that what is written leaves compressed and what arrives is decompressed. Owns the inner stream. */
export function snappyStream(inner: ByteStream): ByteStream {
  return new SnappyStream(inner);
}

class SnappyStream implements ByteStream {
  readonly #inner: ByteStream;
  readonly #encoder = new SnappyEncoder();
  readonly #decoder = new SnappyDecoder();
  #handler: ByteStreamHandler | undefined;
  #isPaused = true;
  #isDraining = false;
  /** The peer has ended, or all is over, and decompressed data still waits for resume(). */
  #hasEnded = false;
  #isEndDelivered = false;
  #close: { err: Error | undefined } | undefined;
  #isOver = false;

  constructor(inner: ByteStream) {
    this.#inner = inner;
  }

  get queuedBytes(): number {
    return this.#inner.queuedBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    const isFirst = this.#handler === undefined;
    this.#handler = handler;
    if (!isFirst) return;
    this.#inner.setHandler({
      onData: (chunk) => {
        if (this.#isOver) return;
        this.#decoder.push(chunk);
        this.#drain();
      },
      onEnd: () => {
        this.#hasEnded = true;
        this.#drain();
      },
      onDrain: () => this.#handler?.onDrain(),
      onClose: (err) => {
        this.#close = { err };
        if (err !== undefined) this.#isOver = true;
        this.#drain();
      },
    });
  }

  write(chunk: Uint8Array): void {
    for (const encoded of this.#encoder.encode(chunk)) this.#inner.write(encoded);
  }

  end(): void {
    this.#inner.end();
  }

  destroy(err?: Error): void {
    this.#isOver = true;
    this.#inner.destroy(err);
    if (this.#close !== undefined) process.nextTick(() => this.#drain());
  }

  pause(): void {
    this.#isPaused = true;
    this.#inner.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    // A piece of input becomes many pieces of data, and a pause may have come between them.
    process.nextTick(() => {
      this.#drain();
      if (!this.#isPaused && this.#close === undefined) this.#inner.resume();
    });
  }

  /** Hands out what can be decoded, until the owner pauses; then the end, then the close. */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      while (!this.#isPaused && !this.#isOver) {
        const data = this.#decoder.next();
        if (data === undefined) break;
        this.#handler?.onData(data);
      }
      if (!this.#isPaused && !this.#isOver) this.#deliverEnd();
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
      this.#isOver = true;
      this.#inner.destroy(err);
      if (this.#close !== undefined) this.#close = { err };
    } finally {
      this.#isDraining = false;
    }
    if (this.#close === undefined || (!this.#isOver && !this.#isEndDelivered && this.#hasEnded)) return;
    const { err } = this.#close;
    this.#close = undefined;
    this.#isOver = true;
    this.#handler?.onClose(err);
  }

  #deliverEnd(): void {
    if (!this.#hasEnded || this.#isEndDelivered) return;
    if (!this.#decoder.isIdle)
      throw new TunnelError('protocol', 'compressed stream is malformed: it ends inside a chunk');
    this.#isEndDelivered = true;
    this.#handler?.onEnd();
  }
}
