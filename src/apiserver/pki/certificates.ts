/** Makes certificates (X.509, ECDSA P-256). Loaded only when one is needed: the library costs more than the rest of a start. */
import 'reflect-metadata'; // the library needs it in place first
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Extension, JsonGeneralName } from '@peculiar/x509';
import type { KeyPair } from './key-pair.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** Certificates start a little in the past, for clients whose clocks are behind. */
const BACKDATE_MS = 5 * 60_000;

type CryptoKeyPair = webcrypto.CryptoKeyPair;

function generateKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

/** 128 random bits, positive and without leading zeros (RFC 5280 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

async function keyPem(keys: CryptoKeyPair): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
}

function pair(certificate: X509Certificate, key: string): KeyPair {
  return { certificate: `${certificate.toString('pem')}\n`, key: `${key}\n` };
}

/** What to put into a certificate. */
export interface Subject {
  commonName: string;
  organizations?: readonly string[];
}

function distinguishedName({ commonName, organizations = [] }: Subject): Record<string, string[]>[] {
  return [...organizations.map((name) => ({ O: [name] })), { CN: [commonName] }];
}

/** Makes a self-signed authority. */
export async function createAuthority(subject: Subject, now: Date, lifetimeMs: number): Promise<KeyPair> {
  cryptoProvider.set(webcrypto);
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: distinguishedName(subject),
    notBefore: new Date(now.getTime() - BACKDATE_MS),
    notAfter: new Date(now.getTime() + lifetimeMs),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(
        KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature,
        true,
      ),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pair(certificate, await keyPem(keys));
}

/** What an authority signs. `names` are DNS names and IP addresses; a server certificate has some, a client's none. */
export interface LeafRequest {
  subject: Subject;
  usage: 'server' | 'client';
  names: readonly string[];
  now: Date;
  lifetimeMs: number;
}

/** Makes a key and has the authority sign its certificate. */
export async function issue(authority: KeyPair, request: LeafRequest): Promise<KeyPair> {
  cryptoProvider.set(webcrypto);
  const keys = await generateKeys();
  return pair(await sign(authority, keys.publicKey, request), await keyPem(keys));
}

/** Has the authority sign a certificate for somebody's public key (PEM); throws when it is no P-256 key. */
export async function issueFor(
  authority: KeyPair,
  publicKeyPem: string,
  request: LeafRequest,
): Promise<string> {
  cryptoProvider.set(webcrypto);
  const [der] = PemConverter.decode(publicKeyPem);
  if (der === undefined) throw new Error('no PEM');
  const publicKey = await webcrypto.subtle.importKey('spki', der, ALGORITHM, true, ['verify']);
  return `${(await sign(authority, publicKey, request)).toString('pem')}\n`;
}

async function sign(
  authority: KeyPair,
  publicKey: webcrypto.CryptoKey,
  request: LeafRequest,
): Promise<X509Certificate> {
  const issuer = new X509Certificate(authority.certificate);
  const [der] = PemConverter.decode(authority.key);
  if (der === undefined) throw new Error('the key of the authority is empty');
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
  const usage = request.usage === 'server' ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth;
  const names = request.names.map((name): JsonGeneralName => ({
    type: isIP(name) === 0 ? 'dns' : 'ip',
    value: name,
  }));
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([usage]),
    await SubjectKeyIdentifierExtension.create(publicKey),
    await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
  ];
  const notAfter = Math.min(request.now.getTime() + request.lifetimeMs, issuer.notAfter.getTime());
  return X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: distinguishedName(request.subject),
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(request.now.getTime() - BACKDATE_MS),
    notAfter: new Date(notAfter),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey,
    extensions,
  });
}
