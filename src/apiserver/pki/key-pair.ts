/** A certificate with its private key on the disk, and what can be told from it without any library. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { EdgeError, errorCode, errorMessage } from '../../lib/errors.ts';

/** A certificate and its key, PEM. */
export interface KeyPair {
  certificate: string;
  key: string;
}

/** Reads `path.crt` and `path.key`; undefined when either is missing. */
export async function readKeyPair(path: string): Promise<KeyPair | undefined> {
  try {
    const [certificate, key] = await Promise.all([
      readFile(`${path}.crt`, 'utf8'),
      readFile(`${path}.key`, 'utf8'),
    ]);
    return { certificate, key };
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return undefined;
    throw new EdgeError('EDGE_ERR_PKI_READ', `read certificate: ${errorMessage(err)}`, { cause: err });
  }
}

/** Writes `path.key`, then `path.crt`: a crash between the two leaves a pair that matches() refuses. */
export async function writeKeyPair(path: string, pair: KeyPair): Promise<void> {
  await writeFileAtomic(`${path}.key`, pair.key, 0o600);
  await writeFileAtomic(`${path}.crt`, pair.certificate, 0o644);
}

/** Parses a certificate; undefined when it is none. */
export function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** A certificate is replaced when less than this share of its life is left. */
const RENEW_SHARE = 1 / 3;

/** Whether a certificate is in the first part of its life, so that it need not be replaced. */
export function isFresh(certificate: X509Certificate, now: Date): boolean {
  const start = Date.parse(certificate.validFrom);
  const end = Date.parse(certificate.validTo);
  return now.getTime() >= start && end - now.getTime() > (end - start) * RENEW_SHARE;
}

/** The names and addresses a server certificate is for. */
export function certificateNames(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '')
    .split(', ')
    .filter((entry) => entry !== '')
    .map((entry) => entry.replace(/^(?:DNS|IP Address):/u, ''));
}
