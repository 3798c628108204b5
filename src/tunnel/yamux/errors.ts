/** The failures of a mux session and its streams. */
import { EdgeError } from '../../lib/errors.ts';

/** Codes of mux errors. */
export const YAMUX_ERRORS = {
  /** The peer broke the protocol; the session ends with go-away 1. */
  protocol: 'EDGE_ERR_YAMUX_PROTOCOL',
  /** The session is closed. */
  closed: 'EDGE_ERR_YAMUX_CLOSED',
  /** The peer reset the stream. */
  reset: 'EDGE_ERR_YAMUX_RESET',
  /** The peer takes no more streams, or ours are used up. */
  exhausted: 'EDGE_ERR_YAMUX_EXHAUSTED',
  /** The peer does not answer pings, or did not take a stream in time. */
  timeout: 'EDGE_ERR_YAMUX_TIMEOUT',
} as const;

/** A failure of a session or stream. */
export class YamuxError extends EdgeError {
  override readonly name = 'YamuxError';

  constructor(what: keyof typeof YAMUX_ERRORS, message: string, cause?: unknown) {
    super(YAMUX_ERRORS[what], `mux: ${message}`, {
      retryable: true,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
