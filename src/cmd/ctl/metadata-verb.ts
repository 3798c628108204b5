/** What `edge ctl label` and `edge ctl annotate` do alike: they find objects and change a map of their metadata. */
import type { KubeObject } from '../../api/meta.ts';
import { UsageError } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { failureLines } from './failure.ts';
import { checkDryRun, dryRunSuffix } from './manifest-writes.ts';
import { readManifests } from './manifests.ts';
import {
  changed,
  labelOutcome,
  mapPatch,
  overwriteProblems,
  parseChanges,
  splitArgs,
} from './metadata-changes.ts';
import type { MetadataChanges, Noun } from './metadata-changes.ts';
import { objectPrinter } from './printers/objects.ts';
import type { ObjectPrinter } from './printers/objects.ts';
import { resourceOfKind, singularName } from './resources.ts';
import { fetchSelected, selectTargets } from './selection.ts';
import type { SelectedTarget, SelectionFlags } from './selection.ts';
import { collect, createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface MetadataFlags extends SelectionFlags {
  filename?: string[];
  recursive?: boolean;
  overwrite?: boolean;
  list?: boolean;
  local?: boolean;
  resourceVersion?: string;
  dryRun: string;
  fieldManager: string;
  output?: string;
  showManagedFields?: boolean;
}

interface Change {
  session: Session;
  noun: Noun;
  changes: MetadataChanges;
  flags: MetadataFlags;
  printer: ObjectPrinter | undefined;
  /** Whether the command line means exactly one object, whose list needs no heading. */
  isSingle: boolean;
}

/** Runs the verb of a map of the metadata. */
export async function runMetadataVerb(noun: Noun, argv: readonly string[]): Promise<void> {
  const verb = noun === 'label' ? 'label' : 'annotate';
  const command = createVerb(
    `${verb} (TYPE (NAME… | -l QUERY | --all) | TYPE/NAME… | -f FILE) KEY=VALUE… KEY-…`,
    `Set and remove ${noun}s of objects: KEY=VALUE sets one, KEY- removes it.`,
  )
    .argument('[WHAT...]')
    .option('-f, --filename <FILE>', 'the objects that these files name', collect)
    .option('-R, --recursive', 'also files of directories below')
    .option('-l, --selector <QUERY>', 'objects whose labels match')
    .option('--field-selector <QUERY>', 'objects whose fields match')
    .option('--all', 'all objects of the types')
    .option('--overwrite', `replace ${noun}s that have another value`)
    .option('--list', `print the ${noun}s`)
    .option('--local', 'change what the files say and print it; the server is not asked')
    .option('--resource-version <VERSION>', 'only while the object has this version')
    .option('--dry-run <MODE>', 'none, client (send nothing) or server (store nothing)', 'none')
    .option('--field-manager <NAME>', 'who changes the fields', `kubectl-${verb}`)
    .option('-o, --output <FORMAT>', 'json, yaml, name, jsonpath=…')
    .option('--show-managed-fields', 'keep metadata.managedFields in json and yaml')
    .option('-A, --all-namespaces', 'taken for compatibility');
  await runVerb(command, argv, (session, args) =>
    changeAll(session, noun, args, command.opts<MetadataFlags>()),
  );
}

async function changeAll(
  session: Session,
  noun: Noun,
  args: readonly string[],
  flags: MetadataFlags,
): Promise<void> {
  checkDryRun(flags.dryRun);
  const printer = await objectPrinter(flags.output, { isManagedShown: flags.showManagedFields ?? false });
  const { what, pairs } = splitArgs(args, noun);
  const changes = parseChanges(pairs, noun);
  check(noun, what, pairs.length, flags);
  const found = await targetsOf(session, what, flags);
  const isSingle =
    flags.filename === undefined ? found.length === 1 && isNamed(flags) : flags.filename.length === 1;
  if (!isSingle && flags.resourceVersion !== undefined && flags.resourceVersion !== '')
    throw new UsageError('--resource-version may only be used with a single resource');
  const failures: unknown[] = [];
  for (const target of found) {
    try {
      await changeOne({ session, noun, changes, flags, printer, isSingle }, target);
    } catch (err) {
      // one object that cannot be changed does not keep the others back
      failures.push(err);
    }
  }
  if (failures.length === 0) return;
  for (const line of failureLines(failures)) session.warn(line);
  throw new ExitStatus(EXIT_FAILURE);
}

function isNamed({ all, selector, fieldSelector }: MetadataFlags): boolean {
  return all !== true && selector === undefined && fieldSelector === undefined;
}

/** Throws UsageError for flags that do not go together, in kubectl's order and words. */
function check(noun: Noun, what: readonly string[], pairs: number, flags: MetadataFlags): void {
  const sample = noun === 'label' ? 'pod' : 'rsrc';
  if (noun === 'label' && flags.list === true && flags.output !== undefined)
    throw new UsageError('--list and --output may not be specified together');
  if (flags.all === true && flags.selector !== undefined)
    throw new UsageError('cannot set --all and --selector at the same time');
  if (flags.all === true && flags.fieldSelector !== undefined)
    throw new UsageError('cannot set --all and --field-selector at the same time');
  if (flags.local === true) {
    if (flags.dryRun === 'server')
      throw new UsageError('cannot specify --local and --dry-run=server - did you mean --dry-run=client?');
    if (what.length > 0) {
      throw new UsageError(
        `can only use local files by -f ${sample}.yaml or --filename=${sample}.json when --local=true is set`,
      );
    }
    if (flags.filename === undefined) {
      throw new UsageError(
        `one or more files must be specified as -f ${sample}.yaml or --filename=${sample}.json`,
      );
    }
  }
  if (what.length === 0 && flags.filename === undefined) {
    throw new UsageError('one or more resources must be specified as <resource> <name> or <resource>/<name>');
  }
  if (pairs === 0 && flags.list !== true) throw new UsageError(`at least one ${noun} update is required`);
  if (what.length > 0 && flags.filename !== undefined) {
    throw new UsageError(
      'when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well',
    );
  }
}

async function targetsOf(
  session: Session,
  what: readonly string[],
  flags: MetadataFlags,
): Promise<SelectedTarget[]> {
  if (flags.filename === undefined) {
    const found = await selectTargets(session, what, flags);
    if (flags.selector !== undefined && found.some(({ object }) => object === undefined))
      throw new UsageError('name cannot be provided when a selector is specified');
    return found;
  }
  const manifests = await readManifests(flags.filename, flags.recursive ?? false);
  return manifests.flatMap(({ object }) => {
    const resource = resourceOfKind(object.apiVersion, object.kind);
    return resource === undefined
      ? []
      : [{ resource, name: object.metadata.name, ...(flags.local === true ? { object } : {}) }];
  });
}

async function changeOne(change: Change, target: SelectedTarget): Promise<void> {
  const { session, noun, changes, flags, printer, isSingle } = change;
  const { resource, name = '' } = target;
  const before = await fetchSelected(session, target);
  const field = noun === 'label' ? 'labels' : 'annotations';
  const current = before.metadata[field] ?? {};
  const problems = flags.overwrite === true ? [] : overwriteProblems(noun, current, changes);
  const after = changed(current, changes);
  let result: KubeObject = { ...before, metadata: { ...before.metadata, [field]: after } };
  const isSent = flags.list !== true && flags.local !== true && flags.dryRun !== 'client';
  if (isSent && noun === 'label') {
    for (const key of changes.remove)
      if (!Object.hasOwn(current, key)) await session.print(`label "${key}" not found.\n`);
  }
  if (problems.length > 0) throw new AggregateError(problems.map((text) => new Error(text)));
  if (flags.list === true) {
    const heading = isSingle ? '' : `Listing ${noun}s for ${before.kind}.${resource.group}/${name}:\n`;
    const lines = Object.entries(after)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => `${isSingle ? '' : ' '}${key}=${value}\n`);
    await session.print(heading + lines.join(''));
    return;
  }
  if (isSent) {
    const version = flags.resourceVersion ?? '';
    const patch = {
      metadata: {
        [field]: mapPatch(current, changes),
        ...(version === '' ? {} : { resourceVersion: version }),
      },
    };
    result = await session.client.patch(resource, name, patch, {
      type: 'merge',
      fieldManager: flags.fieldManager,
      dryRun: flags.dryRun === 'server',
    });
  }
  if (printer !== undefined) {
    await session.print(printer(result));
    return;
  }
  const outcome = noun === 'label' ? labelOutcome(current, after, flags.overwrite ?? false) : 'annotated';
  await session.print(`${singularName(resource)}/${name} ${outcome}${dryRunSuffix(flags.dryRun)}\n`);
}
