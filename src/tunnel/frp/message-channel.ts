/** Messages over a byte stream: sends, receives, waits for one with a time limit, and hands the stream on. */
import type { Clock } from '../../lib/clock.ts';
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { linger } from '../linger.ts';
import { cipherStream } from './cipher.ts';
import type { Message, MessageName, MessageOf } from './message.ts';
import { encodeV1, V1Decoder } from './v1.ts';

/** Who is told of messages after start(). */
export interface MessageListener {
  onMessage(value: Message): void;
  /** The channel is over; at most once, last call. */
  onClose(err?: Error): void;
}

/** How long a closed channel waits for the peer to close too, milliseconds. */
const LINGER_MS = 5000;

/** One of several messages, told apart by `name`. */
type AnyOf<Name extends MessageName> = { [Each in Name]: MessageOf<Each> }[Name];

interface Waiting {
  resolve(value: Message): void;
  reject(err: Error): void;
}

/**
 * The start of every frp connection. First expect() single messages, then either start() listening, or
 * release() the stream: bytes that arrived behind the last message go with it.
 */
export class MessageChannel {
  #stream: ByteStream;
  readonly #decoder = new V1Decoder();
  readonly #clock: Clock;
  #waiting: Waiting | undefined;
  #listener: MessageListener | undefined;
  #ended: Error | undefined;

  constructor(stream: ByteStream, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
    this.#listen();
  }

  /** Whether the connection is known to be over. */
  get isClosed(): boolean {
    return this.#ended !== undefined;
  }

  /** Bytes sent and not yet taken by the transport. */
  get queuedBytes(): number {
    return this.#stream.queuedBytes;
  }

  /** Sends a message. Throws TunnelError (limit) when it is too large for frp. */
  send(value: Message): void {
    this.#stream.write(encodeV1(value));
  }

  /**
   * Waits for the next message; the stream is paused again when it is there. Rejects with TunnelError when it
   * is not one of `names` (protocol), when the channel closes first (closed), or after `limitMs` (timeout;
   * Infinity waits as long as the channel lives). Does not close the channel.
   */
  async expect<Name extends MessageName>(names: readonly Name[], limitMs: number): Promise<AnyOf<Name>> {
    const value = await this.#next(limitMs, names);
    if (!(names as readonly string[]).includes(value.name)) {
      throw new TunnelError('protocol', `peer sent ${value.name}, wanted ${names.join(' or ')}`);
    }
    return value as unknown as AnyOf<Name>;
  }

  #next(limitMs: number, names: readonly string[]): Promise<Message> {
    return new Promise((resolve, reject) => {
      const timer = Number.isFinite(limitMs)
        ? this.#clock.after(limitMs, () => {
            settle();
            reject(new TunnelError('timeout', `no ${names.join(' or ')} within ${limitMs} ms`));
          })
        : undefined;
      const settle = (): void => {
        timer?.cancel();
        this.#waiting = undefined;
        this.#stream.pause();
      };
      this.#waiting = {
        resolve: (value) => {
          settle();
          resolve(value);
        },
        reject: (err) => {
          settle();
          reject(err);
        },
      };
      if (this.#ended !== undefined) this.#waiting.reject(this.#ended);
      else {
        this.#drain();
        if (this.#waiting !== undefined) this.#stream.resume();
      }
    });
  }

  /** From here on everything is encrypted in both directions (control connections after the login). */
  encrypt(key: Buffer): void {
    const rest = this.#decoder.takeRest();
    this.#stream = cipherStream(withPrefix(this.#stream, rest), key);
    this.#listen();
  }

  /** Tells every further message to a listener. */
  start(listener: MessageListener): void {
    this.#listener = listener;
    const stream = this.#stream;
    process.nextTick(() => {
      if (this.#ended !== undefined) listener.onClose(this.#ended);
      else if (this.#drain()) stream.resume();
    });
  }

  /** Gives the stream away, with the bytes that follow the last message; the channel is done. */
  release(): ByteStream {
    this.#stream.pause();
    return withPrefix(this.#stream, this.#decoder.takeRest());
  }

  /** Ends the channel; what was sent still leaves when there is no error. */
  close(err?: Error): void {
    if (err === undefined) linger(this.#stream, this.#clock, LINGER_MS);
    else this.#stream.destroy(err);
  }

  #listen(): void {
    this.#stream.setHandler({
      onData: (chunk) => {
        this.#decoder.push(chunk);
        this.#drain();
      },
      onEnd: () => this.#close(new TunnelError('closed', 'peer closed the connection')),
      onDrain: () => {},
      onClose: (err) => this.#close(err ?? new TunnelError('closed', 'connection closed')),
    });
  }

  /** Hands out what is decoded; false when the peer broke the protocol. */
  #drain(): boolean {
    try {
      while (this.#waiting !== undefined || this.#listener !== undefined) {
        const value = this.#decoder.next();
        if (value === undefined) break;
        if (this.#waiting !== undefined) this.#waiting.resolve(value);
        else this.#listener?.onMessage(value);
      }
      return true;
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
      this.#stream.destroy(err);
      this.#close(err);
      return false;
    }
  }

  #close(err: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = err;
    this.#waiting?.reject(err);
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener === undefined) return;
    this.#stream.destroy();
    listener.onClose(err);
  }
}

/** A stream that delivers `prefix` before what the inner stream delivers. Owns the inner stream. */
export function withPrefix(inner: ByteStream, prefix: Buffer): ByteStream {
  return prefix.length === 0 ? inner : new PrefixedStream(inner, prefix);
}

class PrefixedStream implements ByteStream {
  readonly #inner: ByteStream;
  #prefix: Buffer | undefined;
  #handler: ByteStreamHandler | undefined;
  #isPaused = true;
  #isClosed = false;

  constructor(inner: ByteStream, prefix: Buffer) {
    this.#inner = inner;
    this.#prefix = prefix;
  }

  get queuedBytes(): number {
    return this.#inner.queuedBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.#inner.setHandler({
      onData: (chunk) => handler.onData(chunk),
      onEnd: () => handler.onEnd(),
      onDrain: () => handler.onDrain(),
      onClose: (err) => {
        this.#isClosed = true;
        handler.onClose(err);
      },
    });
  }

  write(chunk: Uint8Array): void {
    this.#inner.write(chunk);
  }

  end(): void {
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
    if (this.#prefix === undefined) {
      this.#inner.resume();
      return;
    }
    process.nextTick(() => {
      const prefix = this.#prefix;
      if (prefix === undefined || this.#isPaused || this.#isClosed || this.#handler === undefined) return;
      this.#prefix = undefined;
      this.#handler.onData(prefix);
      if (!this.#isPaused) this.#inner.resume();
    });
  }
}
