/** What a stream around another one passes on unchanged; each kind says what it does differently. */
import type { ByteStream, ByteStreamHandler } from './byte-stream.ts';

/** A stream that owns an inner one. */
export abstract class WrappedStream implements ByteStream {
  protected readonly inner: ByteStream;

  constructor(inner: ByteStream) {
    this.inner = inner;
  }

  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }

  get heldBytes(): number {
    return this.inner.heldBytes ?? this.inner.queuedBytes;
  }

  abstract setHandler(handler: ByteStreamHandler): void;

  write(chunk: Uint8Array): boolean | void {
    return this.inner.write(chunk);
  }

  end(): void {
    this.inner.end();
  }

  destroy(err?: Error): void {
    this.inner.destroy(err);
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }
}
