/**
 * A connection to a mapped service that moves to another provider as long as nothing of it can have reached one: while the
 * provider has not said that its target took the connection, what the application sends is kept, and when the provider
 * refuses, or is lost before anything was sent, a new stream is opened and gets it again. Never after.
 */
import type { Clock, Timer } from '../lib/clock.ts';
import { EdgeError } from '../lib/errors.ts';
import { HIGH_WATER_BYTES } from '../tunnel/byte-stream.ts';
import type { ByteStream, ByteStreamHandler } from '../tunnel/byte-stream.ts';
import { confirmationOf } from '../tunnel/confirmation.ts';

/** An open stream to a service, and the way it takes. */
export interface OpenedStream {
  stream: ByteStream;
  router: string;
}

/** How a connection is moved, and who hears of it. */
export interface RetryOptions {
  clock: Clock;
  /** How long a provider may take to accept, milliseconds. */
  acceptTimeoutMs: number;
  /** Opens the next stream after a failure; rejects when there is no more to try. */
  reopen(signal: AbortSignal): Promise<OpenedStream>;
  /** The connection runs through another stream now. */
  onMoved(opened: OpenedStream): void;
  /** A provider took the connection, or did not; undefined when the Router does not name it. */
  onOutcome(isAccepted: boolean, provider: string | undefined): void;
  /** A provider takes its time. */
  onLate: (provider: string | undefined) => void;
}

/** A provider that has not accepted by then is late, milliseconds: long for a connection, short for a user. */
const LATE_MS = 1000;
/** What is kept to be sent again; an application that sends more before it is answered is not moved, bytes. */
const MAX_KEPT_BYTES = 64 * 1024;

/** Wraps an opened stream; one whose provider does not confirm stays as it is. */
export function retryingStream(first: OpenedStream, options: RetryOptions): ByteStream {
  return confirmationOf(first.stream) === undefined ? first.stream : new RetryingStream(first, options);
}

class RetryingStream implements ByteStream {
  readonly #options: RetryOptions;
  readonly #abandoned = new AbortController();
  /** Undefined while another one is being opened. */
  #inner: ByteStream | undefined;
  #handler: ByteStreamHandler | undefined;
  #timer: Timer | undefined;
  #isPaused = true;
  #hasEnded = false;
  #isSettled = false;
  #isClosed = false;
  /** What was sent; undefined when it is too much to be sent again. */
  #kept: Uint8Array[] | undefined = [];
  #keptBytes = 0;

  constructor(first: OpenedStream, options: RetryOptions) {
    this.#options = options;
    this.#use(first.stream);
  }

  get queuedBytes(): number {
    // Without a stream the source is not to be read.
    return this.#inner === undefined ? HIGH_WATER_BYTES + 1 : this.#inner.queuedBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
    if (this.#isSettled) this.#inner?.setHandler(handler);
  }

  write(chunk: Uint8Array): boolean | void {
    if (this.#isClosed || this.#hasEnded) return true;
    if (this.#isSettled) return this.#inner?.write(chunk);
    this.#keep(chunk); // without an answer: its memory is not read into again
    this.#inner?.write(chunk);
    return undefined;
  }

  end(): void {
    this.#hasEnded = true;
    this.#inner?.end();
  }

  destroy(err?: Error): void {
    if (this.#isClosed) return;
    this.#abandoned.abort();
    if (this.#inner !== undefined) this.#inner.destroy(err);
    else process.nextTick(() => this.#close(err));
  }

  pause(): void {
    this.#isPaused = true;
    this.#inner?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#inner?.resume();
  }

  #keep(chunk: Uint8Array): void {
    this.#keptBytes += chunk.length;
    if (this.#keptBytes > MAX_KEPT_BYTES && this.#inner !== undefined) this.#kept = undefined;
    this.#kept?.push(chunk);
  }

  #use(stream: ByteStream): void {
    this.#inner = stream;
    const confirmation = confirmationOf(stream);
    stream.setHandler({
      onData: (chunk) => this.#handler?.onData(chunk),
      onEnd: () => this.#handler?.onEnd(),
      onDrain: () => this.#handler?.onDrain(),
      onClose: (err) => this.#lost(stream, err),
    });
    confirmation?.onAccepted(() => this.#settle(confirmation.provider));
    for (const chunk of this.#kept ?? []) stream.write(chunk);
    if (this.#hasEnded) stream.end();
    if (!this.#isPaused) stream.resume();
    if (confirmation === undefined) this.#settle(undefined);
    else this.#await(stream, confirmation.provider);
  }

  #await(stream: ByteStream, provider: string | undefined): void {
    const { clock, acceptTimeoutMs, onLate } = this.#options;
    const lateMs = Math.min(LATE_MS, acceptTimeoutMs);
    this.#timer = clock.after(lateMs, () => {
      onLate(provider);
      this.#timer = clock.after(acceptTimeoutMs - lateMs, () => this.#silent(stream));
    });
  }

  /** From here on the stream is the provider's, for better or worse. */
  #settle(provider: string | undefined): void {
    this.#timer?.cancel();
    this.#isSettled = true;
    this.#kept = undefined;
    if (this.#handler !== undefined) this.#inner?.setHandler(this.#handler);
    this.#options.onOutcome(true, provider);
  }

  get #hasSent(): boolean {
    return this.#keptBytes > 0 || this.#hasEnded;
  }

  /** A provider that says nothing is left when that is safe; else the application decides how long it waits. */
  #silent(stream: ByteStream): void {
    const err = new EdgeError('EDGE_ERR_SIDECAR_PROVIDER_SILENT', 'the provider did not accept in time', {
      retryable: true,
    });
    if (this.#hasSent) this.#options.onOutcome(false, confirmationOf(stream)?.provider);
    else stream.destroy(err);
  }

  #lost(stream: ByteStream, err: Error | undefined): void {
    this.#timer?.cancel();
    if (this.#isSettled || this.#abandoned.signal.aborted) {
      this.#close(err);
      return;
    }
    const confirmation = confirmationOf(stream);
    this.#options.onOutcome(false, confirmation?.provider);
    const isSafe = confirmation?.state === 'refused' || !this.#hasSent;
    if (!isSafe || this.#kept === undefined) {
      this.#close(err);
      return;
    }
    this.#inner = undefined;
    this.#options.reopen(this.#abandoned.signal).then(
      (opened) => {
        if (this.#isClosed || this.#abandoned.signal.aborted) {
          opened.stream.destroy();
          return;
        }
        this.#options.onMoved(opened);
        this.#use(opened.stream);
        this.#handler?.onDrain();
      },
      (failure: unknown) => this.#close(failure instanceof Error ? failure : err),
    );
  }

  #close(err: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handler?.onClose(err);
  }
}
