/** The error type of the program: a stable code, one line for people, and what to do next. */

/** Options of an EdgeError. */
export interface EdgeErrorOptions {
  /** The failure underneath. */
  cause?: unknown;
  /** What the reader can do about it, one line. */
  hint?: string;
  /** Whether the same call may succeed later. */
  retryable?: boolean;
}

/** A failure with a stable code (`EDGE_ERR_<AREA>_<WHAT>`); match on the code, never on the message. */
export class EdgeError extends Error {
  override readonly name: string = 'EdgeError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(code: string, message: string, options: EdgeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}

/** The code of UsageError. */
export const USAGE_ERROR = 'EDGE_ERR_USAGE';

/** A command line, variable or configuration file that is wrong; exit status 2. */
export class UsageError extends EdgeError {
  override readonly name = 'UsageError';

  constructor(message: string, options: EdgeErrorOptions = {}) {
    super(USAGE_ERROR, message, options);
  }
}

/** The code of an error as Node or edge sets it, or undefined. */
export function errorCode(err: unknown): string | undefined {
  if (typeof err !== 'object' || err === null) return undefined;
  const { code } = err as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

const SYSTEM_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  EPIPE: 'broken pipe',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'address not available on this machine',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  EISDIR: 'is a directory',
  ENOTDIR: 'not a directory',
  EEXIST: 'file exists',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EMFILE: 'too many open files',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'name resolution failed',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is signed by an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is signed by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is signed by an authority that is not trusted',
  CERT_SIGNATURE_FAILURE: 'the certificate is signed by an authority that is not trusted',
  CERT_HAS_EXPIRED: 'the certificate has expired',
};

/** One line that says what went wrong, in words instead of errno names where they are known. */
export function errorMessage(err: unknown): string {
  if (err instanceof AggregateError && err.errors.length > 0) return errorMessage(err.errors[0]);
  const code = errorCode(err);
  const known = code === undefined ? undefined : SYSTEM_TEXTS[code];
  if (known !== undefined) {
    const { address, port, path, hostname } = err as {
      address?: string;
      port?: number;
      path?: string;
      hostname?: string;
    };
    const where =
      address !== undefined ? (port === undefined ? address : `${address}:${port}`) : (path ?? hostname);
    return where === undefined ? known : `${where}: ${known}`;
  }
  if (err instanceof Error) return err.message.split('\n', 1)[0] ?? err.name;
  return String(err);
}

/** Marks code that types say is never reached. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${String(value)}`);
}
