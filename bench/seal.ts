// What sealing costs one core: records and whole streams in memory, handshakes, ciphers to choose from. CPU time is
// counted, not the clock, and the best of several rounds, so that a busy machine matters little.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { CipherGCMTypes } from 'node:crypto';
import { cpus } from 'node:os';
import { CipherState } from '../src/tunnel/seal/aead.ts';
import { ProviderHandshake, VisitorHandshake } from '../src/tunnel/seal/handshake.ts';
import { RecordReader, RecordWriter } from '../src/tunnel/seal/records.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 7);
const BYTES = 64 * 1024 * 1024;
const MB = 1e6;

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Bytes, or whatever `work` counts, a second of CPU time; the best round. */
function best(work: () => number): number {
  let rate = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = cpuSeconds();
    const done = work();
    rate = Math.max(rate, done / (cpuSeconds() - startedAt));
  }
  return rate;
}

function row(name: string, ...numbers: string[]): void {
  process.stdout.write(`${name.padEnd(44)}${numbers.map((text) => text.padStart(16)).join('')}\n`);
}

const rate = (bytes: number): string => `${Math.round(bytes / MB)} MB/s`;

function cipherRow(algorithm: string, keyBytes: number, size: number): void {
  const [key, nonce, header, text] = [
    randomBytes(keyBytes),
    Buffer.alloc(12),
    Buffer.alloc(3),
    Buffer.alloc(size),
  ];
  const options = { authTagLength: 16 };
  const name = algorithm as CipherGCMTypes; // ChaCha20-Poly1305 has the same calls
  const count = Math.min(20_000, Math.floor(BYTES / 2 / size));
  let sealed = text;
  let tag = Buffer.alloc(16);
  const encrypt = best(() => {
    for (let index = 0; index < count; index++) {
      nonce.writeUInt32BE(index, 8);
      const cipher = createCipheriv(name, key, nonce, options);
      cipher.setAAD(header);
      sealed = cipher.update(text);
      cipher.final();
      tag = cipher.getAuthTag();
    }
    return count * size;
  });
  const decrypt = best(() => {
    for (let index = 0; index < count; index++) {
      const decipher = createDecipheriv(name, key, nonce, options);
      decipher.setAAD(header);
      decipher.setAuthTag(tag);
      decipher.update(sealed);
      decipher.final();
    }
    return count * size;
  });
  row(`${algorithm}, ${size / 1024} KiB records`, rate(encrypt), rate(decrypt));
}

function recordRow(chunkBytes: number): void {
  const chunk = randomBytes(chunkBytes);
  const count = Math.max(1, Math.floor(Math.min(BYTES, chunkBytes * 50_000) / chunkBytes));
  const key = Buffer.alloc(32, 1);
  let wire: Buffer[] = [];
  const seal = best(() => {
    const writer = new RecordWriter(new CipherState(key));
    wire = Array.from({ length: count }, () => writer.data(chunk));
    return count * chunkBytes;
  });
  const open = best(() => {
    const reader = new RecordReader(new CipherState(key));
    let bytes = 0;
    for (const piece of wire) {
      reader.push(piece);
      for (let record = reader.next(); record !== undefined; record = reader.next())
        bytes += record.text.length;
    }
    return bytes;
  });
  row(`records, written in chunks of ${chunkBytes} bytes`, rate(seal), rate(open));
}

row('', 'seal', 'open');
for (const size of [1024, 16 * 1024, 32 * 1024, 64 * 1024]) {
  cipherRow('aes-128-gcm', 16, size);
  cipherRow('aes-256-gcm', 32, size);
  cipherRow('chacha20-poly1305', 32, size);
}
for (const bytes of [100, 1024, 16 * 1024, 64 * 1024, 256 * 1024]) recordRow(bytes);

const PARAMETERS = { service: 'web.default', psk: Buffer.alloc(32, 1), port: 80 };
const handshakes = best(() => {
  for (let count = 0; count < 200; count++) {
    const visitor = new VisitorHandshake(PARAMETERS);
    visitor.finish(new ProviderHandshake(PARAMETERS).answer(visitor.opening()).answer);
  }
  return 200;
});
row('handshakes, both ends on one core', `${Math.round(handshakes)} /s`);
process.stdout.write(`\nNode ${process.version}, ${cpus()[0]?.model.trim() ?? 'unknown processor'}\n`);
