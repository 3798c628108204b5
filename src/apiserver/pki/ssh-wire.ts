/** Bytes as SSH lays them out (RFC 4251 5): strings with a length in front, unsigned numbers; big-endian. Pure. */

/** Why bytes are not what they should be. */
export class SshFormatError extends Error {
  override readonly name = 'SshFormatError';
}

/** A string: four bytes of length, then the bytes themselves. */
export function sshString(value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

/** An unsigned number of 32 bits. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** An unsigned number of 64 bits. */
export function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** Reads a blob from its beginning; every read throws SshFormatError where the bytes end too early. */
export class SshReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Whether everything was read. */
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** How many bytes were read. */
  get offset(): number {
    return this.#at;
  }

  string(): Buffer {
    return this.#take(this.uint32());
  }

  text(): string {
    return this.string().toString('utf8');
  }

  uint32(): number {
    return this.#take(4).readUInt32BE();
  }

  uint64(): bigint {
    return this.#take(8).readBigUInt64BE();
  }

  /** Throws when something is left. */
  end(): void {
    if (!this.isAtEnd) throw new SshFormatError('bytes are left over');
  }

  #take(length: number): Buffer {
    if (this.#bytes.length - this.#at < length) throw new SshFormatError('it ends too early');
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
}
