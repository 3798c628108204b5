/** `edge ctl watch`: `get --watch` under the name that people look for. */
import { run as get } from './get.ts';

/** Runs the verb; takes the flags of get. */
export function run(argv: readonly string[]): Promise<void> {
  return get([...argv, '--watch']);
}
