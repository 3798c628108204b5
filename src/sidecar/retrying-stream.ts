/**
 * A connection to a mapped service that moves to another provider as long as nothing of it can have reached one: while the
 * provider has not said that its target took the connection, what the application sends is kept, and when the provider
 * refuses, or is lost before anything was sent, a new stream is opened and gets it again. Never after.
 */
import type { Clock, Timer } from '../lib/clock.ts';
import { errorCode } from '../lib/errors.ts';
import { HIGH_WATER_BYTES } from '../tunnel/byte-stream.ts';
import type { ByteStream, ByteStreamHandler } from '../tunnel/byte-stream.ts';
import { confirmationOf } from '../tunnel/confirmation.ts';
import { LATE_MS, MOVE_MS, PROVIDER_SILENT, providerSilent } from './attempt.ts';
import type { ProviderWatch } from './attempt.ts';
import { isProvidersFault } from './blame.ts';
import type { OpenedStream } from './connector.ts';

/** How a connection is moved, and who hears of it. */
export interface RetryOptions {
  clock: Clock;
  /** How long a provider may take to accept, milliseconds. */
  acceptTimeoutMs: number;
  /** Opens the next stream after a failure; rejects when there is no more to try. */
  reopen(signal: AbortSignal): Promise<OpenedStream>;
  /** The connection runs through another stream now. */
  onMoved(opened: OpenedStream): void;
  /** A provider took the connection. */
  onAccepted(provider: string): void;
  /** Judges those that do not, or take their time. */
  watch: ProviderWatch;
}

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
    this.#use(first);
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

  #use(opened: OpenedStream): void {
    const { stream } = opened;
    this.#inner = stream;
    const confirmation = confirmationOf(stream);
    stream.setHandler({
      onData: (chunk) => this.#handler?.onData(chunk),
      onEnd: () => this.#handler?.onEnd(),
      onDrain: () => this.#handler?.onDrain(),
      onClose: (err) => this.#lost(opened, err),
    });
    confirmation?.onAccepted(() => this.#settle(confirmation.provider));
    for (const chunk of this.#kept ?? []) stream.write(chunk);
    if (this.#hasEnded) stream.end();
    if (!this.#isPaused) stream.resume();
    if (confirmation === undefined) this.#settle(undefined);
    else this.#await(opened, confirmation.provider);
  }

  /** As patient as an attempt: it is late, it is left for another one while that is safe, it is given up. */
  #await(opened: OpenedStream, provider: string | undefined): void {
    const { clock, acceptTimeoutMs: limitMs, watch } = this.#options;
    const step = (fromMs: number, toMs: number, then: () => void): void => {
      this.#timer = clock.after(Math.min(toMs, limitMs) - Math.min(fromMs, limitMs), then);
    };
    step(0, LATE_MS, () => {
      if (provider !== undefined && !opened.isRouterSilent()) watch.late(provider);
      step(LATE_MS, MOVE_MS, () => {
        const mayMove = provider !== undefined && !this.#hasSent && watch.hasOther(provider);
        if (mayMove) opened.stream.destroy(providerSilent());
        else step(MOVE_MS, limitMs, () => this.#silent(opened));
      });
    });
  }

  /** From here on the stream is the provider's, for better or worse. */
  #settle(provider: string | undefined): void {
    this.#timer?.cancel();
    this.#isSettled = true;
    this.#kept = undefined;
    if (this.#handler !== undefined) this.#inner?.setHandler(this.#handler);
    if (provider !== undefined) this.#options.onAccepted(provider);
  }

  get #hasSent(): boolean {
    return this.#keptBytes > 0 || this.#hasEnded;
  }

  /** A provider that says nothing is left when that is safe; else the application decides how long it waits. */
  #silent(opened: OpenedStream): void {
    if (this.#hasSent) this.#blame(opened, providerSilent());
    else opened.stream.destroy(providerSilent());
  }

  /** Tells of a provider's failure; of a Router that is silent, or gone, nothing is known of its providers. */
  #blame(opened: OpenedStream, err: Error | undefined): void {
    const provider = confirmationOf(opened.stream)?.provider;
    if (provider === undefined) return;
    const isSilence = errorCode(err) === PROVIDER_SILENT;
    if (isSilence ? !opened.isRouterSilent() : isProvidersFault(err))
      this.#options.watch.failed(provider, isSilence);
  }

  #lost(opened: OpenedStream, err: Error | undefined): void {
    this.#timer?.cancel();
    if (this.#isSettled || this.#abandoned.signal.aborted) {
      this.#close(err);
      return;
    }
    this.#blame(opened, err);
    const confirmation = confirmationOf(opened.stream);
    const isSafe = confirmation?.state === 'refused' || !this.#hasSent;
    if (!isSafe || this.#kept === undefined) {
      this.#close(err);
      return;
    }
    this.#inner = undefined;
    this.#options.reopen(this.#abandoned.signal).then(
      (another) => {
        if (this.#isClosed || this.#abandoned.signal.aborted) {
          another.stream.destroy();
          return;
        }
        this.#options.onMoved(another);
        this.#use(another);
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
