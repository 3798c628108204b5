/** CRC-32 (ISO 3309, the polynomial of zlib and gzip); Node 20 has none of its own. */

const TABLE = new Uint32Array(256).map((_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

/** The checksum of `data`, an unsigned 32-bit number; `seed` continues an earlier one. */
export function crc32(data: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (let at = 0; at < data.length; at++) crc = (crc >>> 8) ^ (TABLE[(crc ^ (data[at] ?? 0)) & 255] ?? 0);
  return ~crc >>> 0;
}
