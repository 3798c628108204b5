/**
 * The yamux frame header (yamux spec, "Framing"); knows bytes, no sockets and no streams.
 *
 *     0        1        2                 4                                   8                                  12
 *     +--------+--------+-----------------+-----------------------------------+-----------------------------------+
 *     | version| type   | flags           | stream id                         | length                            |
 *     +--------+--------+-----------------+-----------------------------------+-----------------------------------+
 */

// Fixed by the specification.

/** Bytes of a header. */
export const HEADER_BYTES = 12;
/** The only version. */
export const PROTOCOL_VERSION = 0;
/** Send and receive window that every stream starts with, bytes. */
export const INITIAL_WINDOW_BYTES = 256 * 1024;

/** Frame types. */
export const FRAME_TYPE = { data: 0, windowUpdate: 1, ping: 2, goAway: 3 } as const;
/** Flag bits. */
export const FLAG = { syn: 1, ack: 2, fin: 4, rst: 8 } as const;
/** Codes of a go-away frame, in its length field. */
export const GO_AWAY = { normal: 0, protocolError: 1, internalError: 2 } as const;

/** Writes a header into a buffer of its own. */
export function encodeHeader(type: number, flags: number, streamId: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(header, type, flags, streamId, length);
  return header;
}

/** Writes a header at the start of `target`. */
export function writeHeader(
  target: Buffer,
  type: number,
  flags: number,
  streamId: number,
  length: number,
): void {
  target[0] = PROTOCOL_VERSION;
  target[1] = type;
  target.writeUInt16BE(flags, 2);
  target.writeUInt32BE(streamId, 4);
  target.writeUInt32BE(length, 8);
}
