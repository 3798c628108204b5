/** The verbs that log in to nodes, in one module: each alone would bring its own copy of the SSH library into the program. */
import { run as runCp } from './cp.ts';
import { run as runExec } from './exec.ts';
import { run as runSsh } from './ssh.ts';

const VERBS = { ssh: runSsh, exec: runExec, cp: runCp } as const;

/** A verb of this module. */
export type NodeVerb = keyof typeof VERBS;

/** Runs the verb that the first argument names. */
export function run([verb, ...argv]: readonly string[]): Promise<void> {
  return VERBS[verb as NodeVerb](argv);
}
