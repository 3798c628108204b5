/**
 * frp's wire protocol v1: frames of type, length and JSON. Bytes in, messages out; keeps what follows a message.
 *
 *     +--------+----------------------------------------+- - - - - - - -+
 *     | type   | length (8 bytes, signed, big-endian)   | JSON          |
 *     +--------+----------------------------------------+- - - - - - - -+
 */
import { errorMessage } from '../../lib/errors.ts';
import { TunnelError } from '../errors.ts';
import { decodeBody, encodeBody, MESSAGES } from './message.ts';
import type { Message, MessageName } from './message.ts';

const HEADER_BYTES = 9;
/** Largest JSON that frp accepts, bytes. */
export const MAX_BODY_BYTES = 10_240;

const NAME_BY_TYPE = new Map(
  Object.entries(MESSAGES).map(([name, spec]) => [spec.v1.charCodeAt(0), name as MessageName]),
);

/** Encodes one message. Throws TunnelError when its JSON is larger than frp accepts. */
export function encodeV1(value: Message): Buffer {
  const json = encodeBody(value);
  const bodyBytes = Buffer.byteLength(json);
  if (bodyBytes > MAX_BODY_BYTES) {
    throw new TunnelError('limit', `${value.name} has ${bodyBytes} bytes, frp accepts ${MAX_BODY_BYTES}`);
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + bodyBytes);
  frame[0] = MESSAGES[value.name].v1.charCodeAt(0);
  frame.writeUInt32BE(0, 1);
  frame.writeUInt32BE(bodyBytes, 5);
  frame.write(json, HEADER_BYTES);
  return frame;
}

/** Decodes messages from a byte stream, one at a time: what follows may belong to another layer. */
export class V1Decoder {
  #pending: Buffer = Buffer.alloc(0);

  /** Adds the next bytes. */
  push(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
  }

  /** The next whole message, or undefined. Throws TunnelError (protocol) on anything that is no frame. */
  next(): Message | undefined {
    const bytes = this.#pending;
    const first = bytes[0];
    if (first === undefined) return undefined;
    const name = NAME_BY_TYPE.get(first);
    if (name === undefined) throw new TunnelError('protocol', `peer sent a message of unknown type ${first}`);
    if (bytes.length < HEADER_BYTES) return undefined;
    const bodyBytes = bytes.readUInt32BE(1) === 0 ? bytes.readUInt32BE(5) : Infinity;
    if (bodyBytes > MAX_BODY_BYTES) {
      throw new TunnelError('protocol', `peer sent a ${name} larger than ${MAX_BODY_BYTES} bytes`);
    }
    const end = HEADER_BYTES + bodyBytes;
    if (bytes.length < end) return undefined;
    this.#pending = bytes.subarray(end);
    try {
      return decodeBody(name, bytes.toString('utf8', HEADER_BYTES, end)) as Message;
    } catch (err) {
      throw new TunnelError('protocol', `peer sent a bad ${name}: ${errorMessage(err)}`, { cause: err });
    }
  }

  /** The bytes after the last message; the decoder is empty afterwards. */
  takeRest(): Buffer {
    const rest = this.#pending;
    this.#pending = Buffer.alloc(0);
    return rest;
  }
}
