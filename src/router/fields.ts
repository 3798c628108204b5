/** Checks that both forms of configuration share, the Router object and frps's file: numbers, ports, files, TLS. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { errorMessage } from '../lib/errors.ts';
import type { FrpServerConfig, PortRange } from '../tunnel/frps/types.ts';
import { RouterConfigError } from './errors.ts';
import type { SecretReader } from './secrets.ts';

/** The longest delay that a timer of the platform holds: what "never" is where a number is needed. */
export const NEVER_MS = 2 ** 31 - 1;

/** A whole number within bounds. Throws RouterConfigError that names the field. */
export function integer(
  field: string,
  value: number | undefined,
  fallback: number | undefined,
  min: number,
  max: number,
): number {
  const found = value ?? fallback;
  if (found === undefined) throw new RouterConfigError(field, 'is missing');
  if (!Number.isInteger(found) || found < min || found > max) {
    throw new RouterConfigError(
      field,
      `${JSON.stringify(found)} is not a whole number from ${min} to ${max}`,
    );
  }
  return found;
}

/** A range or a single port; one of the two must be given. Throws RouterConfigError. */
export function portRange(
  field: string,
  entry: { start?: number; end?: number; single?: number },
): PortRange {
  const hasRange = entry.start !== undefined || entry.end !== undefined;
  if (hasRange === (entry.single !== undefined))
    throw new RouterConfigError(field, 'wants either start and end, or single');
  if (entry.single !== undefined) {
    const port = integer(`${field}.single`, entry.single, undefined, 1, 65_535);
    return { start: port, end: port };
  }
  const start = integer(`${field}.start`, entry.start, undefined, 1, 65_535);
  const end = integer(`${field}.end`, entry.end, undefined, 1, 65_535);
  if (start > end) throw new RouterConfigError(field, `start ${start} is after end ${end}`);
  return { start, end };
}

/** The text of a file that a field names. Throws RouterConfigError. */
export function readText(field: string, path: string, secrets: SecretReader): string {
  try {
    return secrets.readFile(path);
  } catch (err) {
    throw new RouterConfigError(field, errorMessage(err), err);
  }
}

/** The trimmed secret of a file. An empty one is refused: it would admit everybody where somebody asked for a lock. */
export function secretFile(field: string, path: string, secrets: SecretReader): string {
  const secret = readText(field, path, secrets).trim();
  if (secret === '') throw new RouterConfigError(field, `${path} is empty`);
  return secret;
}

/** Files of a TLS server, as both forms name them. */
export interface TlsFiles {
  force?: boolean | undefined;
  certFile?: string | undefined;
  keyFile?: string | undefined;
  trustedCaFile?: string | undefined;
}

/** Reads and checks certificate, key and authorities. Throws RouterConfigError for what cannot be used. */
export function tlsConfig(field: string, tls: TlsFiles, secrets: SecretReader): FrpServerConfig['tls'] {
  const { certFile, keyFile, trustedCaFile } = tls;
  if (certFile !== undefined && keyFile === undefined)
    throw new RouterConfigError(`${field}.keyFile`, 'is missing beside certFile');
  if (keyFile !== undefined && certFile === undefined)
    throw new RouterConfigError(`${field}.certFile`, 'is missing beside keyFile');
  const cert = certFile === undefined ? undefined : readText(`${field}.certFile`, certFile, secrets);
  const key = keyFile === undefined ? undefined : readText(`${field}.keyFile`, keyFile, secrets);
  const clientCa =
    trustedCaFile === undefined ? undefined : readText(`${field}.trustedCaFile`, trustedCaFile, secrets);
  if (cert !== undefined && key !== undefined) checkPem(`${field}.certFile`, { cert, key });
  if (clientCa !== undefined) checkPem(`${field}.trustedCaFile`, { ca: clientCa });
  // Asking for client certificates is pointless while plain connections are let in (frp does the same).
  return { force: (tls.force ?? false) || clientCa !== undefined, cert, key, clientCa };
}

function checkPem(field: string, material: { cert: string; key: string } | { ca: string }): void {
  try {
    // A secure context takes any text as authority, so the certificate itself is parsed.
    if ('ca' in material) void new X509Certificate(material.ca);
    else createSecureContext(material);
  } catch (err) {
    throw new RouterConfigError(field, `cannot be used: ${errorMessage(err)}`, err);
  }
}
