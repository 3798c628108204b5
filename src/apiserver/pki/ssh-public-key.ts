/** Public keys as OpenSSH writes them, `TYPE BASE64 COMMENT`: of the types that a certificate can be made for. Pure. */
import { SshFormatError, SshReader } from './ssh-wire.ts';

/** A public key. */
export interface SshPublicKey {
  type: string;
  /** What follows the type in the blob: the fields of the key alone. */
  fields: Buffer;
}

/** Shorter moduli can be factored, bits; the same limit as sshd's. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 16_384;
/** Bytes of an uncompressed point (RFC 5656 3.1). */
const POINT_BYTES: Readonly<Record<string, number>> = { nistp256: 65, nistp384: 97, nistp521: 133 };

/** Throws unless the fields are those of a key of this type, and nothing else. */
const CHECKS: Readonly<Record<string, (reader: SshReader) => void>> = {
  'ssh-ed25519': ed25519,
  'ecdsa-sha2-nistp256': (reader) => ecdsa(reader, 'nistp256'),
  'ecdsa-sha2-nistp384': (reader) => ecdsa(reader, 'nistp384'),
  'ecdsa-sha2-nistp521': (reader) => ecdsa(reader, 'nistp521'),
  'ssh-rsa': rsa,
  'sk-ssh-ed25519@openssh.com': (reader) => {
    ed25519(reader);
    application(reader);
  },
  'sk-ecdsa-sha2-nistp256@openssh.com': (reader) => {
    ecdsa(reader, 'nistp256');
    application(reader);
  },
};

/** Reads a line of a `.pub` file; throws SshFormatError. Options as in authorized_keys are not taken. */
export function parsePublicKey(line: string): SshPublicKey {
  const [type = '', base64 = ''] = line.trim().split(/\s+/u);
  const check = Object.hasOwn(CHECKS, type) ? CHECKS[type] : undefined;
  if (check === undefined)
    throw new SshFormatError(`the type is not one of ${Object.keys(CHECKS).join(', ')}`);
  if (!/^[A-Za-z0-9+/]+={0,2}$/u.test(base64)) throw new SshFormatError('the key is not base64');
  const blob = Buffer.from(base64, 'base64');
  const reader = new SshReader(blob);
  if (reader.text() !== type) throw new SshFormatError('the key is of another type than the line says');
  const start = reader.offset;
  check(reader);
  reader.end();
  return { type, fields: blob.subarray(start) };
}

/** Passes over the fields of a key of this type. */
export function skipKeyFields(type: string, reader: SshReader): void {
  const check = Object.hasOwn(CHECKS, type) ? CHECKS[type] : undefined;
  if (check === undefined) throw new SshFormatError(`keys of the type ${type} are not known`);
  check(reader);
}

function ed25519(reader: SshReader): void {
  if (reader.string().length !== 32) throw new SshFormatError('an Ed25519 key has 32 bytes');
}

function ecdsa(reader: SshReader, curve: string): void {
  if (reader.text() !== curve) throw new SshFormatError(`the curve is not ${curve}`);
  const point = reader.string();
  if (point.length !== POINT_BYTES[curve] || point[0] !== 4)
    throw new SshFormatError(`the point is not an uncompressed one of ${curve}`);
}

function rsa(reader: SshReader): void {
  reader.string(); // the exponent
  const modulus = reader.string();
  const bits = modulus.length === 0 ? 0 : (modulus.length - (modulus[0] === 0 ? 1 : 0)) * 8;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
    throw new SshFormatError(`an RSA key needs ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits`);
}

function application(reader: SshReader): void {
  if (reader.string().length === 0) throw new SshFormatError('the security key names no application');
}
