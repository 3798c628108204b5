/**
 * Records of a sealed stream: cuts a stream of bytes into authenticated pieces and puts it together again, or says that
 * it is not the stream that was sent. Pure.
 *
 *     0        1                 3
 *     +--------+--------+--------+----------------------+------------------+
 *     | kind   | length of text  | ciphertext of text   | tag (16 bytes)   |
 *     +--------+--------+--------+----------------------+------------------+
 */
import { TAG_BYTES } from './aead.ts';
import type { CipherState } from './aead.ts';
import { SealError } from './errors.ts';

/** Kinds of records. */
export const RECORD_KIND = {
  /** Payload; an empty one only proves the key. */
  data: 0,
  /** The sender will send no more; without text. */
  end: 1,
} as const;

/** Bytes in front of the ciphertext; they are authenticated with it. */
export const HEADER_BYTES = 3;
/** Bytes a record has beyond its text. */
export const RECORD_OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES;
/**
 * The most text in a record. One cipher object a record costs about 4 µs, whatever its size: 32 KiB is where that stops
 * to matter, and a reader never holds more than this unverified.
 */
export const MAX_TEXT_BYTES = 32 * 1024;
/**
 * Each direction replaces its key after this many records, 2 GiB at most: far below what AES-GCM allows under one key
 * (2^24.5 full records, RFC 8446 5.5), and a key that leaks opens no earlier traffic.
 */
export const REKEY_RECORDS = 65_536;

/** Bytes of the records of a chunk. */
export function sealedBytes(chunkBytes: number): number {
  return chunkBytes + Math.max(1, Math.ceil(chunkBytes / MAX_TEXT_BYTES)) * RECORD_OVERHEAD_BYTES;
}

/** Memory for records that span chunks, used again: all streams of a process share a few, 0.5 MiB. */
const MAX_SPARES = 16;
/** Smaller records get memory of their own: most are alone on their stream. */
const SPARE_FROM_BYTES = 4096;
const spares: Buffer[] = [];

function spareFor(bytes: number): Buffer {
  if (bytes < SPARE_FROM_BYTES) return Buffer.allocUnsafe(bytes);
  return spares.pop() ?? Buffer.allocUnsafeSlow(MAX_TEXT_BYTES + RECORD_OVERHEAD_BYTES);
}

function giveSpare(spare: Buffer): void {
  const isWhole = spare.length === MAX_TEXT_BYTES + RECORD_OVERHEAD_BYTES;
  if (isWhole && spares.length < MAX_SPARES) spares.push(spare);
}

/** Seals what one side sends. */
export class RecordWriter {
  readonly #cipher: CipherState;

  constructor(cipher: CipherState) {
    this.#cipher = cipher;
  }

  /** The records of a chunk in one buffer. An empty chunk becomes one empty record. */
  data(chunk: Uint8Array): Buffer {
    const out = Buffer.allocUnsafe(sealedBytes(chunk.length));
    this.dataInto(out, chunk);
    return out;
  }

  /** The same into a buffer that has the room, `sealedBytes(chunk.length)`; gives the part that was written. */
  dataInto(out: Buffer, chunk: Uint8Array): Buffer {
    let at = 0;
    let start = 0;
    do {
      at = this.#write(out, at, RECORD_KIND.data, chunk.subarray(start, start + MAX_TEXT_BYTES));
      start += MAX_TEXT_BYTES;
    } while (start < chunk.length);
    return out.subarray(0, at);
  }

  /** The last record. */
  end(): Buffer {
    const out = Buffer.alloc(RECORD_OVERHEAD_BYTES);
    this.#write(out, 0, RECORD_KIND.end, new Uint8Array());
    return out;
  }

  #write(out: Buffer, at: number, kind: number, text: Uint8Array): number {
    out.writeUInt8(kind, at);
    out.writeUInt16BE(text.length, at + 1);
    const start = at + HEADER_BYTES;
    this.#cipher.encryptInto(out, start, text, out.subarray(at, start));
    rekeyWhenDue(this.#cipher);
    return start + text.length + TAG_BYTES;
  }
}

/** A record that verified. */
export interface OpenedRecord {
  isEnd: boolean;
  text: Buffer;
}

/** Opens what the other side sealed; holds one incomplete record at most beside the chunk that was pushed last. */
export class RecordReader {
  readonly #cipher: CipherState;
  /** What is not read yet; begins with a record. */
  #rest: Buffer;
  /** A record that spans chunks, and how much of it is there. */
  #partial: Buffer | undefined;
  #partialBytes = 0;
  #filled = 0;
  #hasEnded = false;
  #failure: SealError | undefined;

  constructor(cipher: CipherState) {
    this.#cipher = cipher;
    this.#rest = Buffer.alloc(0);
  }

  /** Whether the last record was read. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Bytes of what was pushed last that are still needed, where they lie. */
  get restBytes(): number {
    return this.#rest.length;
  }

  /** Takes what arrived; call next() until it says undefined before the next push. */
  push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
  }

  /**
   * The next record, or undefined until there is one. Throws SealError (tampered) when something does not verify,
   * then and ever after.
   */
  next(): OpenedRecord | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const record = this.#take();
    if (record === undefined) return undefined;
    if (this.#hasEnded) throw this.#fail('a record follows the last one');
    const header = record.subarray(0, HEADER_BYTES);
    const text = this.#cipher.decrypt(record.subarray(HEADER_BYTES), header);
    const at = this.#cipher.counter - 1;
    if (text === undefined) throw this.#fail(`record ${at} does not verify`);
    rekeyWhenDue(this.#cipher);
    const isEnd = record[0] === RECORD_KIND.end;
    this.#hasEnded = isEnd;
    return { isEnd, text };
  }

  /** One whole record, where it lies in the chunk when it lies in one chunk. */
  #take(): Buffer | undefined {
    if (this.#partial === undefined) {
      if (this.#rest.length < HEADER_BYTES) return undefined;
      const bytes = this.#recordBytes(this.#rest);
      if (this.#rest.length >= bytes) {
        const record = this.#rest.subarray(0, bytes);
        this.#rest = this.#rest.subarray(bytes);
        return record;
      }
      this.#partial = spareFor(bytes);
      this.#partialBytes = bytes;
      this.#filled = 0;
    }
    const missing = this.#partialBytes - this.#filled;
    const copied = this.#rest.copy(this.#partial, this.#filled, 0, missing);
    this.#filled += copied;
    this.#rest = this.#rest.subarray(copied);
    if (copied < missing) return undefined;
    const record = this.#partial.subarray(0, this.#partialBytes);
    giveSpare(this.#partial); // nothing else is read before it is decrypted
    this.#partial = undefined;
    return record;
  }

  /** Bytes of the record whose header begins here; a header that no honest peer sends is refused before it is waited for. */
  #recordBytes(header: Buffer): number {
    const kind = header.readUInt8(0);
    const length = header.readUInt16BE(1);
    const isSane =
      kind === RECORD_KIND.data ? length <= MAX_TEXT_BYTES : kind === RECORD_KIND.end && length === 0;
    if (!isSane) throw this.#fail(`record ${this.#cipher.counter} has no valid header`);
    return RECORD_OVERHEAD_BYTES + length;
  }

  #fail(message: string): SealError {
    this.#failure = new SealError('tampered', `sealed stream: ${message}: it was changed on its way`);
    this.#rest = Buffer.alloc(0);
    this.#partial = undefined;
    return this.#failure;
  }
}

function rekeyWhenDue(cipher: CipherState): void {
  if (cipher.counter % REKEY_RECORDS === 0) cipher.rekey();
}
