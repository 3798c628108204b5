/**
 * Snappy's block format (snappy format_description.txt): a length, then literals and copies of what came before.
 * The decoder checks every length and offset against its bounds before it writes a byte.
 */
import { TunnelError } from '../errors.ts';

/** Most bytes that a block of the framing may hold, uncompressed. */
export const MAX_BLOCK_BYTES = 65_536;

const TAG = { literal: 0, copy1: 1, copy2: 2, copy4: 3 } as const;
/** Inputs shorter than this cannot gain anything. */
const MIN_INPUT_BYTES = 17;
/** The search stops this far from the end, so that four bytes can always be read. */
const MARGIN_BYTES = 15;
const HASH_BITS = 14;
/** Where a four-byte sequence was seen last; used within one call only. */
const seenAt = new Uint16Array(1 << HASH_BITS);

/** The room that a block of `bytes` may need in the worst case. */
export function maxCompressedBytes(bytes: number): number {
  return 32 + bytes + Math.floor(bytes / 6);
}

/** Compresses up to 65536 bytes into `output` from `start` on, which must have room; returns the end. */
export function compressBlock(input: Uint8Array, output: Uint8Array, start: number): number {
  let at = putLength(output, start, input.length);
  let literalFrom = 0;
  if (input.length >= MIN_INPUT_BYTES) {
    // A small input needs only a small table, and clearing it is most of the work then.
    const bits = Math.min(HASH_BITS, Math.max(8, 32 - Math.clz32(input.length - 1)));
    const shift = 32 - bits;
    seenAt.fill(0, 0, 1 << bits);
    const limit = input.length - MARGIN_BYTES;
    let position = 1;
    let misses = 32;
    while (position < limit) {
      const sequence = readSequence(input, position);
      const slot = Math.imul(sequence, 0x1e35_a7bd) >>> shift;
      const candidate = seenAt[slot] ?? 0;
      seenAt[slot] = position;
      if (candidate >= position || readSequence(input, candidate) !== sequence) {
        // The longer nothing repeats, the larger the steps: noise costs little.
        position += misses++ >>> 5;
        continue;
      }
      let length = 4;
      while (position + length < input.length && input[candidate + length] === input[position + length])
        length++;
      at = putLiteral(output, at, input, literalFrom, position);
      at = putCopy(output, at, position - candidate, length);
      position += length;
      literalFrom = position;
      misses = 32;
    }
  }
  return putLiteral(output, at, input, literalFrom, input.length);
}

function readSequence(input: Uint8Array, at: number): number {
  return (
    (input[at] ?? 0) |
    ((input[at + 1] ?? 0) << 8) |
    ((input[at + 2] ?? 0) << 16) |
    ((input[at + 3] ?? 0) << 24)
  );
}

function putLength(output: Uint8Array, start: number, length: number): number {
  let at = start;
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) output[at++] = (rest & 0x7f) | 0x80;
  output[at++] = rest;
  return at;
}

function putLiteral(output: Uint8Array, start: number, input: Uint8Array, from: number, to: number): number {
  let at = start;
  const code = to - from - 1;
  if (code < 0) return at;
  if (code < 60) output[at++] = (code << 2) | TAG.literal;
  else if (code < 256) {
    output[at++] = (60 << 2) | TAG.literal;
    output[at++] = code;
  } else {
    output[at++] = (61 << 2) | TAG.literal;
    output[at++] = code & 0xff;
    output[at++] = code >>> 8;
  }
  output.set(input.subarray(from, to), at);
  return at + to - from;
}

function putCopy(output: Uint8Array, start: number, offset: number, length: number): number {
  let at = start;
  let rest = length;
  // The last part must be 4 bytes at least, so the part before it may have to be shorter than 64.
  while (rest > 64) {
    const part = rest >= 68 ? 64 : 60;
    at = putCopy2(output, at, offset, part);
    rest -= part;
  }
  if (rest >= 12 || offset >= 2048) return putCopy2(output, at, offset, rest);
  output[at++] = ((offset >>> 8) << 5) | ((rest - 4) << 2) | TAG.copy1;
  output[at++] = offset & 0xff;
  return at;
}

function putCopy2(output: Uint8Array, start: number, offset: number, length: number): number {
  output[start] = ((length - 1) << 2) | TAG.copy2;
  output[start + 1] = offset & 0xff;
  output[start + 2] = offset >>> 8;
  return start + 3;
}

/** Decompresses a block. Throws TunnelError (protocol) when it is damaged or holds more than 65536 bytes. */
export function decompressBlock(block: Uint8Array): Buffer {
  const { length, at: start } = readLength(block);
  const output = Buffer.allocUnsafe(length);
  let at = start;
  let written = 0;
  while (at < block.length) {
    const tag = block[at] ?? 0;
    const kind = tag & 3;
    let size: number;
    if (kind === TAG.literal) {
      const code = tag >>> 2;
      const extra = code < 60 ? 0 : code - 59;
      size = (extra === 0 ? code : readLittleEndian(block, at + 1, extra)) + 1;
      at += 1 + extra;
      if (size > block.length - at || size > length - written) throw damaged('a literal is too long');
      output.set(block.subarray(at, at + size), written);
      at += size;
    } else {
      const operandBytes = kind === TAG.copy4 ? 4 : kind;
      const operand = readLittleEndian(block, at + 1, operandBytes);
      const offset = kind === TAG.copy1 ? ((tag >>> 5) << 8) | operand : operand;
      size = kind === TAG.copy1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2);
      at += 1 + operandBytes;
      if (offset === 0 || offset > written || size > length - written)
        throw damaged('a copy is out of bounds');
      if (offset >= size) output.copyWithin(written, written - offset, written - offset + size);
      // An overlapping copy repeats what it has just written.
      else for (let to = written; to < written + size; to++) output[to] = output[to - offset] ?? 0;
    }
    written += size;
  }
  if (written !== length) throw damaged('it is too short');
  return output;
}

function readLength(block: Uint8Array): { length: number; at: number } {
  let length = 0;
  for (let at = 0; at < 5; at++) {
    const byte = block[at];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte >= 0x80) continue;
    if (length > MAX_BLOCK_BYTES) throw damaged(`it holds ${length} bytes`);
    return { length, at: at + 1 };
  }
  throw damaged('its length is cut off');
}

function readLittleEndian(block: Uint8Array, at: number, bytes: number): number {
  if (at + bytes > block.length) throw damaged('it is cut off');
  let value = 0;
  for (let index = bytes - 1; index >= 0; index--) value = value * 256 + (block[at + index] ?? 0);
  return value;
}

function damaged(why: string): TunnelError {
  return new TunnelError('protocol', `compressed block is damaged: ${why}`);
}
