/** Two byte streams joined in memory: what one writes the other receives, later, in pieces of a chosen size. */
import type { ByteStream, ByteStreamHandler } from '../../src/tunnel/byte-stream.ts';

/** How a pair behaves. */
export interface StreamPairOptions {
  /** Largest piece that is delivered at once, bytes; whole chunks when absent. */
  pieceBytes?: number;
  /** While true nothing is delivered: a link that hangs. */
  isHeld?: () => boolean;
}

/** One end of a pair; tests may look at what was written. */
export interface PairEnd extends ByteStream {
  readonly isClosed: boolean;
}

/** Creates a pair. */
export function createStreamPair(options: StreamPairOptions = {}): [PairEnd, PairEnd] {
  const a = new MemoryStream(options);
  const b = new MemoryStream(options);
  a.join(b);
  b.join(a);
  return [a, b];
}

class MemoryStream implements PairEnd {
  readonly #options: StreamPairOptions;
  #peer: MemoryStream | undefined;
  #handler: ByteStreamHandler | undefined;
  #outgoing: Buffer[] = [];
  #queuedBytes = 0;
  #isPaused = true;
  #isEnding = false;
  #isEndSent = false;
  #isEndReceived = false;
  #isScheduled = false;
  isClosed = false;

  constructor(options: StreamPairOptions) {
    this.#options = options;
  }

  join(peer: MemoryStream): void {
    this.#peer = peer;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
  }

  write(chunk: Uint8Array): void {
    if (this.#isEnding || this.isClosed) return;
    this.#outgoing.push(Buffer.from(chunk));
    this.#queuedBytes += chunk.length;
    this.#schedule();
  }

  end(): void {
    this.#isEnding = true;
    this.#schedule();
  }

  destroy(err?: Error): void {
    if (this.isClosed) return;
    this.#close(err);
    const peer = this.#peer;
    if (!this.#isEndSent || !this.#isEndReceived) setImmediate(() => peer?.abort());
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#peer?.kick();
  }

  kick(): void {
    this.#schedule();
  }

  abort(): void {
    if (!this.isClosed) this.#close(new Error('peer reset the stream'));
  }

  #close(err?: Error): void {
    this.isClosed = true;
    this.#outgoing = [];
    this.#queuedBytes = 0;
    setImmediate(() => this.#handler?.onClose(err));
  }

  #schedule(): void {
    if (this.#isScheduled || this.isClosed) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const peer = this.#peer;
    if (peer === undefined || this.isClosed) return;
    if (this.#options.isHeld?.() === true) {
      this.#schedule();
      return;
    }
    const hadMuch = this.#queuedBytes > 0;
    while (this.#outgoing.length > 0 && !peer.#isPaused && !peer.isClosed) {
      const chunk = this.#outgoing.shift() as Buffer;
      const limit = this.#options.pieceBytes ?? chunk.length;
      this.#queuedBytes -= chunk.length;
      for (let at = 0; at < chunk.length; at += limit) peer.#handler?.onData(chunk.subarray(at, at + limit));
    }
    if (hadMuch && this.#queuedBytes === 0 && !this.isClosed) this.#handler?.onDrain();
    if (this.#isEnding && !this.#isEndSent && this.#outgoing.length === 0 && !peer.#isPaused) {
      this.#isEndSent = true;
      peer.#isEndReceived = true;
      peer.#handler?.onEnd();
      this.#closeIfDone();
      peer.#closeIfDone();
    }
  }

  #closeIfDone(): void {
    if (this.#isEndSent && this.#isEndReceived && !this.isClosed) this.#close();
  }
}

/** Everything a stream delivered so far. */
export interface Collected {
  chunks: Buffer[];
  bytes: number;
  hasEnded: boolean;
  isClosed: boolean;
  drains: number;
  error: Error | undefined;
  text(): string;
}

/** Sets a handler that collects, and resumes the stream. */
export function collect(stream: ByteStream): Collected {
  const out: Collected = {
    chunks: [],
    bytes: 0,
    hasEnded: false,
    isClosed: false,
    drains: 0,
    error: undefined,
    text: () => Buffer.concat(out.chunks).toString(),
  };
  stream.setHandler({
    onData: (chunk) => {
      out.chunks.push(chunk);
      out.bytes += chunk.length;
    },
    onEnd: () => {
      out.hasEnded = true;
    },
    onDrain: () => {
      out.drains += 1;
    },
    onClose: (err) => {
      out.isClosed = true;
      out.error = err;
    },
  });
  stream.resume();
  return out;
}
