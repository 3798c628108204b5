/** The failures of the tunnel, each with a stable code. */
import { EdgeError } from '../lib/errors.ts';
import type { EdgeErrorOptions } from '../lib/errors.ts';

/** Codes of tunnel errors. */
export const TUNNEL_ERRORS = {
  /** There is no session with the server right now. */
  offline: 'EDGE_ERR_TUNNEL_OFFLINE',
  /** The connection or session is closed. */
  closed: 'EDGE_ERR_TUNNEL_CLOSED',
  /** The peer did not answer in time. */
  timeout: 'EDGE_ERR_TUNNEL_TIMEOUT',
  /** The peer broke the protocol. */
  protocol: 'EDGE_ERR_TUNNEL_PROTOCOL',
  /** The server denied the login. */
  loginRefused: 'EDGE_ERR_TUNNEL_LOGIN_REFUSED',
  /** The server denied a visitor connection. */
  visitorRefused: 'EDGE_ERR_TUNNEL_VISITOR_REFUSED',
  /** A limit is reached. */
  limit: 'EDGE_ERR_TUNNEL_LIMIT',
  /** The provider could not reach its target; nothing was sent to it. */
  targetRefused: 'EDGE_ERR_TUNNEL_TARGET_REFUSED',
  /** The provider ended the connection without a word of its target. */
  unconfirmed: 'EDGE_ERR_TUNNEL_UNCONFIRMED',
  /** The server denied a proxy. */
  proxyRefused: 'EDGE_ERR_TUNNEL_PROXY_REFUSED',
} as const;

/** A failure of the tunnel. */
export class TunnelError extends EdgeError {
  override readonly name = 'TunnelError';

  constructor(what: keyof typeof TUNNEL_ERRORS, message: string, options: EdgeErrorOptions = {}) {
    super(TUNNEL_ERRORS[what], message, { retryable: what !== 'protocol', ...options });
  }
}
