/** `edge ctl create`: makes the objects of files, which must not be there yet. */
import { addWriteOptions, manifestsOf, writeManifests } from './manifest-writes.ts';
import type { WriteFlags } from './manifest-writes.ts';
import { createVerb, runVerb } from './verb.ts';

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = addWriteOptions(
    createVerb('create -f FILE', 'Create objects as files say.'),
    'kubectl-create',
  );
  await runVerb(command, argv, async (session, args) => {
    const flags = command.opts<WriteFlags>();
    await writeManifests(session, await manifestsOf('create', args, flags), flags, {
      doing: 'creating',
      done: 'created',
      write: ({ resource, object, options }) => session.client.create(resource, object, options),
    });
  });
}
