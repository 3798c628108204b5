/** Private keys and the OpenSSH certificates that belong to them, read from their texts. */
import { utils } from 'ssh2';
import type { ParsedKey } from 'ssh2';
import { SshError } from './errors.ts';

/** A key that can sign. */
export interface PrivateKey {
  /** Its algorithm, as `ssh-ed25519`. */
  readonly type: string;
  readonly parsed: ParsedKey;
  /** Shown in its place; undefined for a plain key. */
  readonly certificate: Certificate | undefined;
}

/** An OpenSSH certificate (PROTOCOL.certkeys), as it stands in a `-cert.pub` file. */
export interface Certificate {
  /** As `ssh-ed25519-cert-v01@openssh.com`. */
  type: string;
  blob: Buffer;
}

/**
 * Reads a private key (OpenSSH, PEM of OpenSSL or PuTTY). Throws EDGE_ERR_SSH_KEY that names `source`; undefined when
 * the key is encrypted and there is no passphrase, or not the right one.
 */
export function readPrivateKey(text: string, source: string, passphrase?: string): PrivateKey | undefined {
  if (isTokenKey(text))
    throw new SshError('key', `${source}: the key of a hardware token signs through an ssh-agent only`, {
      hint: 'give it to one with ssh-add, or use ssh -o ProxyCommand="edge ctl ssh-proxy %h"',
    });
  const result = utils.parseKey(text, passphrase) as ParsedKey | ParsedKey[] | Error;
  if (result instanceof Error) {
    const isLocked =
      /no passphrase given/u.test(result.message) || (passphrase !== undefined && isEncrypted(text));
    if (isLocked) return undefined;
    throw new SshError('key', `${source}: not a private key that can be used: ${result.message}`);
  }
  const parsed = Array.isArray(result) ? result[0] : result;
  if (parsed === undefined || !parsed.isPrivateKey())
    throw new SshError('key', `${source}: this is a public key, wanted the private one`);
  return { type: parsed.type, parsed, certificate: undefined };
}

/** OpenSSH's own format says so inside: the name of the cipher comes after 15 bytes of magic and a length. */
function isEncrypted(text: string): boolean {
  if (/ENCRYPTED|^Encryption: (?!none)/mu.test(text)) return true;
  const cipher = openSshContent(text).subarray(19);
  return cipher.length > 0 && !cipher.toString('latin1').startsWith('none');
}

/** Whether the secret of a key is in a token: the public half says so, which is never encrypted. */
function isTokenKey(text: string): boolean {
  return /sk-[-a-z0-9]+@openssh\.com/u.test(openSshContent(text).subarray(0, 512).toString('latin1'));
}

/** What stands between the lines of OpenSSH's own format. */
function openSshContent(text: string): Buffer {
  const [, base64 = ''] = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]+)/u.exec(text) ?? [];
  return Buffer.from(base64, 'base64');
}

const CERTIFICATE_LINE = /^(\S+-cert-v01@openssh\.com) ([A-Za-z0-9+/]+={0,2})(?:\s|$)/u;

/** A key that shows a certificate instead of itself. Throws EDGE_ERR_SSH_KEY when the certificate is another key's. */
export function withCertificate(key: PrivateKey, text: string, source: string): PrivateKey {
  const [, type = '', base64 = ''] = CERTIFICATE_LINE.exec(text.trim()) ?? [];
  if (type === '')
    throw new SshError('key', `${source}: not an OpenSSH certificate (TYPE-cert-v01@openssh.com BASE64)`);
  const blob = Buffer.from(base64, 'base64');
  // after the type and a nonce come the fields of the public key, as they stand in the key's own blob after its type
  const fields = skipStrings(key.parsed.getPublicSSH(), 1);
  if (
    type !== `${key.type}-cert-v01@openssh.com` ||
    fields.length === 0 ||
    !skipStrings(blob, 2).subarray(0, fields.length).equals(fields)
  )
    throw new SshError('key', `${source}: this certificate is for another key`);
  return { ...key, certificate: { type, blob } };
}

/** What follows the first `count` strings of SSH's wire form (RFC 4251 section 5); empty when it is cut short. */
function skipStrings(bytes: Buffer, count: number): Buffer {
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + 4 > bytes.length) return Buffer.alloc(0);
    at += 4 + bytes.readUInt32BE(at);
  }
  return bytes.subarray(at);
}

/** The library's generator makes one Ed25519 key in two hundred whose own reader refuses it (ssh2 1.17). */
const MAX_TRIES = 20;
const PROBE = Buffer.from('probe');

/** Makes an Ed25519 key for one use; `publicKey` is the line of a `.pub` file. Throws EDGE_ERR_SSH_KEY. */
export function makePrivateKey(): { key: PrivateKey; publicKey: string } {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const pair = utils.generateKeyPairSync('ed25519');
    const own = utils.parseKey(pair.private);
    const shown = utils.parseKey(pair.public);
    if (own instanceof Error || shown instanceof Error) continue;
    if (!shown.verify(PROBE, own.sign(PROBE))) continue;
    return { key: { type: own.type, parsed: own, certificate: undefined }, publicKey: pair.public };
  }
  throw new SshError('key', `no key that can be used came of ${MAX_TRIES} that were made`);
}
