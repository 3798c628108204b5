/** `edge ctl describe`: everything about objects, field by field, in kubectl's layout. */
import type { KubeObject } from '../../api/meta.ts';
import { UsageError } from '../../lib/errors.ts';
import { parseTargets } from './resources.ts';
import type { Target } from './resources.ts';
import { ColumnWriter } from './printers/columns.ts';
import { valueText } from './printers/jsonpath.ts';
import { LAST_APPLIED_ANNOTATION } from './three-way.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'describe (TYPE [NAME…] | TYPE/NAME…)',
    'Print all there is to know about objects.',
  )
    .argument('[WHAT...]')
    .option('-l, --selector <QUERY>', 'only objects whose labels match')
    .option('-A, --all-namespaces', 'taken for compatibility')
    .option('--show-events', 'taken for compatibility');
  await runVerb(command, argv, async (session, args) => {
    const { selector } = command.opts<{ selector?: string }>();
    const objects: KubeObject[] = [];
    for (const target of parseTargets(args)) objects.push(...(await objectsOf(session, target, selector)));
    if (objects.length === 0) session.warn('No resources found');
    await session.print(objects.map(describeObject).join('\n\n'));
  });
}

async function objectsOf(
  session: Session,
  { resource, name }: Target,
  selector: string | undefined,
): Promise<KubeObject[]> {
  if (name !== undefined && selector !== undefined)
    throw new UsageError('name cannot be provided when a selector is specified');
  if (name !== undefined) return [await session.client.get(resource, name)];
  const list = await session.client.list(resource, { labelSelector: selector });
  return list.items;
}

/** Metadata that has lines of its own, or is of no use to people. */
const HIDDEN_METADATA = new Set(['name', 'namespace', 'labels', 'annotations', 'managedFields']);

type Line = { indent: number; key: string; value?: string };

/** The text of one object. */
export function describeObject(object: KubeObject): string {
  const lines: Line[] = [
    { indent: 0, key: 'Name', value: object.metadata.name ?? '' },
    { indent: 0, key: 'Namespace', value: object.metadata.namespace ?? '' },
    ...mapLines('Labels', object.metadata.labels, '='),
    ...mapLines('Annotations', withoutLastApplied(object.metadata.annotations), ': '),
    { indent: 0, key: 'API Version', value: object.apiVersion },
    { indent: 0, key: 'Kind', value: object.kind },
  ];
  const metadata = Object.fromEntries(
    Object.entries(object.metadata).filter(([key]) => !HIDDEN_METADATA.has(key)),
  );
  const { apiVersion: _version, kind: _kind, metadata: _metadata, ...rest } = object;
  addFields(lines, 0, { metadata, ...rest });
  lines.push({ indent: 0, key: 'Events', value: '<none>' });
  return alignLines(lines);
}

/** The record of the last apply repeats the spec; kubectl hides it too. */
function withoutLastApplied(
  annotations: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const { [LAST_APPLIED_ANNOTATION]: _record, ...rest } = annotations ?? {};
  return rest;
}

function mapLines(
  title: string,
  map: Readonly<Record<string, string>> | undefined,
  separator: string,
): Line[] {
  const entries = Object.entries(map ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return [{ indent: 0, key: title, value: '<none>' }];
  return entries.map(([key, value], at) => ({
    indent: 0,
    key: at === 0 ? title : '',
    value: `${key}${separator}${value.trim()}`,
  }));
}

function addFields(lines: Line[], indent: number, fields: Readonly<Record<string, unknown>>): void {
  const titled = Object.entries(fields).map(([key, value]) => ({ title: titleOf(key), value }));
  for (const { title, value } of titled.sort((a, b) => (a.title < b.title ? -1 : 1))) {
    if (value === null || value === undefined) continue;
    if (Array.isArray(value)) {
      lines.push({ indent, key: title });
      for (const item of value as unknown[]) {
        if (typeof item === 'object' && item !== null && !Array.isArray(item))
          addFields(lines, indent + 1, item as Record<string, unknown>);
        else lines.push({ indent: indent + 1, key: '', value: String(item) });
      }
    } else if (typeof value === 'object') {
      lines.push({ indent, key: title });
      addFields(lines, indent + 1, value as Record<string, unknown>);
    } else lines.push({ indent, key: title, value: valueText(value) });
  }
}

/** The words that kubectl writes in capitals. */
const ACRONYMS = new Set(['API', 'URL', 'UID', 'OSB', 'GUID']);

/** `bindPort` as `Bind Port`, `uid` as `UID`. */
function titleOf(key: string): string {
  const words = key.match(/[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+/gu) ?? [key];
  return words
    .map((word) =>
      ACRONYMS.has(word.toUpperCase()) ? word.toUpperCase() : word.charAt(0).toUpperCase() + word.slice(1),
    )
    .join(' ');
}

/** Values of neighbouring lines stand in one column, whatever their depth; a line without a value ends the block. */
function alignLines(lines: readonly Line[]): string {
  let out = '';
  let block: string[][] = [];
  const flush = (): void => {
    out += new ColumnWriter(2, 0).format(block);
    block = [];
  };
  for (const { indent, key, value } of lines) {
    const name = '  '.repeat(indent) + (key === '' ? '' : `${key}:`);
    if (value === undefined) {
      flush();
      out += `${name}\n`;
    } else block.push([name, value]);
  }
  flush();
  return out;
}
