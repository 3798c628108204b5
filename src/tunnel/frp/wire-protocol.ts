/** The versions of frp's wire protocol behind one face: encoding, decoding, and telling them apart on a connection. */
import { ByteQueue } from './byte-queue.ts';
import type { Message } from './message.ts';
import { encodeV1, V1Decoder } from './v1.ts';
import { encodeV2, V2_MAGIC, V2Decoder } from './v2.ts';
import type { V2Frame } from './v2.ts';

/** A version of the wire protocol; chosen by the client, for each connection. */
export type WireProtocol = 'v1' | 'v2';

/** Decodes messages, one at a time. */
export interface MessageDecoder {
  /** Adds the next bytes. */
  push(chunk: Buffer): void;
  /** The next whole message, or undefined. Throws TunnelError (protocol) on anything else. */
  next(): Message | undefined;
  /** The bytes after the last message; the decoder is empty afterwards. */
  takeRest(): Buffer;
}

/** Encodes a message. Throws TunnelError (limit) when it is too large for frp. */
export function encodeMessage(wire: WireProtocol, value: Message): Buffer {
  return wire === 'v2' ? encodeV2(value) : encodeV1(value);
}

/** Creates a decoder of messages that follow the magic, if the version has one. */
export function createDecoder(wire: WireProtocol): MessageDecoder {
  return wire === 'v2' ? new V2Decoder() : new V1Decoder();
}

/** Decodes an accepted connection: the magic in front makes it v2, its absence v1. */
export class DetectingDecoder implements MessageDecoder {
  readonly #undecided = new ByteQueue();
  readonly #onHello: (frame: V2Frame) => void;
  #decoder: MessageDecoder | undefined;
  #wire: WireProtocol = 'v1';

  /** `onHello` is told of hellos, and may throw TunnelError. */
  constructor(onHello: (frame: V2Frame) => void) {
    this.#onHello = onHello;
  }

  /** What was found; v1 until the magic is complete. */
  get wireProtocol(): WireProtocol {
    return this.#wire;
  }

  push(chunk: Buffer): void {
    if (this.#decoder !== undefined) {
      this.#decoder.push(chunk);
      return;
    }
    this.#undecided.push(chunk);
    const start = this.#undecided.peek(V2_MAGIC.length);
    if (!start.equals(V2_MAGIC.subarray(0, start.length))) this.#decoder = new V1Decoder();
    else if (start.length === V2_MAGIC.length) {
      this.#undecided.take(V2_MAGIC.length);
      this.#wire = 'v2';
      this.#decoder = new V2Decoder(this.#onHello);
    } else return;
    this.#decoder.push(this.#undecided.takeAll());
  }

  next(): Message | undefined {
    return this.#decoder?.next();
  }

  takeRest(): Buffer {
    return this.#decoder?.takeRest() ?? this.#undecided.takeAll();
  }
}
