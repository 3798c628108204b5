/**
 * The first byte of what a provider sends says whether its target took the connection. A visitor that is refused knows
 * that nothing of its payload reached anybody, and may try elsewhere. Both ends say in frp's free metadata that they can;
 * where streams are sealed the byte is inside the seal, whose handshake also proves that both ends expect it.
 */
import type { Clock, Timer } from '../lib/clock.ts';
import type { ByteStream, ByteStreamHandler } from './byte-stream.ts';
import { WrappedStream } from './wrapped-stream.ts';
import { TunnelError } from './errors.ts';
import { linger } from './linger.ts';
import { withLoan } from './read-buffers.ts';

/** Free metadata of a message or a proxy. */
type Metas = Readonly<Record<string, string>>;

/** The metadata of a message or a proxy whose sender confirms, or wants that. */
export const CONFIRM_METAS = { confirm: '1' } as const;

/** Whether metadata say so. */
export function offersConfirmation(metas: Metas): boolean {
  return metas['confirm'] === CONFIRM_METAS.confirm;
}

const ACCEPTED = 1;
const REFUSED = 0;
/** A target that speaks within this time carries the byte along, which saves a frame of its own, milliseconds. */
const ALONE_AFTER_MS = 10;
/** A visitor that is refused gets this long to read it, milliseconds. */
const REFUSAL_LINGER_MS = 2000;

/** What a provider says of its target; one of the two, once. */
export interface Confirmation {
  accept(): void;
  /** Ends the stream too. */
  refuse(): void;
}

/** The provider's end: what is written goes out behind the byte. */
export function confirmingStream(
  inner: ByteStream,
  clock: Clock,
): { stream: ByteStream; confirmation: Confirmation } {
  const stream = new ConfirmingStream(inner, clock);
  return { stream, confirmation: stream };
}

class ConfirmingStream extends WrappedStream implements Confirmation {
  readonly #clock: Clock;
  #isDue = false;
  #timer: Timer | undefined;

  constructor(inner: ByteStream, clock: Clock) {
    super(inner);
    this.#clock = clock;
  }

  accept(): void {
    this.#isDue = true;
    this.#timer = this.#clock.after(ALONE_AFTER_MS, () => this.#flush());
  }

  refuse(): void {
    this.inner.write(Buffer.of(REFUSED));
    linger(this.inner, this.#clock, REFUSAL_LINGER_MS);
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.inner.setHandler({
      onData: (chunk) => handler.onData(chunk),
      onEnd: () => handler.onEnd(),
      onDrain: () => handler.onDrain(),
      onClose: (err) => {
        this.#timer?.cancel();
        handler.onClose(err);
      },
    });
  }

  override write(chunk: Uint8Array): boolean | void {
    if (!this.#isDue) return this.inner.write(chunk);
    this.#isDue = false;
    this.#timer?.cancel();
    const first = Buffer.concat([Buffer.of(ACCEPTED), chunk]);
    withLoan(undefined, () => this.inner.write(first)); // a copy, nobody else's
    return true;
  }

  override end(): void {
    this.#flush();
    this.inner.end();
  }

  override destroy(err?: Error): void {
    this.#timer?.cancel();
    this.inner.destroy(err);
  }

  #flush(): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    this.#timer?.cancel();
    this.inner.write(Buffer.of(ACCEPTED));
  }
}

/** What a visitor learns of its connection. */
export interface ConfirmationState {
  /** `pending` until the provider has answered. */
  readonly state: 'pending' | 'accepted' | 'refused';
  /** The provider's proxy, where the Router named it. */
  readonly provider: string | undefined;
  /** Called once, when the provider accepts; a refusal is an end of the stream with TunnelError (targetRefused). */
  onAccepted(listener: () => void): void;
}

/** The visitor's end: takes the byte off. Data that arrives meets the handler as if it had never been there. */
export function confirmedStream(inner: ByteStream, provider: string | undefined): ByteStream {
  return new ConfirmedStream(inner, provider);
}

/** The stream below a confirmed one, for those who want to know what it is. */
export function payloadOf(stream: ByteStream): ByteStream {
  return stream instanceof ConfirmedStream ? stream.payload : stream;
}

/** What is known of a stream's confirmation; undefined when its provider does not confirm. */
export function confirmationOf(stream: ByteStream): ConfirmationState | undefined {
  return stream instanceof ConfirmedStream ? stream : undefined;
}

class ConfirmedStream extends WrappedStream implements ConfirmationState {
  readonly provider: string | undefined;
  #state: ConfirmationState['state'] = 'pending';
  #listener: () => void = () => {};
  #handler: ByteStreamHandler | undefined;

  constructor(inner: ByteStream, provider: string | undefined) {
    super(inner);
    this.provider = provider;
    inner.setHandler(this.#watcher());
  }

  get state(): ConfirmationState['state'] {
    return this.#state;
  }

  get payload(): ByteStream {
    return this.inner;
  }

  onAccepted(listener: () => void): void {
    this.#listener = listener;
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
    // Once the byte is off there is nothing to look at any more.
    if (this.#state === 'accepted') this.inner.setHandler(handler);
  }

  #watcher(): ByteStreamHandler {
    return {
      onData: (chunk) => this.#first(chunk),
      onEnd: () => {
        if (this.#state !== 'refused')
          this.inner.destroy(
            new TunnelError('unconfirmed', 'the provider ended the connection before it was open'),
          );
      },
      onDrain: () => this.#handler?.onDrain(),
      onClose: (err) => this.#handler?.onClose(this.#state === 'refused' ? refusal() : err),
    };
  }

  #first(chunk: Buffer): void {
    if (this.#state !== 'pending') return;
    if (chunk[0] !== ACCEPTED) {
      if (chunk[0] === REFUSED) this.#state = 'refused';
      this.inner.destroy(
        chunk[0] === REFUSED
          ? refusal()
          : new TunnelError('protocol', 'the provider neither accepts nor refuses'),
      );
      return;
    }
    this.#state = 'accepted';
    if (this.#handler !== undefined) this.inner.setHandler(this.#handler);
    this.#listener();
    if (chunk.length > 1) this.#handler?.onData(chunk.subarray(1));
  }
}

function refusal(): TunnelError {
  return new TunnelError('targetRefused', "the provider's target does not accept connections");
}
