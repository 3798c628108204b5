/** `edge ctl replace`: puts the objects of files in the place of those that are there; `--force` deletes those first. */
import type { KubeObject, ResourceRef } from '../../api/meta.ts';
import type { ApiStatus } from '../../apiclient/errors.ts';
import { isNotFound } from '../../apiclient/errors.ts';
import { EdgeError, UsageError } from '../../lib/errors.ts';
import { parseDuration } from '../../lib/options.ts';
import { waitUntilGone } from './gone.ts';
import { addWriteOptions, manifestsOf, resourceOfManifest, writeManifests } from './manifest-writes.ts';
import type { Write, WriteFlags } from './manifest-writes.ts';
import { singularName } from './resources.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface ReplaceFlags extends WriteFlags {
  force?: boolean;
  gracePeriod?: string;
  timeout?: string;
}

/** How long the deletion of an object is waited for unless --timeout says: kubectl's five minutes. */
const DELETION_MS = 300_000;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = addWriteOptions(
    createVerb('replace -f FILE', 'Replace objects by what files say.'),
    'kubectl-replace',
  )
    .option('--force', 'delete the objects and create them anew')
    .option('--cascade <MODE>', 'taken for compatibility')
    .option('--grace-period <SECONDS>', 'with --force: seconds for a graceful end')
    .option('--timeout <DURATION>', 'with --force: longest wait for each deletion');
  await runVerb(command, argv, async (session, args) => {
    const flags = command.opts<ReplaceFlags>();
    if (flags.force !== true && flags.gracePeriod !== undefined)
      throw new UsageError('--grace-period must have --force specified');
    if (flags.force !== true && flags.timeout !== undefined)
      throw new UsageError('--timeout must have --force specified');
    if (flags.force === true && flags.dryRun !== 'none')
      throw new UsageError('--dry-run can not be used when --force is set');
    const manifests = await manifestsOf('replace', args, flags);
    if (flags.force === true) {
      const limitMs = parseDuration(flags.timeout ?? '0', '--timeout') || DELETION_MS;
      for (const manifest of manifests)
        await remove(session, resourceOfManifest(manifest), manifest.object.metadata.name ?? '', {
          limitMs,
          gracePeriod: flags.gracePeriod,
        });
    }
    await writeManifests(session, manifests, flags, {
      doing: 'replacing',
      done: 'replaced',
      write: (each) =>
        flags.force === true
          ? session.client.create(each.resource, withoutVersion(each.object), each.options)
          : replace(session, each),
    });
  });
}

/** A file that names no version replaces the newest one. */
async function replace({ client }: Session, { resource, object, options }: Write): Promise<KubeObject> {
  if (object.metadata.resourceVersion !== undefined) return client.update(resource, object, options);
  const { resourceVersion } = (await client.get(resource, object.metadata.name ?? '')).metadata;
  return client.update(
    resource,
    {
      ...object,
      metadata: { ...object.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    },
    options,
  );
}

function withoutVersion(object: KubeObject): KubeObject {
  const { resourceVersion: _version, ...metadata } = object.metadata;
  return { ...object, metadata };
}

async function remove(
  session: Session,
  resource: ResourceRef,
  name: string,
  { limitMs, gracePeriod }: { limitMs: number; gracePeriod: string | undefined },
): Promise<void> {
  try {
    const answer = (await session.client.delete(
      resource,
      name,
      gracePeriod === undefined ? {} : { gracePeriodSeconds: Number(gracePeriod) },
    )) as ApiStatus & { metadata?: { uid?: string } };
    await session.print(`${singularName(resource)} "${name}" deleted\n`);
    const uid = answer.kind === 'Status' ? answer.details?.uid : answer.metadata?.uid;
    if (await waitUntilGone(session.client, resource, name, uid, limitMs)) return;
  } catch (err) {
    if (isNotFound(err)) return;
    throw err;
  }
  throw new EdgeError(
    'EDGE_ERR_CTL_TIMEOUT',
    `timed out waiting for the deletion of ${resource.plural}/${name}`,
    {
      hint: 'a finalizer may hold the object: see metadata.finalizers',
    },
  );
}
