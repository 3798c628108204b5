/** `edge ctl annotate`: sets and removes annotations of objects. */
import { runMetadataVerb } from './metadata-verb.ts';

/** Runs the verb. */
export function run(argv: readonly string[]): Promise<void> {
  return runMetadataVerb('annotation', argv);
}
