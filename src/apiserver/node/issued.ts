/** Signs client certificates for other nodes, and remembers which: <data-dir>/pki/issued.json. */
import { readFile } from 'node:fs/promises';
import { badRequest, statusError } from '../../api/status.ts';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Role } from '../auth/roles.ts';
import { LEAF_LIFETIME_MS } from '../pki/authority.ts';
import { parseCertificate } from '../pki/key-pair.ts';
import type { KeyPair } from '../pki/key-pair.ts';
import { clientUserName } from '../pki/kubeconfig.ts';

/** Certificates that the list keeps; the oldest go first. */
const MAX_ENTRIES = 1000;

/** A certificate that was signed for another node. */
export interface IssuedCertificate {
  serial: string;
  node: string;
  role: Role;
  notBefore: string;
  notAfter: string;
  /** Who asked for it: a user name, or `join-token ID`. */
  by: string;
}

/** Who a certificate is for. */
export interface CertificateSubject {
  node: string;
  role: Role;
  /** The public key, PEM (SubjectPublicKeyInfo); the private one never leaves its node. */
  publicKey: string;
  by: string;
}

/** The certificates one authority has signed for others. */
export class IssuedCertificates {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #authority: () => KeyPair | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string, clock: Clock, authority: () => KeyPair | undefined) {
    this.#path = path;
    this.#clock = clock;
    this.#authority = authority;
  }

  /** Signs a certificate; resolves with it as PEM. Throws a 400 Status for a key it cannot use. */
  async issue({ node, role, publicKey, by }: CertificateSubject): Promise<string> {
    const authority = this.#authority();
    if (authority === undefined)
      throw statusError('BadRequest', 'this server has no authority: it serves plain HTTP');
    const { issueFor } = await import('../pki/certificates.ts');
    let pem: string;
    try {
      pem = await issueFor(authority, publicKey, {
        subject: { commonName: clientUserName(role, node), organizations: [`edge:${role}`] },
        usage: 'client',
        names: [],
        now: this.#clock.wallNow(),
        lifetimeMs: LEAF_LIFETIME_MS,
      });
    } catch {
      throw badRequest('publicKey: wanted the PEM of an ECDSA P-256 public key');
    }
    await this.#record(pem, { node, role, by });
    return pem;
  }

  /** The newest certificates, oldest first. */
  async list(): Promise<IssuedCertificate[]> {
    try {
      const entries = JSON.parse(await readFile(this.#path, 'utf8')) as unknown;
      return Array.isArray(entries) ? (entries as IssuedCertificate[]) : [];
    } catch {
      return []; // none yet; a damaged list must not keep a node from its certificate
    }
  }

  #record(pem: string, about: Pick<IssuedCertificate, 'node' | 'role' | 'by'>): Promise<void> {
    const certificate = parseCertificate(pem);
    const entry: IssuedCertificate = {
      serial: certificate?.serialNumber ?? '',
      ...about,
      notBefore: new Date(certificate?.validFrom ?? 0).toISOString(),
      notAfter: new Date(certificate?.validTo ?? 0).toISOString(),
    };
    const done = this.#last.then(async () => {
      const entries = [...(await this.list()), entry].slice(-MAX_ENTRIES);
      await writeFileAtomic(this.#path, `${JSON.stringify(entries, undefined, 1)}\n`, 0o600);
    });
    this.#last = done.catch(() => {});
    return done;
  }
}
