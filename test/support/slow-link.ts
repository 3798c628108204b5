/** Two byte streams joined by a line with a delay and a rate, in the time of a clock: what a wide-area link is to windows. */
import type { Clock } from '../../src/lib/clock.ts';
import { LOW_WATER_BYTES } from '../../src/tunnel/byte-stream.ts';
import type { ByteStream, ByteStreamHandler } from '../../src/tunnel/byte-stream.ts';

/** What the line is like, each way. */
export interface SlowLinkOptions {
  clock: Clock;
  /** From one end to the other now, milliseconds. */
  delayMs: () => number;
  bitsPerSecond: number;
}

/** Creates a link. Its ends deliver from the first resume() on and are never paused again. */
export function createSlowLink(options: SlowLinkOptions): [ByteStream, ByteStream] {
  const a = new LinkEnd(options);
  const b = new LinkEnd(options);
  a.join(b);
  b.join(a);
  return [a, b];
}

class LinkEnd implements ByteStream {
  readonly #options: SlowLinkOptions;
  #peer: LinkEnd | undefined;
  #handler: ByteStreamHandler | undefined;
  #queuedBytes = 0;
  /** When the last byte written so far is on the line. */
  #lineFreeAt = 0;
  #isClosed = false;

  constructor(options: SlowLinkOptions) {
    this.#options = options;
  }

  join(peer: LinkEnd): void {
    this.#peer = peer;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
  }

  write(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    const { clock, delayMs, bitsPerSecond } = this.#options;
    this.#queuedBytes += chunk.length;
    this.#lineFreeAt = Math.max(this.#lineFreeAt, clock.now()) + (chunk.length * 8000) / bitsPerSecond;
    const sentInMs = this.#lineFreeAt - clock.now();
    clock.after(sentInMs, () => this.#taken(chunk.length));
    clock.after(sentInMs + delayMs(), () => this.#peer?.arrived(chunk));
  }

  #taken(bytes: number): void {
    const before = this.#queuedBytes;
    this.#queuedBytes -= bytes;
    if (before > LOW_WATER_BYTES && this.#queuedBytes <= LOW_WATER_BYTES) this.#handler?.onDrain();
  }

  arrived(chunk: Uint8Array): void {
    if (!this.#isClosed) this.#handler?.onData(Buffer.from(chunk));
  }

  end(): void {
    this.destroy();
  }

  destroy(err?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    process.nextTick(() => this.#handler?.onClose(err));
  }

  pause(): void {}

  resume(): void {}
}
