/** The keys of a service, derived from its secret: one that seals and one that opens the door at a Router. */
import { hkdfSync, scryptSync } from 'node:crypto';

/** Label of this protocol and its version; part of every derivation and of every handshake. */
export const SEAL_LABEL = 'edge seal 1';

/** What a service's secret turns into. */
export interface ServiceKeys {
  /** The pre-shared key of handshakes; never leaves the process. */
  psk: Buffer;
  /**
   * What a Router may know in place of the secret (frp `secretKey`): whoever holds it may connect, but can neither
   * read nor answer a sealed stream. 64 hexadecimal digits.
   */
  accessKey: string;
}

/** Derives keys and remembers the slow part. */
export interface SealKeys {
  /** Keys of a service (`NAME.NAMESPACE`) whose secret is not empty. Blocks for about 50 ms on a new secret. */
  derive(secret: string, service: string): ServiceKeys;
}

/**
 * Whoever sees one handshake can try secrets against it at home; scrypt makes each try cost 16 MiB and tens of
 * milliseconds. Chosen so that a sidecar's start and a changed secret stay unnoticed.
 */
const SCRYPT = { N: 16_384, r: 8, p: 1 } as const;
/** Secrets remembered; a sidecar has one, or one a service. */
const MAX_SECRETS = 256;

/** Creates a deriver. */
export function createSealKeys(): SealKeys {
  const stretched = new Map<string, Buffer>();
  const stretch = (secret: string): Buffer => {
    const known = stretched.get(secret);
    if (known !== undefined) return known;
    const [oldest] = stretched.keys();
    if (stretched.size >= MAX_SECRETS && oldest !== undefined) stretched.delete(oldest);
    const key = scryptSync(secret, SEAL_LABEL, 32, SCRYPT);
    stretched.set(secret, key);
    return key;
  };
  return {
    derive(secret, service) {
      const key = stretch(secret);
      const expand = (use: string): Buffer =>
        Buffer.from(hkdfSync('sha256', key, SEAL_LABEL, `${use} ${service}`, 32));
      return { psk: expand('psk'), accessKey: expand('access').toString('hex') };
    },
  };
}

/**
 * The prologue of a service's handshakes: what both ends know and a Router cannot change, so that a Router that tells
 * only one of them of a confirmation breaks the handshake and not the payload.
 */
export function prologueOf(service: string, isConfirmed: boolean): Buffer {
  return Buffer.from(`${SEAL_LABEL}\n${service}${isConfirmed ? '\nconfirm' : ''}`);
}
