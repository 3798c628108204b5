/** The router's own failures: each names the field of the Router object, or the step, that is at fault. */
import { EdgeError } from '../lib/errors.ts';

/** A Router spec that cannot be put in force; the last good one stays. Code EDGE_ERR_ROUTER_CONFIG. */
export class RouterConfigError extends EdgeError {
  override readonly name = 'RouterConfigError';
  /** Path of the field in the object, `spec.frps.allowPorts[1]`. */
  readonly field: string;

  constructor(field: string, problem: string, cause?: unknown) {
    super('EDGE_ERR_ROUTER_CONFIG', `${field}: ${problem}`, cause === undefined ? {} : { cause });
    this.field = field;
  }
}

/** The dashboard is not served; the tunnel is not concerned. */
export const ERR_ROUTER_DASHBOARD = 'EDGE_ERR_ROUTER_DASHBOARD';

/** A secret's file is missing, not a regular file, or too large. */
export const ERR_ROUTER_SECRET = 'EDGE_ERR_ROUTER_SECRET';
