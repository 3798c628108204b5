/** CRC-32C (Castagnoli), the checksum of snappy's framing; eight bytes a step. */

/** The reversed polynomial (RFC 3720 appendix B.4). */
const POLYNOMIAL = 0x82f6_3b78;
const TABLES = createTables();

/** The CRC-32C of some bytes, 0 to 2^32 - 1. */
export function crc32c(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let crc = 0xffff_ffff;
  let at = 0;
  const whole = bytes.length - (bytes.length % 8);
  for (; at < whole; at += 8) {
    const low = crc ^ word(bytes, at);
    const high = word(bytes, at + 4);
    crc =
      entry(t7, low) ^
      entry(t6, low >>> 8) ^
      entry(t5, low >>> 16) ^
      entry(t4, low >>> 24) ^
      entry(t3, high) ^
      entry(t2, high >>> 8) ^
      entry(t1, high >>> 16) ^
      entry(t0, high >>> 24);
  }
  for (; at < bytes.length; at++) crc = entry(t0, crc ^ (bytes[at] ?? 0)) ^ (crc >>> 8);
  return ~crc >>> 0;
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

function entry(table: Uint32Array, index: number): number {
  return table[index & 0xff] ?? 0;
}

type Eight<T> = [T, T, T, T, T, T, T, T];

/** Table k tells what a byte that is followed by k zero bytes does to the remainder. */
function createTables(): Eight<Uint32Array> {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256)) as Eight<Uint32Array>;
  for (let value = 0; value < 256; value++) {
    let crc = value;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : POLYNOMIAL);
    tables[0][value] = crc;
  }
  for (let value = 0; value < 256; value++) {
    let crc = entry(tables[0], value);
    for (const table of tables.slice(1)) {
      crc = entry(tables[0], crc) ^ (crc >>> 8);
      table[value] = crc;
    }
  }
  return tables;
}
