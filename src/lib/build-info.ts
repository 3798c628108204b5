/** What was built: filled in by build.mjs. */

declare const EDGE_VERSION: string | undefined;
declare const EDGE_COMMIT: string | undefined;

/** The version of the program, semantic versioning. */
export const version: string = typeof EDGE_VERSION === 'string' ? EDGE_VERSION : '0.0.0-dev';
/** The commit it was built from, abbreviated; `unknown` outside a checkout. */
export const commit: string = typeof EDGE_COMMIT === 'string' ? EDGE_COMMIT : 'unknown';
/** The frp version whose wire protocol edge reports in Login and LoginResp. */
export const protocolVersion = '0.70.1';
