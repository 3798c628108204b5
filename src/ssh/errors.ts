/** Failures of SSH sessions; each has a code of its own, because people and programs act differently on them. */
import { EdgeError } from '../lib/errors.ts';
import type { EdgeErrorOptions } from '../lib/errors.ts';

/**
 * What went wrong: `auth` the node does not accept us, `host-key` its key is not the one that is known, `key` a private
 * key or certificate cannot be used, `timeout` no answer, `closed` the connection ended, `channel` the node refused what
 * was asked of it, `protocol` it does not speak SSH as we do, `given-up` who was asked
 * wanted no more.
 */
export type SshErrorKind =
  'auth' | 'host-key' | 'key' | 'timeout' | 'closed' | 'channel' | 'protocol' | 'given-up';

/** A failure of an SSH session, with the code `EDGE_ERR_SSH_<KIND>`. */
export class SshError extends EdgeError {
  override readonly name = 'SshError';

  constructor(kind: SshErrorKind, message: string, options: EdgeErrorOptions = {}) {
    super(`EDGE_ERR_SSH_${kind.toUpperCase().replace('-', '_')}`, message, {
      retryable: kind === 'timeout' || kind === 'closed',
      ...options,
    });
  }
}
