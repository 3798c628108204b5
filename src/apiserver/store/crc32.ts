/** CRC-32 (ISO 3309, the polynomial of zlib and gzip); Node has one of its own from 20.15 on. */
import * as zlib from 'node:zlib';

const TABLE = new Uint32Array(256).map((_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

/** As crc32, for a Node without it. */
export function crc32ByTable(data: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (let at = 0; at < data.length; at++) crc = (crc >>> 8) ^ (TABLE[(crc ^ (data[at] ?? 0)) & 255] ?? 0);
  return ~crc >>> 0;
}

/** The checksum of `data`, an unsigned 32-bit number; `seed` continues an earlier one. */
export const crc32: (data: Uint8Array, seed?: number) => number =
  'crc32' in zlib ? (data, seed = 0) => zlib.crc32(data, seed) : crc32ByTable;
