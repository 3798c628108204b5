/** A ByteStream as the Duplex that the SSH library speaks through; back-pressure and half-close are kept both ways. */
import { Duplex } from 'node:stream';
import { HIGH_WATER_BYTES } from '../tunnel/byte-stream.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';

/** Wraps a stream, which belongs to the duplex from here on. */
export function streamDuplex(stream: ByteStream): Duplex {
  return new StreamDuplex(stream);
}

class StreamDuplex extends Duplex {
  readonly #stream: ByteStream;
  /** Waits for the stream to drain. */
  #written: (() => void) | undefined;
  #hasEnded = false;

  constructor(stream: ByteStream) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES });
    this.#stream = stream;
    stream.setHandler({
      onData: (chunk) => {
        if (!this.push(chunk)) stream.pause();
      },
      onEnd: () => this.#end(),
      onDrain: () => this.#release(),
      onClose: (err) => {
        if (err !== undefined) {
          this.destroy(err);
          return;
        }
        // what has arrived is read first; the duplex closes itself after both ends
        this.#end();
        this.#release();
        this.end();
      },
    });
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.push(null);
  }

  #release(): void {
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }

  override _read(): void {
    if (!this.#hasEnded) this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#stream.write(chunk);
    if (this.#stream.queuedBytes > HIGH_WATER_BYTES) this.#written = done;
    else done();
  }

  override _final(done: () => void): void {
    this.#stream.end();
    done();
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    this.#stream.destroy(err ?? undefined);
    done(err);
  }
}
