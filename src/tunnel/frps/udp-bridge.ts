/** Joins sudp legs of different wire protocols: messages of one are read, checked and written again for the other. */
import { errorCode } from '../../lib/errors.ts';
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { WrappedStream } from '../wrapped-stream.ts';
import { TUNNEL_ERRORS, TunnelError } from '../errors.ts';
import type { Message } from '../frp/message.ts';
import { createDecoder, encodeMessage } from '../frp/wire-protocol.ts';
import type { MessageDecoder, WireProtocol } from '../frp/wire-protocol.ts';

/** How a client frames datagrams: as its session, but frpc 0.69.0 stayed with v1 there. */
export function datagramWire(wire: WireProtocol, clientVersion: string): WireProtocol {
  return clientVersion === '0.69.0' ? 'v1' : wire;
}

/**
 * The visitor's stream as the provider's side is to see it. Ping goes to the visitor only; any other message than
 * UDPPacket closes both. Owns the stream.
 */
export function bridgeDatagrams(
  visitor: ByteStream,
  visitorWire: WireProtocol,
  providerWire: WireProtocol,
): ByteStream {
  return visitorWire === providerWire ? visitor : new BridgedStream(visitor, visitorWire, providerWire);
}

class BridgedStream extends WrappedStream {
  readonly #innerWire: WireProtocol;
  readonly #outerWire: WireProtocol;
  readonly #fromVisitor: MessageDecoder;
  readonly #fromProvider: MessageDecoder;

  constructor(inner: ByteStream, innerWire: WireProtocol, outerWire: WireProtocol) {
    super(inner);
    this.#innerWire = innerWire;
    this.#outerWire = outerWire;
    this.#fromVisitor = createDecoder(innerWire);
    this.#fromProvider = createDecoder(outerWire);
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.inner.setHandler({
      onData: (chunk) => {
        this.#translate(this.#fromVisitor, chunk, (value) => {
          if (value.name === 'UDPPacket') handler.onData(encodeMessage(this.#outerWire, value));
        });
      },
      onEnd: () => handler.onEnd(),
      onDrain: () => handler.onDrain(),
      onClose: (err) => handler.onClose(err),
    });
  }

  override write(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#translate(this.#fromProvider, bytes, (value) => {
      this.inner.write(encodeMessage(this.#innerWire, value));
    });
  }

  #translate(decoder: MessageDecoder, chunk: Buffer, carry: (value: Message) => void): void {
    try {
      decoder.push(chunk);
      for (let value = decoder.next(); value !== undefined; value = decoder.next()) {
        if (value.name !== 'UDPPacket' && value.name !== 'Ping')
          throw new TunnelError('protocol', `peer sent ${value.name} on a UDP connection`);
        carryIfFits(value, carry);
      }
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
      this.inner.destroy(err);
    }
  }
}

/** A datagram that fits v2 may be too large for v1: it is lost, as datagrams may be. */
function carryIfFits(value: Message, carry: (value: Message) => void): void {
  try {
    carry(value);
  } catch (err) {
    if (errorCode(err) !== TUNNEL_ERRORS.limit) throw err;
  }
}
