/** A byte stream whose payload only its two ends can read or change; an end that nobody vouches for is an error. */
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { currentLoan, POOLED_BYTES, readBuffers, withLoan } from '../read-buffers.ts';
import type { Loan } from '../read-buffers.ts';
import { SealError } from './errors.ts';
import type { TransportKeys } from './noise.ts';
import { RecordReader, RecordWriter } from './records.ts';

/** Less is not worth a pooled buffer. */
const POOLED_FROM_BYTES = 16 * 1024;

/**
 * Seals a stream with the keys of a finished handshake. Owns the inner stream, which must be paused; `rest` is what
 * arrived behind the handshake. Fails with SealError: tampered, truncated.
 */
export function sealedStream(inner: ByteStream, keys: TransportKeys, rest: Buffer): ByteStream {
  return new SealedStream(inner, new RecordWriter(keys.send), new RecordReader(keys.receive), rest);
}

/** Whether a stream is sealed from end to end. */
export function isSealed(stream: ByteStream): boolean {
  return stream instanceof SealedStream;
}

class SealedStream implements ByteStream {
  readonly #inner: ByteStream;
  readonly #writer: RecordWriter;
  readonly #reader: RecordReader;
  #handler: ByteStreamHandler | undefined;
  /** Whether the reader may hold whole records. */
  #hasRest: boolean;
  /** Of the chunk that the reader still needs. */
  #restLoan: Loan | undefined;
  #isPaused = true;
  #isScheduled = false;
  #isEndSent = false;
  #hasInnerEnded = false;
  #isClosed = false;
  #error: Error | undefined;

  constructor(inner: ByteStream, writer: RecordWriter, reader: RecordReader, rest: Buffer) {
    this.#inner = inner;
    this.#writer = writer;
    this.#reader = reader;
    this.#hasRest = rest.length > 0;
    if (this.#hasRest) reader.push(rest);
    inner.setHandler({
      onData: (chunk) => {
        if (this.#error !== undefined) return true;
        const loan = currentLoan();
        reader.push(chunk);
        this.#releaseRest(); // what was left of an earlier chunk has been copied
        withLoan(undefined, () => this.#deliver());
        if (reader.restBytes > 0) {
          loan?.hold();
          this.#restLoan = loan;
        }
        return true;
      },
      onEnd: () => {
        this.#hasInnerEnded = true;
        if (!this.#isPaused) this.#checkEnd();
      },
      onDrain: () => this.#handler?.onDrain(),
      onClose: (err) => this.#closed(err),
    });
  }

  get queuedBytes(): number {
    return this.#inner.queuedBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#isEndSent || this.#isClosed || chunk.length === 0) return true;
    if (chunk.length < POOLED_FROM_BYTES) {
      const sealed = this.#writer.data(chunk);
      withLoan(undefined, () => this.#inner.write(sealed)); // nobody else's
      return true;
    }
    for (let at = 0; at < chunk.length; at += POOLED_BYTES)
      this.#writePooled(chunk.subarray(at, at + POOLED_BYTES));
    return true;
  }

  /** Seals into memory that is used again when the ciphertext has left. */
  #writePooled(text: Uint8Array): void {
    const { buffer, loan } = readBuffers.borrow();
    const sealed = this.#writer.dataInto(buffer, text);
    const isAnsweredFor = withLoan(loan, () => this.#inner.write(sealed));
    if (isAnsweredFor !== true) loan.lose();
    loan.release();
  }

  end(): void {
    if (this.#isEndSent || this.#isClosed) return;
    this.#isEndSent = true;
    this.#inner.write(this.#writer.end());
    this.#inner.end();
  }

  destroy(err?: Error): void {
    this.#inner.destroy(err);
  }

  pause(): void {
    this.#isPaused = true;
    this.#inner.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#hasRest) {
      this.#inner.resume();
      return;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      if (this.#isPaused || this.#isClosed || this.#error !== undefined) return;
      this.#deliver();
      if (this.#reader.restBytes === 0) this.#releaseRest();
      if (!this.#isPaused) this.#inner.resume();
    });
  }

  /** Hands out what verifies, until there is no more or the handler pauses. */
  #deliver(): void {
    try {
      while (!this.#isPaused) {
        const record = this.#reader.next();
        if (record === undefined) {
          this.#hasRest = false;
          this.#checkEnd();
          return;
        }
        if (record.isEnd) this.#handler?.onEnd();
        else if (record.text.length > 0) this.#handler?.onData(record.text);
      }
      this.#hasRest = true;
    } catch (err) {
      if (!(err instanceof SealError)) throw err;
      this.#fail(err);
    }
  }

  #releaseRest(): void {
    this.#restLoan?.release();
    this.#restLoan = undefined;
  }

  #checkEnd(): void {
    if (this.#hasInnerEnded && !this.#reader.hasEnded && this.#error === undefined) this.#fail(truncated());
  }

  #fail(err: SealError): void {
    this.#error = err;
    this.#inner.destroy(err);
  }

  #closed(err: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#releaseRest();
    const reason = this.#error ?? err;
    this.#handler?.onClose(reason ?? (this.#reader.hasEnded ? undefined : truncated()));
  }
}

function truncated(): SealError {
  return new SealError('truncated', 'sealed stream: it ended without its last record: the end was cut off');
}
