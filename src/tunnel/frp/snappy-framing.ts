/**
 * Snappy's framing (snappy framing_format.txt): chunks with checksums behind a stream identifier. Decodes any split
 * of its input, one chunk at a time, and holds no more than one chunk of its own.
 *
 *     | type | length (3, little endian) | masked CRC-32C of the data (4, little endian) | data |
 */
import { TunnelError } from '../errors.ts';
import { crc32c } from './crc32c.ts';
import { compressBlock, decompressBlock, MAX_BLOCK_BYTES, maxCompressedBytes } from './snappy-block.ts';

const CHUNK = { compressed: 0x00, uncompressed: 0x01, firstSkippable: 0x80, identifier: 0xff } as const;
const HEADER_BYTES = 4;
const CHECKSUM_BYTES = 4;
const IDENTIFIER = Buffer.from('ff060000734e61507059', 'hex');
const IDENTIFIER_BODY = IDENTIFIER.subarray(HEADER_BYTES);
const MASK_DELTA = 0xa282_ead8;
const MAX_COMPRESSED_BYTES = maxCompressedBytes(MAX_BLOCK_BYTES);

/** Encodes one direction of a stream; every call's bytes can be decoded as soon as they arrive. */
export class SnappyEncoder {
  #hasBegun = false;

  /** The chunks of some bytes, behind the stream identifier in the first call. */
  encode(bytes: Uint8Array): Buffer[] {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += MAX_BLOCK_BYTES) {
      chunks.push(
        encodeChunk(bytes.subarray(at, at + MAX_BLOCK_BYTES), this.#hasBegun ? 0 : IDENTIFIER.length),
      );
      if (this.#hasBegun) continue;
      this.#hasBegun = true;
      chunks[0]?.set(IDENTIFIER, 0);
    }
    return chunks;
  }
}

/** Where chunks are compressed before their size is known; used within one call only. */
const scratch = Buffer.allocUnsafe(MAX_COMPRESSED_BYTES);

/** Encodes a chunk and leaves `room` in front of it. */
function encodeChunk(data: Uint8Array, room: number): Buffer {
  const compressedBytes = compressBlock(data, scratch, 0);
  // A gain below an eighth is not worth the other side's work.
  const isCompressed = compressedBytes < data.length - Math.floor(data.length / 8);
  const body = isCompressed ? scratch.subarray(0, compressedBytes) : data;
  const bodyAt = room + HEADER_BYTES + CHECKSUM_BYTES;
  // A buffer of the right size: what waits to be sent holds no more memory than its bytes.
  const chunk = Buffer.allocUnsafe(bodyAt + body.length);
  chunk[room] = isCompressed ? CHUNK.compressed : CHUNK.uncompressed;
  chunk.writeUIntLE(CHECKSUM_BYTES + body.length, room + 1, 3);
  chunk.writeUInt32LE(maskedChecksum(data), room + HEADER_BYTES);
  chunk.set(body, bodyAt);
  return chunk;
}

/** What the framing stores: a checksum of data that holds checksums would be weak. */
function maskedChecksum(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

/** Decodes one direction of a stream. */
export class SnappyDecoder {
  readonly #input: Buffer[] = [];
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Body bytes of the current chunk that have not been looked at. */
  #bodyLeft = 0;
  /** The part of the body that came first, when it did not come at once. */
  #body: Buffer | undefined;
  #hasBegun = false;

  /** Adds input; the decoder owns the bytes. */
  push(chunk: Buffer): void {
    if (chunk.length > 0) this.#input.push(chunk);
  }

  /** Whether nothing is held: an end of the input is a clean one. */
  get isIdle(): boolean {
    return this.#input.length === 0 && this.#headerBytes === 0;
  }

  /** The data of the next chunk, or undefined when more input is needed. Throws TunnelError (protocol). */
  next(): Buffer | undefined {
    for (;;) {
      if (this.#headerBytes < HEADER_BYTES && !this.#readHeader()) return undefined;
      const type = this.#header[0] ?? 0;
      if (type >= CHUNK.firstSkippable && type !== CHUNK.identifier) {
        if (!this.#skipBody()) return undefined;
        this.#headerBytes = 0;
        continue;
      }
      const body = this.#readBody();
      if (body === undefined) return undefined;
      this.#headerBytes = 0;
      if (type === CHUNK.identifier) {
        if (!body.equals(IDENTIFIER_BODY)) throw malformed('the stream identifier is wrong');
        this.#hasBegun = true;
        continue;
      }
      const rest = body.subarray(CHECKSUM_BYTES);
      const data = type === CHUNK.compressed ? decompressBlock(rest) : rest;
      if (maskedChecksum(data) !== body.readUInt32LE(0)) throw malformed('a checksum does not match');
      if (data.length > 0) return data;
    }
  }

  #readHeader(): boolean {
    while (this.#headerBytes < HEADER_BYTES) {
      const piece = this.#take(HEADER_BYTES - this.#headerBytes);
      if (piece === undefined) return false;
      this.#header.set(piece, this.#headerBytes);
      this.#headerBytes += piece.length;
    }
    this.#bodyLeft = this.#header.readUIntLE(1, 3);
    this.#checkHeader(this.#header[0] ?? 0, this.#bodyLeft);
    return true;
  }

  #checkHeader(type: number, length: number): void {
    if (type === CHUNK.identifier) {
      if (length !== IDENTIFIER_BODY.length) throw malformed('the stream identifier is wrong');
      return;
    }
    if (!this.#hasBegun) throw malformed('it does not begin with the stream identifier');
    if (type >= CHUNK.firstSkippable) return;
    if (type > CHUNK.uncompressed) throw malformed(`chunk type ${type} is unknown`);
    const max = type === CHUNK.compressed ? MAX_COMPRESSED_BYTES : MAX_BLOCK_BYTES;
    if (length < CHECKSUM_BYTES || length > max + CHECKSUM_BYTES)
      throw malformed(`a chunk has ${length} bytes`);
  }

  #skipBody(): boolean {
    while (this.#bodyLeft > 0) {
      const piece = this.#take(this.#bodyLeft);
      if (piece === undefined) return false;
      this.#bodyLeft -= piece.length;
    }
    return true;
  }

  /** The whole body, without a copy where it came in one piece. */
  #readBody(): Buffer | undefined {
    const size = this.#header.readUIntLE(1, 3);
    while (this.#bodyLeft > 0) {
      const piece = this.#take(this.#bodyLeft);
      if (piece === undefined) return undefined;
      if (piece.length === size) {
        this.#bodyLeft = 0;
        return piece;
      }
      this.#body ??= Buffer.allocUnsafe(size);
      this.#body.set(piece, size - this.#bodyLeft);
      this.#bodyLeft -= piece.length;
    }
    const body = this.#body ?? Buffer.alloc(0);
    this.#body = undefined;
    return body;
  }

  /** Up to `bytes` bytes of the input. */
  #take(bytes: number): Buffer | undefined {
    const first = this.#input[0];
    if (first === undefined) return undefined;
    if (first.length <= bytes) {
      this.#input.shift();
      return first;
    }
    this.#input[0] = first.subarray(bytes);
    return first.subarray(0, bytes);
  }
}

function malformed(why: string): TunnelError {
  return new TunnelError('protocol', `compressed stream is malformed: ${why}`);
}
