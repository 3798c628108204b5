/** Failures of API calls: answers with an error status, and servers that cannot be reached; each says what to do. */
import { EdgeError, errorCode, errorMessage } from '../lib/errors.ts';

/** One field-level reason of a failure (meta/v1 StatusCause). */
export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

/** An error answer (meta/v1 Status). */
export interface ApiStatus {
  kind: 'Status';
  apiVersion: 'v1';
  status: string;
  message?: string;
  reason?: string;
  code?: number;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    uid?: string;
    causes?: StatusCause[];
    retryAfterSeconds?: number;
  };
}

/** The code of ApiError. */
export const API_ERROR = 'EDGE_ERR_API_STATUS';

/** An answer with a status of 400 or more. */
export class ApiError extends EdgeError {
  override readonly name = 'ApiError';
  /** The HTTP status, or the code of an ERROR event. */
  readonly statusCode: number;
  /** The reason of the Status, such as NotFound; empty when the answer had none. */
  readonly reason: string;
  /** The whole Status; made up when the answer was none. */
  readonly status: ApiStatus;

  constructor(status: ApiStatus, statusCode: number, hint?: string) {
    super(API_ERROR, status.message ?? `the API server answered ${statusCode}`, {
      retryable: statusCode === 429 || statusCode >= 500,
      ...(hint === undefined ? {} : { hint }),
    });
    this.status = status;
    this.statusCode = statusCode;
    this.reason = status.reason ?? '';
  }
}

/** Whether the object or path does not exist (404). */
export function isNotFound(err: unknown): boolean {
  return err instanceof ApiError && err.statusCode === 404;
}

/** Whether a precondition failed, such as a stale resourceVersion (409 Conflict). */
export function isConflict(err: unknown): boolean {
  return err instanceof ApiError && err.statusCode === 409 && err.reason !== 'AlreadyExists';
}

/** Whether the object to create is there already (409 AlreadyExists). */
export function isAlreadyExists(err: unknown): boolean {
  return err instanceof ApiError && err.statusCode === 409 && err.reason === 'AlreadyExists';
}

/** Whether a resourceVersion is older than what the server keeps (410): list again. */
export function isExpired(err: unknown): boolean {
  return err instanceof ApiError && err.statusCode === 410;
}

/** Whether the server does not accept the credentials (401) or what they may do (403). */
export function isDenied(err: unknown): boolean {
  return err instanceof ApiError && (err.statusCode === 401 || err.statusCode === 403);
}

/** Reads an error answer; an answer that is no Status becomes one with the text's first line. */
export function apiError(statusCode: number, text: string, server: string): ApiError {
  let status: ApiStatus | undefined;
  try {
    const value = JSON.parse(text) as ApiStatus | null;
    if (typeof value === 'object' && value !== null && value.kind === 'Status') status = value;
  } catch {
    // not JSON: a proxy or another kind of server answered
  }
  const hint = statusHint(statusCode, server, status !== undefined);
  if (status !== undefined) return new ApiError(status, statusCode, hint);
  const line = text.trim().split('\n', 1)[0]?.slice(0, 200) ?? '';
  const message =
    line === '' ? `${server} answered ${statusCode}` : `${server} answered ${statusCode}: ${line}`;
  return new ApiError(
    { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code: statusCode },
    statusCode,
    hint,
  );
}

function statusHint(statusCode: number, server: string, isStatus: boolean): string | undefined {
  if (statusCode === 401) {
    return `the credentials are missing, expired or belong to another server; take a fresh kubeconfig from the data directory of ${server}`;
  }
  if (statusCode === 403)
    return 'these credentials lack that permission; use a kubeconfig with another role, such as admin.kubeconfig';
  if (!isStatus) return `check that ${server} is the address of an API server`;
  return undefined;
}

const TLS_CODE =
  /^(?:CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT|ERR_OSSL_X509|ERR_SSL_TLSV1_ALERT|ERR_SSL_SSLV3_ALERT)/u;

/** Whether the connection failed over certificates: newer credentials may help. */
export function isTlsFailure(err: unknown): boolean {
  return errorCode(err) === 'EDGE_ERR_API_TLS';
}

/**
 * The error of a call that got no answer: EDGE_ERR_API_UNREACHABLE, EDGE_ERR_API_TLS, EDGE_ERR_API_TIMEOUT
 * or EDGE_ERR_API_PROTOCOL.
 */
export function connectionError(server: string, err: unknown): EdgeError {
  if (err instanceof EdgeError) return err;
  const code = errorCode(err) ?? '';
  const reason = errorMessage(err);
  const make = (edgeCode: string, hint: string): EdgeError =>
    new EdgeError(edgeCode, `cannot reach the API server ${server}: ${reason}`, {
      cause: err,
      hint,
      retryable: true,
    });
  if (TLS_CODE.test(code)) {
    return make(
      'EDGE_ERR_API_TLS',
      'the CA or client certificate does not fit this server; take its current kubeconfig or --ca-file',
    );
  }
  if (code === 'EPROTO' || code === 'ERR_SSL_WRONG_VERSION_NUMBER') {
    return make('EDGE_ERR_API_PROTOCOL', 'the server does not speak TLS there; use http:// or another port');
  }
  if (code.startsWith('HPE_'))
    return make('EDGE_ERR_API_PROTOCOL', 'what listens there does not speak HTTP; check scheme and port');
  const isSocket = server.startsWith('unix:');
  const hints: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'start "edge apiserver" there, or correct the address',
    ENOENT: 'start "edge apiserver --socket PATH", or correct the path',
    EACCES: isSocket
      ? 'the socket is for its owner and group: join that group'
      : 'a firewall on this machine forbids it',
    ENOTFOUND: 'correct the host name, or use the address',
    EAI_AGAIN: 'the name servers do not answer; use the address',
  };
  return make(
    'EDGE_ERR_API_UNREACHABLE',
    hints[code] ?? 'check the network between here and there, and that the server runs',
  );
}

/** The error of a call that took too long. */
export function timeoutError(server: string, limitMs: number): EdgeError {
  return new EdgeError(
    'EDGE_ERR_API_TIMEOUT',
    `the API server ${server} did not answer within ${limitMs} ms`,
    {
      retryable: true,
      hint: 'check the network between here and there, and the load of the server',
    },
  );
}
