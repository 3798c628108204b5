/** `edge ctl label`: sets and removes labels of objects. */
import { runMetadataVerb } from './metadata-verb.ts';

/** Runs the verb. */
export function run(argv: readonly string[]): Promise<void> {
  return runMetadataVerb('label', argv);
}
