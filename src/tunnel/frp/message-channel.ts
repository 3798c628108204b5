/** Messages over a byte stream: sends, receives, waits for one with a time limit, and hands the stream on. */
import type { Clock } from '../../lib/clock.ts';
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { WrappedStream } from '../wrapped-stream.ts';
import { TunnelError } from '../errors.ts';
import { linger } from '../linger.ts';
import { cipherStream, deriveKey } from './cipher.ts';
import type { Message, MessageName, MessageOf } from './message.ts';
import { encodeV2Frame, V2_MAGIC, V2Decoder } from './v2.ts';
import type { V2Frame } from './v2.ts';
import { V2Handshake } from './v2-handshake.ts';
import type { Bootstrap } from './v2-handshake.ts';
import { createDecoder, DetectingDecoder, encodeMessage } from './wire-protocol.ts';
import type { MessageDecoder, WireProtocol } from './wire-protocol.ts';

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
  #decoder: MessageDecoder;
  readonly #clock: Clock;
  readonly #wire: () => WireProtocol;
  #handshake: V2Handshake | undefined;
  #waiting: Waiting | undefined;
  #listener: MessageListener | undefined;
  #ended: Error | undefined;
  /** The peer was told why it is refused; what is queued still leaves. */
  #isRefused = false;

  /** `wire` frames the messages and sends no magic; `detect` is for connections that a server accepted. */
  constructor(stream: ByteStream, clock: Clock, wire: WireProtocol | 'detect' = 'v1') {
    this.#stream = stream;
    this.#clock = clock;
    if (wire === 'detect') {
      const decoder = new DetectingDecoder((frame) => this.#onHello(frame));
      this.#decoder = decoder;
      this.#handshake = new V2Handshake('server');
      this.#wire = () => decoder.wireProtocol;
    } else {
      this.#decoder = createDecoder(wire);
      this.#wire = () => wire;
    }
    this.#listen();
  }

  /** Begins a connection to a server: the magic goes first where the protocol has one. */
  static open(stream: ByteStream, clock: Clock, wire: WireProtocol): MessageChannel {
    if (wire === 'v2') stream.write(V2_MAGIC);
    return new MessageChannel(stream, clock, wire);
  }

  /** How messages are framed; of an accepted connection only known with its first message. */
  get wireProtocol(): WireProtocol {
    return this.#wire();
  }

  /** Whether a login on this connection can be answered with keys: always in v1, after the hellos in v2. */
  get canEncrypt(): boolean {
    return this.wireProtocol === 'v1' || this.#handshake?.isDone === true;
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
    this.#stream.write(encodeMessage(this.wireProtocol, value));
  }

  /** Sends the hello that a v2 control connection begins with; the server's is checked when it arrives. */
  sendHello(bootstrap: Bootstrap): void {
    this.#handshake = new V2Handshake('client');
    this.#decoder = new V2Decoder((frame) => this.#onHello(frame));
    this.#stream.write(encodeV2Frame(this.#handshake.open(bootstrap)));
  }

  #onHello(frame: V2Frame): void {
    const { answer, problem } = this.#handshake?.receive(frame) ?? {};
    if (answer !== undefined) this.#stream.write(encodeV2Frame(answer));
    if (problem === undefined) return;
    this.#isRefused = true;
    throw new TunnelError('protocol', `client's hello refused: ${problem}`);
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

  /**
   * From here on everything is encrypted in both directions (control connections after the login).
   * Throws TunnelError (protocol) when the hellos of v2 are missing.
   */
  encrypt(token: string): void {
    const inner = withPrefix(this.#stream, this.#decoder.takeRest());
    if (this.wireProtocol === 'v1') this.#stream = cipherStream(inner, deriveKey(token));
    else {
      if (this.#handshake === undefined) throw new TunnelError('protocol', 'no hello was sent');
      this.#stream = this.#handshake.secure(inner, token);
      this.#decoder = createDecoder('v2');
    }
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
    if (this.#isRefused) return;
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
      if (this.#isRefused) linger(this.#stream, this.#clock, LINGER_MS);
      else this.#stream.destroy(err);
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

class PrefixedStream extends WrappedStream {
  #prefix: Buffer | undefined;
  #handler: ByteStreamHandler | undefined;
  #isPaused = true;
  #isClosed = false;

  constructor(inner: ByteStream, prefix: Buffer) {
    super(inner);
    this.#prefix = prefix;
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.inner.setHandler({
      onData: (chunk) => handler.onData(chunk),
      onEnd: () => handler.onEnd(),
      onDrain: () => handler.onDrain(),
      onClose: (err) => {
        this.#isClosed = true;
        handler.onClose(err);
      },
    });
  }

  override pause(): void {
    this.#isPaused = true;
    this.inner.pause();
  }

  override resume(): void {
    this.#isPaused = false;
    if (this.#prefix === undefined) {
      this.inner.resume();
      return;
    }
    process.nextTick(() => {
      const prefix = this.#prefix;
      if (prefix === undefined || this.#isPaused || this.#isClosed || this.#handler === undefined) return;
      this.#prefix = undefined;
      this.#handler.onData(prefix);
      if (!this.#isPaused) this.inner.resume();
    });
  }
}
