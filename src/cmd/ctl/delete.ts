/** `edge ctl delete`: by name, file, selector or all; waits until the objects are gone. */
import type { ApiStatus } from '../../apiclient/errors.ts';
import { isNotFound } from '../../apiclient/errors.ts';
import { EdgeError, UsageError } from '../../lib/errors.ts';
import { parseDuration } from '../../lib/options.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { failureText } from './failure.ts';
import { waitUntilGone } from './gone.ts';
import { readManifests } from './manifests.ts';
import { parseTargets, resourceOfKind, singularName } from './resources.ts';
import type { Target } from './resources.ts';
import { selectTargets } from './selection.ts';
import type { SelectionFlags } from './selection.ts';
import { collect, createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface DeleteFlags extends SelectionFlags {
  filename?: string[];
  recursive?: boolean;
  ignoreNotFound?: boolean;
  wait: boolean;
  timeout: string;
  dryRun: string;
  output?: string;
  cascade: string;
  gracePeriod?: string;
}

/** kubectl's "for ever". */
const A_WEEK_MS = 7 * 24 * 3_600_000;

const CASCADES: Readonly<Record<string, 'Background' | 'Foreground' | 'Orphan'>> = {
  background: 'Background',
  true: 'Background',
  foreground: 'Foreground',
  orphan: 'Orphan',
  false: 'Orphan',
};

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'delete (TYPE (NAME… | -l QUERY | --all) | TYPE/NAME… | -f FILE)',
    'Delete objects.',
  )
    .argument('[WHAT...]')
    .option('-f, --filename <FILE>', 'the objects that these files name', collect)
    .option('-R, --recursive', 'also files of directories below')
    .option('-l, --selector <QUERY>', 'objects whose labels match')
    .option('--field-selector <QUERY>', 'objects whose fields match')
    .option('--all', 'all objects of the types')
    .option('--ignore-not-found', 'end well when an object is missing')
    .option('--wait', 'wait until the objects are gone', true)
    .option('--no-wait', 'return once deletion has begun')
    .option('--timeout <DURATION>', 'longest wait; 0s waits for ever', '0s')
    .option('--dry-run <MODE>', 'none, client (send nothing) or server (store nothing)', 'none')
    .option('-o, --output <FORMAT>', 'name')
    .option('--cascade <MODE>', 'background, foreground or orphan', 'background')
    .option('--grace-period <SECONDS>', 'seconds for a graceful end')
    .option('--force', 'taken for compatibility')
    .option('--now', 'taken for compatibility')
    .option('-A, --all-namespaces', 'taken for compatibility');
  await runVerb(command, argv, (session, args) => remove(session, args, command.opts<DeleteFlags>()));
}

async function remove(session: Session, args: readonly string[], flags: DeleteFlags): Promise<void> {
  if (flags.output !== undefined && flags.output !== 'name')
    throw new UsageError('unexpected -o output mode; only -o name is supported');
  const limitMs = parseDuration(flags.timeout, '--timeout') || A_WEEK_MS;
  const targets = await targetsOf(session, args, flags);
  if (targets.length === 0) {
    session.warn('No resources found');
    return;
  }
  const deleted: { target: Target; uid: string | undefined }[] = [];
  let hasFailed = false;
  for (const target of targets) {
    try {
      const uid = await removeOne(session, target, flags);
      deleted.push({ target, uid });
      const { resource, name = '' } = target;
      const suffix = { none: '', client: ' (dry run)', server: ' (server dry run)' }[flags.dryRun] ?? '';
      const line =
        flags.output === 'name'
          ? `${singularName(resource)}/${name}`
          : `${singularName(resource)} "${name}" deleted${suffix}`;
      await session.print(`${line}\n`);
    } catch (err) {
      if (
        isNotFound(err) &&
        (flags.ignoreNotFound === true || flags.all === true || flags.selector !== undefined)
      )
        continue;
      if (!isNotFound(err)) throw err;
      hasFailed = true;
      session.warn(failureText(err));
    }
  }
  if (flags.wait && flags.dryRun === 'none') {
    for (const { target, uid } of deleted) await waitFor(session, target, uid, limitMs);
  }
  if (hasFailed) throw new ExitStatus(EXIT_FAILURE);
}

async function targetsOf(session: Session, args: readonly string[], flags: DeleteFlags): Promise<Target[]> {
  if (flags.filename !== undefined) {
    const manifests = await readManifests(flags.filename, flags.recursive ?? false);
    return manifests.flatMap(({ object }) => {
      const resource = resourceOfKind(object.apiVersion, object.kind);
      return resource === undefined ? [] : [{ resource, name: object.metadata.name }];
    });
  }
  const isNamed = parseTargets(args).every(({ name }) => name !== undefined);
  if (isNamed && (flags.all === true || flags.selector !== undefined))
    throw new UsageError('name cannot be provided when a selector is specified');
  return selectTargets(session, args, flags);
}

/** Deletes one object; returns the uid of what was deleted, where the server says it. */
async function removeOne(
  session: Session,
  { resource, name = '' }: Target,
  flags: DeleteFlags,
): Promise<string | undefined> {
  const propagationPolicy = CASCADES[flags.cascade];
  if (propagationPolicy === undefined)
    throw new UsageError(
      `invalid cascade value (${flags.cascade}). Must be "background", "foreground", or "orphan".`,
    );
  if (flags.dryRun === 'client') return (await session.client.get(resource, name)).metadata.uid;
  if (flags.dryRun !== 'none' && flags.dryRun !== 'server') {
    throw new UsageError(`invalid dry-run value (${flags.dryRun}). Must be "none", "server", or "client".`);
  }
  const answer = (await session.client.delete(resource, name, {
    propagationPolicy,
    dryRun: flags.dryRun === 'server',
    ...(flags.gracePeriod === undefined ? {} : { gracePeriodSeconds: Number(flags.gracePeriod) }),
  })) as ApiStatus & { metadata?: { uid?: string } };
  return answer.kind === 'Status' ? answer.details?.uid : answer.metadata?.uid;
}

async function waitFor(
  session: Session,
  { resource, name = '' }: Target,
  uid: string | undefined,
  limitMs: number,
): Promise<void> {
  if (await waitUntilGone(session.client, resource, name, uid, limitMs)) return;
  throw new EdgeError(
    'EDGE_ERR_CTL_TIMEOUT',
    `timed out waiting for the condition on ${resource.plural}/${name}`,
    {
      hint: 'a finalizer may hold the object: see metadata.finalizers',
    },
  );
}
