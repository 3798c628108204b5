/** The router's own failures: each names the field of the Router object, or the step, that is at fault. */
import { EdgeError } from '../lib/errors.ts';

/** The code of RouterConfigError. */
export const ERR_ROUTER_CONFIG = 'EDGE_ERR_ROUTER_CONFIG';

/** A Router spec or file that cannot be put in force; the last good one stays. Code EDGE_ERR_ROUTER_CONFIG. */
export class RouterConfigError extends EdgeError {
  override readonly name = 'RouterConfigError';
  /** Path of the field in the object, `spec.frps.allowPorts[1]`, or file and key, `frps.toml: allowPorts[1]`. */
  readonly field: string;

  constructor(field: string, problem: string, cause?: unknown) {
    super(ERR_ROUTER_CONFIG, `${field}: ${problem}`, cause === undefined ? {} : { cause });
    this.field = field;
  }
}

/** The dashboard is not served; the tunnel is not concerned. */
export const ERR_ROUTER_DASHBOARD = 'EDGE_ERR_ROUTER_DASHBOARD';

/** A secret's file is missing, not a regular file, or too large. */
export const ERR_ROUTER_SECRET = 'EDGE_ERR_ROUTER_SECRET';

/** Codes that say a configuration is wrong: trying it again does not help. */
export const CONFIG_CODES: ReadonlySet<string> = new Set([
  ERR_ROUTER_CONFIG,
  ERR_ROUTER_SECRET,
  'EDGE_ERR_TOML_PARSE',
  'EDGE_ERR_YAML_PARSE',
]);
