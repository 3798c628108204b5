/** The store's own failures; the handlers translate them to Status at their border. */
import { EdgeError, errorCode, errorMessage } from '../../lib/errors.ts';

/** A stored file cannot be trusted; nothing was changed. */
export function damaged(path: string, what: string, hint: string): EdgeError {
  return new EdgeError('EDGE_ERR_STORE_DAMAGED', `${path}: ${what}`, { hint });
}

/** A write did not reach the disk and was undone. */
export function writeFailed(path: string, cause: unknown): EdgeError {
  const reason = errorMessage(cause).replace(`${path}: `, '');
  return new EdgeError('EDGE_ERR_STORE_WRITE', `write ${path}: ${reason}`, { cause, retryable: true });
}

/** Whether a failed write failed for want of space. */
export function isOutOfSpace(err: unknown): boolean {
  const code = errorCode(err instanceof Error && err.cause !== undefined ? err.cause : err);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The wanted point in history is no longer kept. */
export class CompactedError extends EdgeError {
  override readonly name = 'CompactedError';

  constructor(since: number, floor: number) {
    super('EDGE_ERR_STORE_COMPACTED', `too old resource version: ${since} (${floor})`);
  }
}

/** A file of an operation that failed is still there, and the next start would take it for its result. */
export class StrayFileError extends EdgeError {
  override readonly name = 'StrayFileError';

  constructor(path: string, cause: unknown) {
    super('EDGE_ERR_STORE_WRITE', `remove ${path}, which a failed operation left: ${errorMessage(cause)}`, {
      cause,
      hint: 'no writes are taken until the server was started again; look after the disk first',
    });
  }
}

/** The journal may not grow further because nothing can be folded out of it. */
export function journalFull(path: string, bytes: number): EdgeError {
  return new EdgeError(
    'EDGE_ERR_STORE_WRITE',
    `write ${path}: ${bytes} bytes of journal wait for a checkpoint that cannot be written; see the log for why`,
    { retryable: true },
  );
}

/** A backup cannot be used; nothing was changed. */
export function badBackup(what: string): EdgeError {
  return new EdgeError('EDGE_ERR_STORE_BACKUP', `not a usable backup: ${what}`);
}

/** An object is longer than an object may be. */
export function objectTooLarge(length: number, limit: number): EdgeError {
  return new EdgeError('EDGE_ERR_STORE_TOO_LARGE', `the object is ${length} long, the limit is ${limit}`);
}

/** Too many writes wait for the disk. */
export function overloaded(limit: number): EdgeError {
  return new EdgeError('EDGE_ERR_STORE_OVERLOADED', `${limit} writes are waiting for the disk`, {
    retryable: true,
  });
}

/** The store no longer takes writes. */
export function closed(): EdgeError {
  return new EdgeError('EDGE_ERR_STORE_CLOSED', 'the store is closed', { retryable: true });
}
