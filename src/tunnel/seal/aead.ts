/** Noise's AESGCM cipher state: AES-256-GCM under a counter that never repeats and never travels. */
import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** Bytes of a key. */
export const KEY_BYTES = 32;
/** Bytes that authentication adds to a text. */
export const TAG_BYTES = 16;

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const UINT32 = 0x1_0000_0000;
/** 2^64 - 1, the counter that Noise keeps for REKEY. */
const REKEY_NONCE = Buffer.from('00000000ffffffffffffffff', 'hex');
const NO_DATA = Buffer.alloc(0);
const OPTIONS = { authTagLength: TAG_BYTES } as const;

/**
 * A key and its counter (Noise 5.1). A copy of the key is held; it is never given out. It is a key object, which Node does
 * not have to import for every text, and whose memory is overwritten when it is freed.
 */
export class CipherState {
  #key: KeyObject;
  /** Four zero bytes, then the counter, big-endian (Noise 12.4). */
  readonly #nonce = Buffer.alloc(NONCE_BYTES);
  #counter = 0;

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  /** Texts encrypted or decrypted so far. */
  get counter(): number {
    return this.#counter;
  }

  /** Writes ciphertext and tag to `out` at `offset`; `out` must have the room. */
  encryptInto(out: Buffer, offset: number, text: Uint8Array, additional: Uint8Array): void {
    const cipher = createCipheriv(ALGORITHM, this.#key, this.#nextNonce(), OPTIONS);
    cipher.setAAD(additional);
    // GCM is a stream cipher: final() adds nothing.
    if (text.length > 0) out.set(cipher.update(text), offset);
    cipher.final();
    out.set(cipher.getAuthTag(), offset + text.length);
  }

  /** Decrypts ciphertext followed by its tag; undefined when it does not verify. */
  decrypt(sealed: Buffer, additional: Uint8Array): Buffer | undefined {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) return undefined;
    const decipher = createDecipheriv(ALGORITHM, this.#key, this.#nextNonce(), OPTIONS);
    decipher.setAAD(additional);
    decipher.setAuthTag(sealed.subarray(end));
    const text = end === 0 ? NO_DATA : decipher.update(sealed.subarray(0, end));
    try {
      decipher.final(); // OpenSSL compares the tags in constant time
    } catch {
      return undefined; // the only thing that final() throws for
    }
    return text;
  }

  /** Noise 4.2 REKEY: the next key is a function of this one, which is forgotten. The counter goes on. */
  rekey(): void {
    const cipher = createCipheriv(ALGORITHM, this.#key, REKEY_NONCE, OPTIONS);
    const next = cipher.update(Buffer.alloc(KEY_BYTES));
    cipher.final();
    this.#key = createSecretKey(next);
    next.fill(0);
  }

  #nextNonce(): Buffer {
    const counter = this.#counter;
    // 2^53 texts of 32 KiB are out of reach for any machine; the check keeps the promise all the same.
    if (!Number.isSafeInteger(counter)) throw new RangeError('the counter of a sealed stream is used up');
    this.#counter = counter + 1;
    this.#nonce.writeUInt32BE(Math.floor(counter / UINT32), 4);
    this.#nonce.writeUInt32BE(counter % UINT32, 8);
    return this.#nonce;
  }
}
