/** The certificate of a tunnel server that was given none: self-signed, made at the first need. */
import { webcrypto } from 'node:crypto';

/** PEM of a certificate and its key. */
export interface KeyPair {
  cert: string;
  key: string;
}

const DAY_MS = 86_400_000;

/** Makes a self-signed ECDSA P-256 certificate, valid for ten years from an hour ago, as frp's own are. */
export async function makeSelfSigned(now: Date): Promise<KeyPair> {
  // Loaded only here: most Routers never need it before the first TLS client comes.
  await import('reflect-metadata'); // the library needs it in place first
  const { PemConverter, X509CertificateGenerator } = await import('@peculiar/x509');
  const crypto = webcrypto as unknown as NonNullable<
    Parameters<typeof X509CertificateGenerator.createSelfSigned>[1]
  >;
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=edge router',
      notBefore: new Date(now.getTime() - 3_600_000),
      notAfter: new Date(now.getTime() + 3650 * DAY_MS),
      keys,
      signingAlgorithm: algorithm,
    },
    crypto,
  );
  const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { cert: certificate.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') };
}
