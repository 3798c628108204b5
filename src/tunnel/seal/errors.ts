/** The failures of sealed streams, each with a stable code. */
import { EdgeError } from '../../lib/errors.ts';
import type { EdgeErrorOptions } from '../../lib/errors.ts';

/** Codes of sealed streams. */
export const SEAL_ERRORS = {
  /** What the peer said is no handshake: it does not seal, or speaks another version. */
  unsealed: 'EDGE_ERR_SEAL_UNSEALED',
  /** The handshake does not verify: the peer has another secret, or somebody changed a message. */
  secret: 'EDGE_ERR_SEAL_SECRET',
  /** The provider said that our handshake does not verify. Nobody vouches for this answer. */
  refused: 'EDGE_ERR_SEAL_REFUSED',
  /** The visitor asked for another port of the service than the one it was led to. */
  misrouted: 'EDGE_ERR_SEAL_MISROUTED',
  /** The handshake was not over in time. */
  timeout: 'EDGE_ERR_SEAL_TIMEOUT',
  /** The stream closed before the handshake was over. */
  closed: 'EDGE_ERR_SEAL_CLOSED',
  /** A record does not verify: changed, repeated, left out or out of order. */
  tampered: 'EDGE_ERR_SEAL_TAMPERED',
  /** The stream ended without its last record: something was cut off. */
  truncated: 'EDGE_ERR_SEAL_TRUNCATED',
} as const;

/** A failure of a sealed stream. Before payload flows it may be retried elsewhere. */
export class SealError extends EdgeError {
  override readonly name = 'SealError';

  constructor(what: keyof typeof SEAL_ERRORS, message: string, options: EdgeErrorOptions = {}) {
    super(SEAL_ERRORS[what], message, { retryable: what !== 'tampered' && what !== 'truncated', ...options });
  }
}
