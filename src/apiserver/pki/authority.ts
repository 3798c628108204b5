/** The certificates of one API server: made on first start, kept in <data-dir>/pki, replaced before they expire. */
import { createPrivateKey } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { certificateNames, isFresh, parseCertificate, readKeyPair, writeKeyPair } from './key-pair.ts';
import type { KeyPair } from './key-pair.ts';

const DAY_MS = 24 * 60 * 60_000;
const AUTHORITY_LIFETIME_MS = 3650 * DAY_MS;
/** Serving and client certificates. */
export const LEAF_LIFETIME_MS = 365 * DAY_MS;

/** What the certificates are made with. */
export interface PkiDeps {
  clock: Clock;
  log: Logger;
}

/** Loads or makes the authority that signs this node's certificates. */
export async function ensureAuthority(dir: string, node: string, deps: PkiDeps): Promise<KeyPair> {
  const path = join(dir, 'ca');
  const now = deps.clock.wallNow();
  const known = await readKeyPair(path);
  const certificate = known === undefined ? undefined : parseCertificate(known.certificate);
  if (
    known !== undefined &&
    certificate !== undefined &&
    isFresh(certificate, now) &&
    isOwnKey(certificate, known.key)
  ) {
    return known;
  }
  const { createAuthority } = await import('./certificates.ts');
  const made = await createAuthority(
    { commonName: `edge-ca ${node}`.slice(0, 64) },
    now,
    AUTHORITY_LIFETIME_MS,
  );
  await writeKeyPair(path, made);
  deps.log.info(known === undefined ? 'authority made' : 'authority replaced', { file: `${path}.crt` });
  return made;
}

function isOwnKey(certificate: X509Certificate, key: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** Loads or makes the serving certificate; it is replaced when it expires soon or `names` are not in it. */
export async function ensureServing(
  dir: string,
  authority: KeyPair,
  names: readonly string[],
  deps: PkiDeps,
): Promise<KeyPair> {
  const path = join(dir, 'serving');
  const now = deps.clock.wallNow();
  const known = await readKeyPair(path);
  const certificate = known === undefined ? undefined : parseCertificate(known.certificate);
  if (known !== undefined && certificate !== undefined && isOwnKey(certificate, known.key)) {
    const has = new Set(certificateNames(certificate).map(normalName));
    const isComplete = names.every((name) => has.has(normalName(name)));
    if (isComplete && isFresh(certificate, now) && isSignedBy(certificate, authority)) return known;
  }
  const { issue } = await import('./certificates.ts');
  const subject = { commonName: 'edge-apiserver' };
  const made = await issue(authority, { subject, usage: 'server', names, now, lifetimeMs: LEAF_LIFETIME_MS });
  await writeKeyPair(path, made);
  deps.log.info(known === undefined ? 'serving certificate made' : 'serving certificate replaced', {
    names: names.join(','),
  });
  return made;
}

/** Whether the authority's key signed a certificate. */
export function isSignedBy(certificate: X509Certificate, authority: KeyPair): boolean {
  const issuer = parseCertificate(authority.certificate);
  return issuer !== undefined && certificate.verify(issuer.publicKey);
}

/** One spelling for an address, however it was written: certificates show IPv6 in full. */
function normalName(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]`).hostname : name.toLowerCase();
}

const WILDCARDS = new Set(['0.0.0.0', '::']);

/** Names and addresses under which clients may reach a server that listens on `hosts`. */
export function servingNames(hosts: readonly string[], node: string, hostname: string): string[] {
  const names = new Set(['localhost', '127.0.0.1', '::1', hostname.toLowerCase(), node.toLowerCase()]);
  for (const host of hosts) {
    if (!WILDCARDS.has(host)) names.add(host.toLowerCase());
    else {
      for (const address of Object.values(networkInterfaces()).flat()) {
        // link-local addresses need a zone and never match a certificate
        if (address !== undefined && !address.internal && !address.address.startsWith('fe80:'))
          names.add(address.address);
      }
    }
  }
  return [...names].filter((name) => name !== '' && (isIP(name) !== 0 || isDnsName(name)));
}

function isDnsName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$/u.test(name);
}
