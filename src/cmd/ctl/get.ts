/** `edge ctl get`: objects as tables, or whole in a machine-readable form; `-w` goes on with every change. */
import { resourcePath } from '../../apiclient/client.ts';
import type { ListQuery } from '../../apiclient/client.ts';
import { apiError, isNotFound } from '../../apiclient/errors.ts';
import type { KubeList, KubeObject, ResourceRef } from '../../api/meta.ts';
import { UsageError } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { failureText } from './failure.ts';
import { readManifests } from './manifests.ts';
import { compileRelaxedPath, valueText } from './printers/jsonpath.ts';
import { listOf, objectPrinter } from './printers/objects.ts';
import type { ObjectPrinter } from './printers/objects.ts';
import { isTable, plainTable, TABLE_ACCEPT, TablePrinter } from './printers/table.ts';
import type { Table } from './printers/table.ts';
import { parseTargets, resourceOfKind, singularName } from './resources.ts';
import type { Target } from './resources.ts';
import { collect, collectList, createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface GetFlags {
  output?: string;
  selector?: string;
  fieldSelector?: string;
  watch?: boolean;
  watchOnly?: boolean;
  outputWatchEvents?: boolean;
  headers: boolean;
  showLabels?: boolean;
  labelColumns?: string[];
  sortBy?: string;
  ignoreNotFound?: boolean;
  showManagedFields?: boolean;
  filename?: string[];
  recursive?: boolean;
  subresource?: string;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('get (TYPE [NAME…] | TYPE/NAME… | -f FILE)', 'Print objects.')
    .argument('[WHAT...]')
    .option(
      '-o, --output <FORMAT>',
      'wide, yaml, json, name, jsonpath=…, jsonpath-as-json=…, custom-columns=…, custom-columns-file=…',
    )
    .option('-l, --selector <QUERY>', 'only objects whose labels match')
    .option('--field-selector <QUERY>', 'only objects whose fields match, such as metadata.name=x')
    .option('-w, --watch', 'print every change after that')
    .option('--watch-only', 'print changes only')
    .option('--output-watch-events', 'print the type of each change too')
    .option('--no-headers', 'leave the header line out')
    .option('--show-labels', 'add a column with all labels')
    .option('-L, --label-columns <KEYS>', 'add a column for each of these labels', collectList)
    .option('--sort-by <PATH>', 'sort by a field, such as .metadata.creationTimestamp')
    .option('--ignore-not-found', 'end well when an object is missing')
    .option('--show-managed-fields', 'keep metadata.managedFields in json and yaml')
    .option('-f, --filename <FILE>', 'the objects that these files name', collect)
    .option('-R, --recursive', 'also files of directories below')
    .option('--subresource <NAME>', 'print this part only: status')
    .option('-A, --all-namespaces', 'taken for compatibility')
    .option('--all', 'taken for compatibility')
    .option('--chunk-size <N>', 'taken for compatibility');
  await runVerb(command, argv, (session, args) => get(session, args, command.opts<GetFlags>()));
}

async function get(session: Session, args: readonly string[], flags: GetFlags): Promise<void> {
  const targets =
    flags.filename === undefined
      ? parseTargets(args)
      : await fileTargets(flags.filename, flags.recursive ?? false);
  if (
    targets.some(({ name }) => name !== undefined) &&
    (flags.selector ?? flags.fieldSelector) !== undefined
  ) {
    throw new UsageError('name cannot be provided when a selector is specified');
  }
  const printer = await objectPrinter(flags.output, {
    hasHeaders: flags.headers,
    isManagedShown: flags.showManagedFields ?? false,
  });
  if (flags.watch === true || flags.watchOnly === true) await watch(session, targets, flags, printer);
  else if (printer === undefined) await printTables(session, targets, flags);
  else await printObjects(session, targets, flags, printer);
}

async function fileTargets(files: readonly string[], isRecursive: boolean): Promise<Target[]> {
  const manifests = await readManifests(files, isRecursive);
  return manifests.flatMap(({ object }) => {
    const resource = resourceOfKind(object.apiVersion, object.kind);
    return resource === undefined ? [] : [{ resource, name: object.metadata.name }];
  });
}

function queryOf(flags: GetFlags): ListQuery {
  return { labelSelector: flags.selector, fieldSelector: flags.fieldSelector };
}

/** Fetches every target; missing objects are reported at the end, after what was found. */
async function fetchAll<T>(
  targets: readonly Target[],
  flags: GetFlags,
  fetchOne: (target: Target) => Promise<T>,
): Promise<T[]> {
  const found: T[] = [];
  const missing: unknown[] = [];
  for (const target of targets) {
    try {
      found.push(await fetchOne(target));
    } catch (err) {
      if (!isNotFound(err)) throw err;
      if (flags.ignoreNotFound !== true) missing.push(err);
    }
  }
  if (missing.length > 0 && found.length === 0 && missing.length === 1) throw missing[0];
  if (missing.length > 0) process.exitCode = EXIT_FAILURE;
  // stdout first: the order that a terminal shows
  setImmediate(() => missing.forEach((err) => process.stderr.write(`${failureText(err)}\n`)));
  return found;
}

async function fetchTable(session: Session, { resource, name }: Target, flags: GetFlags): Promise<Table> {
  const path = resourcePath(resource, name, flags.subresource);
  const answer = await session.client.request('GET', path, {
    headers: { accept: TABLE_ACCEPT },
    query: {
      ...(name === undefined ? { ...(queryOf(flags) as Record<string, string>) } : {}),
      includeObject: flags.sortBy === undefined ? undefined : 'Object',
    },
  });
  if (answer.status >= 400) throw apiError(answer.status, answer.text, session.client.server);
  const value = JSON.parse(answer.text) as Table | KubeList<KubeObject> | KubeObject;
  if (isTable(value)) return value;
  return plainTable('items' in value ? value.items : [value]);
}

async function printTables(session: Session, targets: readonly Target[], flags: GetFlags): Promise<void> {
  const tables = await fetchAll(targets, flags, async (target) => ({
    target,
    table: await fetchTable(session, target, flags),
  }));
  const groups = new Map<ResourceRef, Table[]>();
  for (const { target, table } of tables)
    groups.set(target.resource, [...(groups.get(target.resource) ?? []), table]);
  const isMixed = new Set(targets.map(({ resource }) => resource)).size > 1;
  let isAnything = false;
  for (const [resource, parts] of groups) {
    if (parts.every(({ rows }) => rows.length === 0)) continue;
    if (isAnything) await session.print('\n');
    isAnything = true;
    const printer = tablePrinter(flags, isMixed ? `${singularName(resource)}/` : '');
    const definitions = parts[0]?.columnDefinitions ?? [];
    const rows = sorted(
      parts.flatMap((part) => part.rows),
      flags.sortBy,
      (row) => row.object,
    );
    await session.print(printer.format({ kind: 'Table', columnDefinitions: definitions, rows }));
  }
  if (!isAnything && flags.ignoreNotFound !== true && process.exitCode === undefined)
    session.warn('No resources found');
}

function tablePrinter(flags: GetFlags, namePrefix: string): TablePrinter {
  return new TablePrinter({
    isWide: flags.output === 'wide',
    hasHeaders: flags.headers,
    areLabelsShown: flags.showLabels ?? false,
    labelColumns: flags.labelColumns ?? [],
    namePrefix,
    hasEvents: flags.outputWatchEvents ?? false,
  });
}

function sorted<T>(items: T[], sortBy: string | undefined, objectOf: (item: T) => unknown): T[] {
  if (sortBy === undefined) return items;
  const path = compileRelaxedPath(sortBy);
  const key = (item: T): unknown => path(objectOf(item))[0];
  return items.toSorted((a, b) => {
    const [left, right] = [key(a), key(b)];
    if (left === undefined || right === undefined) return left === right ? 0 : left === undefined ? -1 : 1;
    if (typeof left === 'number' && typeof right === 'number') return left - right;
    const [leftText, rightText] = [valueText(left), valueText(right)];
    return leftText < rightText ? -1 : leftText > rightText ? 1 : 0;
  });
}

async function printObjects(
  session: Session,
  targets: readonly Target[],
  flags: GetFlags,
  printer: ObjectPrinter,
): Promise<void> {
  const fetched = await fetchAll(targets, flags, async ({ resource, name }): Promise<KubeObject[]> => {
    if (name !== undefined) {
      if (flags.subresource === undefined) return [await session.client.get(resource, name)];
      const answer = await session.client.request('GET', resourcePath(resource, name, flags.subresource));
      if (answer.status >= 400) throw apiError(answer.status, answer.text, session.client.server);
      return [JSON.parse(answer.text) as KubeObject];
    }
    return (await session.client.list(resource, queryOf(flags))).items;
  });
  const items = sorted(fetched.flat(), flags.sortBy, (item) => item);
  const [only] = items;
  if (targets.length === 1 && targets[0]?.name !== undefined) {
    if (only !== undefined) await session.print(printer(only));
    return;
  }
  await session.print(printer(listOf(items)));
}

async function watch(
  session: Session,
  targets: readonly Target[],
  flags: GetFlags,
  printer: ObjectPrinter | undefined,
): Promise<void> {
  const [target] = targets;
  if (target === undefined || targets.length > 1) {
    throw new UsageError('you may only specify a single resource type or object with --watch');
  }
  const { resource, name } = target;
  const selectors: ListQuery = {
    labelSelector: flags.selector,
    fieldSelector: name === undefined ? flags.fieldSelector : `metadata.name=${name}`,
  };
  const table = await fetchTable(
    session,
    { resource, name: undefined },
    {
      ...flags,
      ...(selectors.fieldSelector === undefined ? {} : { fieldSelector: selectors.fieldSelector }),
      ...(printer === undefined ? {} : { sortBy: flags.sortBy ?? '.metadata.name' }),
    },
  );
  if (name !== undefined && table.rows.length === 0) await session.client.get(resource, name); // throws its NotFound
  const tables = tablePrinter(flags, '');
  const isWrapped = flags.outputWatchEvents === true && (flags.output === 'json' || flags.output === 'yaml');
  const show = async (part: Table, event: string): Promise<void> => {
    if (printer === undefined) await session.print(tables.format(part, event));
    else
      for (const row of part.rows)
        await session.print(printer(isWrapped ? { type: event, object: row.object } : row.object));
  };
  if (flags.watchOnly === true) tables.format({ ...table, rows: [] });
  else if (table.rows.length > 0) await show(table, 'ADDED');
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort());
  const events = session.client.watch<Table | KubeObject>(resource, {
    ...selectors,
    resourceVersion: table.metadata?.resourceVersion,
    signal: ending.signal,
    ...(printer === undefined ? { accept: TABLE_ACCEPT } : {}),
  });
  for await (const { type, object } of events) {
    if (type === 'BOOKMARK') continue;
    await show(isTable(object) ? object : plainTable([object]), type);
  }
  if (ending.signal.aborted) throw new ExitStatus(130);
}
