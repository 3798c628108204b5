/** Whose fault it is that a connection to a mapped service broke before it was open: the provider's, or the Router's. Pure. */
import { errorCode } from '../lib/errors.ts';
import { TUNNEL_ERRORS } from '../tunnel/errors.ts';
import { SEAL_ERRORS } from '../tunnel/seal/errors.ts';
import { YAMUX_ERRORS } from '../tunnel/yamux/errors.ts';

/** What only a provider can have caused; a Router resets a single stream when its other end is lost. */
const OF_PROVIDER: ReadonlySet<string | undefined> = new Set([
  TUNNEL_ERRORS.protocol,
  TUNNEL_ERRORS.targetRefused,
  TUNNEL_ERRORS.unconfirmed,
  SEAL_ERRORS.misrouted,
  SEAL_ERRORS.refused,
  SEAL_ERRORS.secret,
  SEAL_ERRORS.tampered,
  SEAL_ERRORS.timeout,
  SEAL_ERRORS.unsealed,
  YAMUX_ERRORS.reset,
]);
/** An error has few causes; one that is its own must not hold us. */
const MAX_DEPTH = 8;

/**
 * Whether a failure after a Router had chosen a provider is that provider's: not when the whole connection to the Router
 * ended, which takes the streams of all providers with it.
 */
export function isProvidersFault(err: unknown): boolean {
  let cause = err;
  for (let depth = 0; depth < MAX_DEPTH && cause instanceof Error; depth++) {
    if (OF_PROVIDER.has(errorCode(cause))) return true;
    // An end in the middle of a handshake: nothing else has failed.
    if (errorCode(cause) === SEAL_ERRORS.closed && cause.cause === undefined) return true;
    ({ cause } = cause);
  }
  return err === undefined;
}
