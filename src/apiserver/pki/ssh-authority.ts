/** The key that signs SSH user certificates, beside the node's authority: <data-dir>/pki/ssh-ca.key and ssh-ca.pub. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { badRequest } from '../../api/status.ts';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { EdgeError, errorCode, errorMessage } from '../../lib/errors.ts';
import type { PkiDeps } from './authority.ts';
import { authorityBlob, certificateType, encodeCertificate } from './ssh-certificate.ts';
import { parsePublicKey } from './ssh-public-key.ts';
import type { SshPublicKey } from './ssh-public-key.ts';
import { SshFormatError } from './ssh-wire.ts';

/** What somebody asks to be signed. */
export interface SshRequest {
  /** A line of a `.pub` file. */
  publicKey: string;
  /** The accounts it is good for; at least one: sshd refuses a certificate without. */
  principals: readonly string[];
  lifetimeMs: number;
  /** Who asks. */
  user: string;
  /** The only command it may run; any when undefined. */
  forceCommand?: string | undefined;
  /** The only addresses it may come from, as in a from= of authorized_keys; any when undefined. */
  sourceAddress?: string | undefined;
}

/** A signed certificate. */
export interface SshCertificate {
  /** A line of a `-cert.pub` file. */
  certificate: string;
  serial: string;
  keyId: string;
  validAfter: Date;
  validBefore: Date;
}

/** Clocks of nodes that are behind by less accept a new certificate, milliseconds. */
const CLOCK_SKEW_MS = 60_000;
/** What a session may do beside its shell; forwarding of agents and X11 gives away more than a visit to a node needs. */
const EXTENSIONS = ['permit-pty', 'permit-port-forwarding', 'permit-user-rc'];
const RAW_KEY_BYTES = 32;

/** Signs with one key. */
export class SshAuthority {
  readonly #key: KeyObject;
  readonly #raw: Buffer;
  readonly #clock: PkiDeps['clock'];

  constructor(key: KeyObject, clock: PkiDeps['clock']) {
    this.#key = key;
    this.#clock = clock;
    this.#raw = createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-RAW_KEY_BYTES);
  }

  /** The line for sshd's TrustedUserCAKeys. */
  publicKey(comment: string): string {
    return `ssh-ed25519 ${authorityBlob(this.#raw).toString('base64')} ${comment}`;
  }

  /** Signs a certificate. Throws a 400 Status for a key that cannot have one. */
  issue(request: SshRequest): SshCertificate {
    const { principals, lifetimeMs, user, forceCommand, sourceAddress } = request;
    const key = readKey(request.publicKey);
    const now = this.#clock.wallNow().getTime();
    const serial = randomBytes(8).readBigUInt64BE() >> 1n; // other programs keep it as a signed number
    const keyId = `edge:${user}:${serial}`;
    const validAfter = new Date(now - CLOCK_SKEW_MS);
    const validBefore = new Date(now + lifetimeMs);
    const blob = encodeCertificate(
      {
        key,
        serial,
        keyId,
        principals,
        validAfter,
        validBefore,
        criticalOptions: {
          ...(forceCommand === undefined ? {} : { 'force-command': forceCommand }),
          ...(sourceAddress === undefined ? {} : { 'source-address': sourceAddress }),
        },
        extensions: EXTENSIONS,
      },
      { publicKey: this.#raw, sign: (data) => sign(null, data, this.#key) },
      randomBytes(32),
    );
    const certificate = `${certificateType(key.type)} ${blob.toString('base64')} ${keyId}`;
    return { certificate, serial: String(serial), keyId, validAfter, validBefore };
  }
}

function readKey(line: string): SshPublicKey {
  try {
    return parsePublicKey(line);
  } catch (err) {
    if (err instanceof SshFormatError)
      throw badRequest(`publicKey: not a line of a .pub file: ${err.message}`);
    throw err;
  }
}

/** Loads the key, or makes it on first use. A file that is there and cannot be used is an error, never replaced. */
export async function ensureSshAuthority(dir: string, node: string, deps: PkiDeps): Promise<SshAuthority> {
  const path = join(dir, 'ssh-ca.key');
  const known = await readPem(path);
  const key = known ?? generateKeyPairSync('ed25519').privateKey;
  const authority = new SshAuthority(key, deps.clock);
  if (known === undefined) {
    await writeFileAtomic(path, key.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
    deps.log.info('ssh authority made', { file: path });
  }
  await writeFileAtomic(join(dir, 'ssh-ca.pub'), `${authority.publicKey(`edge-ssh-ca@${node}`)}\n`, 0o644);
  return authority;
}

async function readPem(path: string): Promise<KeyObject | undefined> {
  let key: KeyObject;
  try {
    key = createPrivateKey(await readFile(path, 'utf8'));
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return undefined;
    throw unusable(path, errorMessage(err), err);
  }
  if (key.asymmetricKeyType !== 'ed25519') throw unusable(path, 'it is not an Ed25519 key');
  return key;
}

function unusable(path: string, why: string, cause?: unknown): EdgeError {
  return new EdgeError('EDGE_ERR_PKI_READ', `read the ssh authority ${path}: ${why}`, {
    cause,
    hint: 'bring the file back from a backup, or remove it for a new key that sshds must be told to trust',
  });
}
