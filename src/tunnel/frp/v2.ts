/**
 * frp's wire protocol v2 (0.69 and later): a magic at the start of each connection, then frames. Bytes in, frames and
 * messages out; keeps what follows a frame. The handshake of control connections is in v2-handshake.ts.
 *
 *     +----------+-----------------+-----------------+- - - - - - - - - - - - - - - - - -+
 *     | type (2) | flags (2), zero | length (4)      | payload; of a message: id (2), JSON |
 *     +----------+-----------------+-----------------+- - - - - - - - - - - - - - - - - -+
 */
import { errorMessage } from '../../lib/errors.ts';
import { TunnelError } from '../errors.ts';
import { ByteQueue } from './byte-queue.ts';
import { decodeBody, encodeBody, MESSAGES } from './message.ts';
import type { Message, MessageName } from './message.ts';

/** What a v2 connection begins with, before its first frame. */
export const V2_MAGIC: Buffer = Buffer.from('FRP\0\u0002\r\n');
/** Types of frames. */
export const V2_FRAME = { clientHello: 1, serverHello: 2, message: 16 } as const;
/** Largest payload of a frame, bytes. */
export const MAX_V2_PAYLOAD_BYTES = 65_536;

const HEADER_BYTES = 8;
const ID_BYTES = 2;
/** The JSON that fits a message frame, bytes. */
export const MAX_V2_BODY_BYTES: number = MAX_V2_PAYLOAD_BYTES - ID_BYTES;

/** One frame; `payload` holds the bytes as they were sent. */
export interface V2Frame {
  type: number;
  payload: Buffer;
}

const NAME_BY_ID = new Map(
  Object.entries(MESSAGES).map(([name, spec]) => [spec.v2 as number, name as MessageName]),
);

/** Encodes one frame. Throws TunnelError (limit) when the payload is larger than frp accepts. */
export function encodeV2Frame({ type, payload }: V2Frame): Buffer {
  if (payload.length > MAX_V2_PAYLOAD_BYTES) {
    throw new TunnelError('limit', `frame has ${payload.length} bytes, frp accepts ${MAX_V2_PAYLOAD_BYTES}`);
  }
  const frame = Buffer.alloc(HEADER_BYTES + payload.length);
  frame.writeUInt16BE(type, 0);
  frame.writeUInt32BE(payload.length, 4);
  payload.copy(frame, HEADER_BYTES);
  return frame;
}

/** Encodes one message as a frame. Throws TunnelError (limit) when its JSON is larger than frp accepts. */
export function encodeV2(value: Message): Buffer {
  const json = encodeBody(value);
  const bodyBytes = Buffer.byteLength(json);
  if (bodyBytes > MAX_V2_BODY_BYTES) {
    throw new TunnelError('limit', `${value.name} has ${bodyBytes} bytes, frp accepts ${MAX_V2_BODY_BYTES}`);
  }
  const frame = Buffer.alloc(HEADER_BYTES + ID_BYTES + bodyBytes);
  frame.writeUInt16BE(V2_FRAME.message, 0);
  frame.writeUInt32BE(ID_BYTES + bodyBytes, 4);
  frame.writeUInt16BE(MESSAGES[value.name].v2, HEADER_BYTES);
  frame.write(json, HEADER_BYTES + ID_BYTES);
  return frame;
}

/** The message in a frame. Throws TunnelError (protocol) when it holds none that is known. */
export function decodeV2Message({ type, payload }: V2Frame): Message {
  if (type !== V2_FRAME.message)
    throw new TunnelError('protocol', `peer sent a frame of type ${type}, wanted a message`);
  if (payload.length < ID_BYTES)
    throw new TunnelError('protocol', 'peer sent a message frame without a message');
  const id = payload.readUInt16BE(0);
  const name = NAME_BY_ID.get(id);
  if (name === undefined) throw new TunnelError('protocol', `peer sent a message of unknown id ${id}`);
  try {
    return decodeBody(name, payload.toString('utf8', ID_BYTES)) as Message;
  } catch (err) {
    throw new TunnelError('protocol', `peer sent a bad ${name}: ${errorMessage(err)}`, { cause: err });
  }
}

/** Decodes frames from a byte stream behind the magic, one at a time: what follows may belong to another layer. */
export class V2Decoder {
  readonly #bytes = new ByteQueue();
  readonly #onHello: ((frame: V2Frame) => void) | undefined;

  /** `onHello` is told of the hellos that next() meets, and may throw TunnelError; without it they are refused. */
  constructor(onHello?: (frame: V2Frame) => void) {
    this.#onHello = onHello;
  }

  /** Adds the next bytes. */
  push(chunk: Buffer): void {
    this.#bytes.push(chunk);
  }

  /** The next whole frame, or undefined. Throws TunnelError (protocol) on flags and on a payload that is too large. */
  nextFrame(): V2Frame | undefined {
    if (this.#bytes.length < HEADER_BYTES) return undefined;
    const header = this.#bytes.peek(HEADER_BYTES);
    const type = header.readUInt16BE(0);
    const flags = header.readUInt16BE(2);
    const payloadBytes = header.readUInt32BE(4);
    if (flags !== 0) throw new TunnelError('protocol', `peer sent a frame with unknown flags ${flags}`);
    if (payloadBytes > MAX_V2_PAYLOAD_BYTES) {
      throw new TunnelError('protocol', `peer sent a frame larger than ${MAX_V2_PAYLOAD_BYTES} bytes`);
    }
    if (this.#bytes.length < HEADER_BYTES + payloadBytes) return undefined;
    this.#bytes.take(HEADER_BYTES);
    return { type, payload: this.#bytes.take(payloadBytes) };
  }

  /** The next whole message, or undefined. Throws TunnelError (protocol) on anything else. */
  next(): Message | undefined {
    for (let frame = this.nextFrame(); frame !== undefined; frame = this.nextFrame()) {
      if (this.#onHello === undefined || frame.type > V2_FRAME.serverHello) return decodeV2Message(frame);
      this.#onHello(frame);
    }
    return undefined;
  }

  /** The bytes after the last frame; the decoder is empty afterwards. */
  takeRest(): Buffer {
    return this.#bytes.takeAll();
  }
}
