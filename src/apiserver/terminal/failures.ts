/** Failures on the way to a node in the words of HTTP: whose fault it was, and whether to try again. Pure. */
import { StatusError } from '../../api/status.ts';
import { EdgeError, errorCode, errorMessage } from '../../lib/errors.ts';

/** The HTTP status of each failure; others are the tunnel's or the node's (502). */
const STATUS: Readonly<Record<string, number>> = {
  EDGE_ERR_SSH_AUTH: 403,
  EDGE_ERR_SSH_TIMEOUT: 504,
  EDGE_ERR_SSH_NODE_OFFLINE: 503,
  EDGE_ERR_SSH_NODE_ADDRESS: 503,
};

/** What a caller is told. */
export interface Failure {
  status: number;
  code: string;
  message: string;
}

/** Describes a failure; undefined for one that is a mistake of this program. */
export function describeFailure(err: unknown): Failure | undefined {
  if (err instanceof StatusError) return { status: err.httpCode, code: err.code, message: err.message };
  const code = errorCode(err);
  if (!(err instanceof EdgeError) || code === undefined) return undefined;
  const hint = err.hint === undefined ? '' : ` (${err.hint})`;
  return { status: STATUS[code] ?? 502, code, message: `${errorMessage(err)}${hint}` };
}
