/** Types of ports.mjs, for the tests that start programs as the demo does. */

/** Where the free ports are taken from. */
export const QUIET_PORTS: { readonly start: number; readonly end: number };
/** `count` different free TCP ports of `host`, loopback when absent. */
export function freePorts(count: number, host?: string): Promise<number[]>;
