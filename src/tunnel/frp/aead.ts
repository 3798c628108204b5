/**
 * The encryption of a v2 control connection: keys from the token and both hellos, each direction a nonce and then
 * records that are authenticated one by one. Nothing of a record is delivered before its tag was verified.
 *
 *     +----------------+------------+--------------------+----------+------------+- - -
 *     | stream nonce   | length (4) | ciphertext         | tag (16) | length (4) |
 *     +----------------+------------+--------------------+----------+------------+- - -
 *       once, in clear   of ciphertext and tag; with the stream nonce it is the additional data
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { errorMessage } from '../../lib/errors.ts';
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { WrappedStream } from '../wrapped-stream.ts';
import { TunnelError } from '../errors.ts';
import { ByteQueue } from './byte-queue.ts';

/**
 * The algorithms offered and accepted. Every peer that speaks v2 has this one; its other one, xchacha20-poly1305, would
 * need a package and gain nothing on a connection that carries only control messages.
 */
export const AEAD_ALGORITHMS = ['aes-256-gcm'] as const;
/** One of the algorithms. */
export type AeadAlgorithm = (typeof AEAD_ALGORITHMS)[number];
/** Which way the bytes of a key go. */
export type AeadDirection = 'client-to-server' | 'server-to-client';

/** Largest plaintext of a record, bytes. */
export const MAX_RECORD_BYTES = 65_536;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const LENGTH_BYTES = 4;
const KEY_BYTES = 32;
const GCM_OPTIONS = { authTagLength: TAG_BYTES };
/** GCM with one key: records a direction (NIST SP 800-38D 8.3). */
const MAX_RECORDS = 2 ** 32;

/** SHA-256 over both hellos, which must be the exact bytes that were exchanged. */
export function transcriptHash(clientHello: Buffer, serverHello: Buffer): Buffer {
  const hash = createHash('sha256').update('frp wire v2 crypto transcript');
  for (const [label, payload] of [
    ['client hello', clientHello],
    ['server hello', serverHello],
  ] as const) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(payload.length));
    hash.update(`\0${label}\0`).update(length).update(payload);
  }
  return hash.digest();
}

/** The 32-byte key of one direction (HKDF-SHA-256); `algorithm` is a name as in the hellos. */
export function deriveAeadKey(
  token: string,
  hash: Buffer,
  algorithm: string,
  direction: AeadDirection,
): Buffer {
  const info = `frp wire v2 control aead ${algorithm} ${direction}`;
  return Buffer.from(hkdfSync('sha256', token, hash, info, KEY_BYTES));
}

/** The keys of one end of a connection. */
export interface AeadKeys {
  send: Buffer;
  receive: Buffer;
}

/**
 * Wraps a stream in AES-256-GCM records. Owns the inner stream. A record that was tampered with, or that the end of
 * the stream cuts off, destroys it with TunnelError (protocol); so does a nonce that would be used twice.
 */
export function aeadStream(
  inner: ByteStream,
  keys: AeadKeys,
  randomNonce: () => Buffer = () => randomBytes(NONCE_BYTES),
): ByteStream {
  return new AeadStream(inner, keys, randomNonce);
}

/** The nonces of one direction: the stream nonce, counted up over all its bytes, never past its end. */
class RecordNonces {
  readonly stream: Buffer;
  readonly #next: Buffer;
  #count = 0;
  #hasWrapped = false;

  constructor(stream: Buffer) {
    this.stream = stream;
    this.#next = Buffer.from(stream);
  }

  /** The nonce of the next record. Throws TunnelError (protocol) when there is none left. */
  take(): Buffer {
    if (this.#hasWrapped || this.#count === MAX_RECORDS) {
      throw new TunnelError('protocol', 'record nonces are used up');
    }
    const nonce = Buffer.from(this.#next);
    this.#count += 1;
    let at = NONCE_BYTES - 1;
    while (at >= 0 && this.#next[at] === 0xff) this.#next[at--] = 0;
    if (at < 0) this.#hasWrapped = true;
    else this.#next[at] = (this.#next[at] ?? 0) + 1;
    return nonce;
  }
}

class AeadStream extends WrappedStream {
  readonly #keys: AeadKeys;
  readonly #randomNonce: () => Buffer;
  readonly #received = new ByteQueue();
  #sealing: RecordNonces | undefined;
  #opening: RecordNonces | undefined;
  #isOver = false;

  constructor(inner: ByteStream, keys: AeadKeys, randomNonce: () => Buffer) {
    super(inner);
    this.#keys = keys;
    this.#randomNonce = randomNonce;
  }

  override setHandler(handler: ByteStreamHandler): void {
    this.inner.setHandler({
      onData: (chunk) => this.#onData(chunk, handler),
      onEnd: () => {
        if (this.#isOver) return;
        if (this.#received.length === 0) handler.onEnd();
        else this.#fail(new TunnelError('protocol', 'peer ended the connection inside a record'));
      },
      onDrain: () => handler.onDrain(),
      onClose: (err) => {
        this.#isOver = true;
        handler.onClose(err);
      },
    });
  }

  override write(chunk: Uint8Array): void {
    if (this.#isOver) return;
    try {
      for (let at = 0; at < chunk.length; at += MAX_RECORD_BYTES)
        this.#seal(chunk.subarray(at, at + MAX_RECORD_BYTES));
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
      this.#fail(err);
    }
  }

  #seal(plain: Uint8Array): void {
    if (this.#sealing === undefined) {
      // The nonce leaves with the first record: a side that never writes never sends one.
      this.#sealing = new RecordNonces(this.#randomNonce());
      this.inner.write(Buffer.from(this.#sealing.stream));
    }
    const length = Buffer.allocUnsafe(LENGTH_BYTES);
    length.writeUInt32BE(plain.length + TAG_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#keys.send, this.#sealing.take(), GCM_OPTIONS);
    cipher.setAAD(Buffer.concat([this.#sealing.stream, length]));
    const sealed = cipher.update(plain);
    cipher.final();
    this.inner.write(Buffer.concat([length, sealed, cipher.getAuthTag()]));
  }

  #onData(chunk: Buffer, handler: ByteStreamHandler): void {
    if (this.#isOver) return;
    this.#received.push(chunk);
    const opened: Buffer[] = [];
    try {
      for (let plain = this.#open(); plain !== undefined; plain = this.#open()) {
        if (plain.length > 0) opened.push(plain);
      }
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
      this.#fail(err);
      return; // a chunk with a bad record is dropped whole: the connection is over either way
    }
    const [first] = opened;
    if (first !== undefined) handler.onData(opened.length === 1 ? first : Buffer.concat(opened));
  }

  /** The plaintext of the next whole record, or undefined. */
  #open(): Buffer | undefined {
    if (this.#opening === undefined) {
      if (this.#received.length < NONCE_BYTES) return undefined;
      this.#opening = new RecordNonces(Buffer.from(this.#received.take(NONCE_BYTES)));
    }
    if (this.#received.length < LENGTH_BYTES) return undefined;
    const bodyBytes = this.#received.peek(LENGTH_BYTES).readUInt32BE(0);
    if (bodyBytes < TAG_BYTES || bodyBytes > MAX_RECORD_BYTES + TAG_BYTES) {
      throw new TunnelError('protocol', `peer sent a record of ${bodyBytes} bytes`);
    }
    if (this.#received.length < LENGTH_BYTES + bodyBytes) return undefined;
    const length = this.#received.take(LENGTH_BYTES);
    const body = this.#received.take(bodyBytes);
    const decipher = createDecipheriv('aes-256-gcm', this.#keys.receive, this.#opening.take(), GCM_OPTIONS);
    decipher.setAAD(Buffer.concat([this.#opening.stream, length]));
    decipher.setAuthTag(body.subarray(bodyBytes - TAG_BYTES));
    const plain = decipher.update(body.subarray(0, bodyBytes - TAG_BYTES));
    try {
      decipher.final();
    } catch (err) {
      throw new TunnelError('protocol', `peer sent a record that does not verify: ${errorMessage(err)}`, {
        cause: err,
      });
    }
    return plain;
  }

  #fail(err: TunnelError): void {
    this.#isOver = true;
    this.inner.destroy(err);
  }
}
