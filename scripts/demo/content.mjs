// The bytes that the demo moves: deterministic, and different in every block, so that a hash notices any mistake.
import { createHash } from 'node:crypto';

/** A prime number of bytes, so that no buffer size divides it. */
const BLOCK_BYTES = 65_521;

/** `sizeBytes` bytes in chunks. */
export function* fileChunks(sizeBytes) {
  const pattern = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < BLOCK_BYTES; at++) pattern[at] = (at * 131 + (at >> 8)) & 255;
  for (let sent = 0, serial = 0; sent < sizeBytes; sent += BLOCK_BYTES, serial++) {
    const chunk = Buffer.from(pattern.subarray(0, Math.min(BLOCK_BYTES, sizeBytes - sent)));
    if (chunk.length >= 4) chunk.writeUInt32BE(serial, 0);
    yield chunk;
  }
}

/** The SHA-256 (hex) of those bytes. */
export function sha256Of(sizeBytes) {
  const hash = createHash('sha256');
  for (const chunk of fileChunks(sizeBytes)) hash.update(chunk);
  return hash.digest('hex');
}
