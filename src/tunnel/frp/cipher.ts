/** frp's stream encryption: AES-128-CFB, a random IV in front of each direction, no authentication. */
import { createCipheriv, createDecipheriv, pbkdf2Sync, randomBytes } from 'node:crypto';
import type { Cipher, Decipher } from 'node:crypto';
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { WrappedStream } from '../wrapped-stream.ts';
import { withLoan } from '../read-buffers.ts';

const ALGORITHM = 'aes-128-cfb';
const IV_BYTES = 16;
const KEY_BYTES = 16;
const SALT = 'frp';
const ITERATIONS = 64;

/** The AES key of a secret (PBKDF2-HMAC-SHA1, as frp derives it). */
export function deriveKey(secret: string): Buffer {
  return pbkdf2Sync(secret, SALT, ITERATIONS, KEY_BYTES, 'sha1');
}

/** Wraps a stream so that what is written leaves encrypted and what arrives is decrypted. Owns the inner stream. */
export function cipherStream(
  inner: ByteStream,
  key: Buffer,
  randomIv: () => Buffer = () => randomBytes(IV_BYTES),
): ByteStream {
  return new CipherStream(inner, key, randomIv);
}

class CipherStream extends WrappedStream {
  readonly #key: Buffer;
  readonly #randomIv: () => Buffer;
  #encrypt: Cipher | undefined;
  #decrypt: Decipher | undefined;
  #iv: Buffer = Buffer.alloc(0);

  constructor(inner: ByteStream, key: Buffer, randomIv: () => Buffer) {
    super(inner);
    this.#key = key;
    this.#randomIv = randomIv;
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.inner.setHandler({
      onData: (chunk) => {
        const plain = this.#open(chunk);
        if (plain.length > 0) withLoan(undefined, () => handler.onData(plain));
        return true;
      },
      onEnd: () => handler.onEnd(),
      onDrain: () => handler.onDrain(),
      onClose: (err) => handler.onClose(err),
    });
  }

  override write(chunk: Uint8Array): boolean {
    if (chunk.length === 0) return true;
    if (this.#encrypt === undefined) {
      // The IV leaves with the first payload: a side that never writes never sends one.
      const iv = this.#randomIv();
      this.#encrypt = createCipheriv(ALGORITHM, this.#key, iv);
      this.inner.write(iv);
    }
    const sealed = this.#encrypt.update(chunk);
    withLoan(undefined, () => this.inner.write(sealed));
    return true;
  }

  #open(chunk: Buffer): Buffer {
    if (this.#decrypt !== undefined) return this.#decrypt.update(chunk);
    this.#iv = Buffer.concat([this.#iv, chunk]);
    if (this.#iv.length < IV_BYTES) return Buffer.alloc(0);
    this.#decrypt = createDecipheriv(ALGORITHM, this.#key, this.#iv.subarray(0, IV_BYTES));
    const rest = this.#iv.subarray(IV_BYTES);
    this.#iv = Buffer.alloc(0);
    return this.#decrypt.update(rest);
  }
}
