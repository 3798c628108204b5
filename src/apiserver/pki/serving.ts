/** What the HTTPS listeners present and trust: certificates made here, or the operator's own. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, UsageError } from '../../lib/errors.ts';
import { ensureAuthority, ensureServing, servingNames } from './authority.ts';
import type { PkiDeps } from './authority.ts';
import { ensureSshAuthority } from './ssh-authority.ts';
import type { SshAuthority } from './ssh-authority.ts';
import { parseCertificate } from './key-pair.ts';
import type { KeyPair } from './key-pair.ts';

/** Where certificates come from and what they are for. */
export interface ServingConfig {
  dataDir: string;
  node: string;
  hostname: string;
  /** The hosts of the listen addresses. */
  hosts: readonly string[];
  tls: { certFile: string; keyFile: string } | undefined;
  clientCaFile: string | undefined;
}

/** For Node's TLS server. */
export interface ServingMaterial {
  cert: string;
  key: string;
  /** Who may sign client certificates. */
  ca: string[];
}

/** Loads, and where needed makes, the certificates of one server. */
export class ServingCertificates {
  readonly #config: ServingConfig;
  readonly #deps: PkiDeps;
  #authority: KeyPair | undefined;
  #trust: string | undefined;
  #sshAuthority: SshAuthority | undefined;

  constructor(config: ServingConfig, deps: PkiDeps) {
    this.#config = config;
    this.#deps = deps;
  }

  /** Signs client certificates; set by load(). */
  get authority(): KeyPair | undefined {
    return this.#authority;
  }

  /** Signs SSH user certificates; set by the first load(). */
  get sshAuthority(): SshAuthority | undefined {
    return this.#sshAuthority;
  }

  /** What clients must trust, PEM; undefined when the system's authorities are enough. */
  get trust(): string | undefined {
    return this.#trust;
  }

  /** Reads or makes everything; called again to renew. Throws UsageError for files that cannot be used. */
  async load(): Promise<ServingMaterial> {
    const { dataDir, node, hosts, hostname, tls, clientCaFile } = this.#config;
    const dir = join(dataDir, 'pki');
    const authority = await ensureAuthority(dir, node, this.#deps);
    this.#authority = authority;
    this.#sshAuthority ??= await ensureSshAuthority(dir, node, this.#deps);
    const ca = [authority.certificate];
    if (clientCaFile !== undefined) ca.push(await readPem(clientCaFile, '--client-ca'));
    if (tls === undefined) {
      const serving = await ensureServing(dir, authority, servingNames(hosts, node, hostname), this.#deps);
      this.#trust = authority.certificate;
      return { cert: serving.certificate, key: serving.key, ca };
    }
    const cert = await readPem(tls.certFile, '--tls-cert');
    const key = await readFileNamed(tls.keyFile, '--tls-key');
    const parsed = parseCertificate(cert);
    // one that signed itself must be trusted by name; others lead to an authority the clients know
    this.#trust = parsed !== undefined && parsed.checkIssued(parsed) ? cert : undefined;
    return { cert, key, ca };
  }
}

async function readFileNamed(path: string, flag: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (err) {
    throw new UsageError(`${flag}: cannot read ${path}: ${errorMessage(err).replace(`${path}: `, '')}`, {
      cause: err,
    });
  }
}

async function readPem(path: string, flag: string): Promise<string> {
  const text = await readFileNamed(path, flag);
  if (parseCertificate(text) === undefined) throw new UsageError(`${flag}: ${path} holds no PEM certificate`);
  return text;
}
