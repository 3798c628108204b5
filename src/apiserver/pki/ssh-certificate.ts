/**
 * OpenSSH user certificates (OpenSSH PROTOCOL.certkeys): what is signed, the signature with an Ed25519 key, and the way
 * back. Pure; the signer and the nonce come from the caller.
 *
 *     string  TYPE-cert-v01@openssh.com      uint64  valid after      (seconds since 1970)
 *     string  nonce                          uint64  valid before
 *     …       the key's own fields           string  critical options
 *     uint64  serial                         string  extensions
 *     uint32  1 for users                    string  reserved, empty
 *     string  key id, for logs               string  the authority's public key
 *     string  principals, a list of strings  string  signature of all before
 */
import { skipKeyFields } from './ssh-public-key.ts';
import type { SshPublicKey } from './ssh-public-key.ts';
import { SshFormatError, SshReader, sshString, uint32, uint64 } from './ssh-wire.ts';

/** What a certificate says. */
export interface UserCertificate {
  key: SshPublicKey;
  serial: bigint;
  /** What sshd writes into its log. */
  keyId: string;
  /** The accounts it is good for. */
  principals: readonly string[];
  validAfter: Date;
  validBefore: Date;
  /** Restrictions that every server must know, by name: `force-command`, `source-address`. */
  criticalOptions: Readonly<Record<string, string>>;
  /** What is allowed, by name: `permit-pty` and the like. */
  extensions: readonly string[];
}

/** Signs with the authority's Ed25519 key. */
export interface SshSigner {
  /** The 32 bytes of the public key. */
  publicKey: Buffer;
  /** The 64 bytes of a signature. */
  sign: (data: Buffer) => Buffer;
}

/** Chosen by PROTOCOL.certkeys. */
const USER_CERTIFICATE = 1;
const NONCE_BYTES = 32;
const ED25519 = 'ssh-ed25519';
const SUFFIX = '-cert-v01@openssh.com';

/** The type of a certificate for a key of `keyType`. */
export function certificateType(keyType: string): string {
  return `${keyType.replace(/@openssh\.com$/u, '')}${SUFFIX}`;
}

/** The blob of an authority's public key. */
export function authorityBlob(publicKey: Buffer): Buffer {
  return Buffer.concat([sshString(ED25519), sshString(publicKey)]);
}

/** Makes a certificate; answers its blob. `nonce` is 32 random bytes. */
export function encodeCertificate(certificate: UserCertificate, signer: SshSigner, nonce: Buffer): Buffer {
  if (nonce.length !== NONCE_BYTES) throw new SshFormatError(`a nonce has ${NONCE_BYTES} bytes`);
  const { key, serial, keyId, principals, validAfter, validBefore, criticalOptions, extensions } =
    certificate;
  // servers refuse options that are not in the order of their names
  const options = Object.entries(criticalOptions).sort(([a], [b]) => (a < b ? -1 : 1));
  const signed = Buffer.concat([
    sshString(certificateType(key.type)),
    sshString(nonce),
    key.fields,
    uint64(serial),
    uint32(USER_CERTIFICATE),
    sshString(keyId),
    sshString(Buffer.concat(principals.map(sshString))),
    uint64(seconds(validAfter)),
    uint64(seconds(validBefore)),
    sshString(
      Buffer.concat(options.flatMap(([name, value]) => [sshString(name), sshString(sshString(value))])),
    ),
    sshString(Buffer.concat([...extensions].sort().flatMap((name) => [sshString(name), sshString('')]))),
    sshString(''),
    sshString(authorityBlob(signer.publicKey)),
  ]);
  const signature = Buffer.concat([sshString(ED25519), sshString(signer.sign(signed))]);
  return Buffer.concat([signed, sshString(signature)]);
}

/** A certificate as it was read, with what proves it. */
export interface ReadCertificate extends UserCertificate {
  /** The authority's public key, 32 bytes. */
  authority: Buffer;
  signed: Buffer;
  signature: Buffer;
}

/** Reads the blob of a user certificate; throws SshFormatError. The signature is for the caller to check. */
export function decodeCertificate(blob: Buffer): ReadCertificate {
  const reader = new SshReader(blob);
  const type = reader.text();
  if (!type.endsWith(SUFFIX)) throw new SshFormatError(`${type} is no certificate`);
  const bare = type.slice(0, -SUFFIX.length);
  const keyType = bare.startsWith('sk-') ? `${bare}@openssh.com` : bare;
  reader.string(); // the nonce
  const start = reader.offset;
  skipKeyFields(keyType, reader);
  const fields = blob.subarray(start, reader.offset);
  const serial = reader.uint64();
  if (reader.uint32() !== USER_CERTIFICATE) throw new SshFormatError('it is not for users');
  const keyId = reader.text();
  const principals = readList(reader.string(), (list) => list.text());
  const validAfter = date(reader.uint64());
  const validBefore = date(reader.uint64());
  const options = readList(reader.string(), (list) => {
    const name = list.text();
    const value = new SshReader(list.string());
    const text = value.text();
    value.end();
    return [name, text] as const;
  });
  const extensions = readList(reader.string(), (list) => {
    const name = list.text();
    list.string();
    return name;
  });
  reader.string(); // reserved
  const authority = readEd25519(reader.string());
  const signed = blob.subarray(0, reader.offset);
  const signature = readEd25519(reader.string());
  reader.end();
  return {
    key: { type: keyType, fields },
    serial,
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions: Object.fromEntries(options),
    extensions,
    authority,
    signed,
    signature,
  };
}

function readList<T>(bytes: Buffer, read: (reader: SshReader) => T): T[] {
  const reader = new SshReader(bytes);
  const found: T[] = [];
  while (!reader.isAtEnd) found.push(read(reader));
  return found;
}

/** What follows the type in a key's or a signature's blob. */
function readEd25519(bytes: Buffer): Buffer {
  const reader = new SshReader(bytes);
  if (reader.text() !== ED25519) throw new SshFormatError('the authority has no Ed25519 key');
  const value = reader.string();
  reader.end();
  return value;
}

function seconds(time: Date): bigint {
  return BigInt(Math.floor(time.getTime() / 1000));
}

/** Dates end in the year 275760; "for ever" is later than that. */
function date(value: bigint): Date {
  return new Date(Number(value > 8_640_000_000_000n ? 8_640_000_000_000n : value) * 1000);
}
