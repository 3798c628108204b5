/** Prints objects whole or in part: json, yaml, name, jsonpath, custom columns. */
import type { KubeObject } from '../../../api/meta.ts';
import { UsageError } from '../../../lib/errors.ts';
import { readTextFile } from '../../options.ts';
import { ColumnWriter } from './columns.ts';
import { compileRelaxedPath, compileTemplate, valueText } from './jsonpath.ts';
import { sortKeys } from './sort-keys.ts';

/** Prints one object, or the List that stands for several; returns the text. */
export type ObjectPrinter = (object: unknown) => string;

/** How objects are printed. */
export interface PrintOptions {
  /** Keep metadata.managedFields. */
  isManagedShown?: boolean;
  hasHeaders?: boolean;
}

const FORMATS = [
  'json',
  'yaml',
  'name',
  'wide',
  'jsonpath',
  'jsonpath-as-json',
  'custom-columns',
  'custom-columns-file',
];

/** The printer of an `-o` value; undefined for the human forms (none, `wide`). Throws UsageError. */
export async function objectPrinter(
  output: string | undefined,
  options: PrintOptions = {},
): Promise<ObjectPrinter | undefined> {
  if (output === undefined || output === '' || output === 'wide') return undefined;
  const at = output.indexOf('=');
  const format = at === -1 ? output : output.slice(0, at);
  const argument = at === -1 ? undefined : output.slice(at + 1);
  const prepare = (object: unknown) =>
    sortKeys(options.isManagedShown === true ? object : withoutManaged(object));
  switch (format) {
    case 'json':
      return (object) => `${JSON.stringify(prepare(object), undefined, 4)}\n`;
    case 'yaml': {
      const { formatYaml } = await import('../../../lib/yaml.ts');
      return (object) => formatYaml(prepare(object));
    }
    case 'name':
      return (object) =>
        itemsOf(object)
          .map((item) => `${qualifiedName(item)}\n`)
          .join('');
    case 'jsonpath':
    case 'jsonpath-as-json': {
      if (argument === undefined || argument === '')
        throw new UsageError('template format specified but no template given');
      if (format === 'jsonpath') return compileTemplate(argument);
      const path = compileRelaxedPath(argument);
      return (object) => `${JSON.stringify(path(object), undefined, 4)}\n`;
    }
    case 'custom-columns':
    case 'custom-columns-file':
      return columnPrinter(
        format === 'custom-columns' ? argument : columnsOfFile(argument),
        options.hasHeaders ?? true,
      );
    default:
      throw new UsageError(
        `unable to match a printer suitable for the output format "${format}", allowed formats are: ${FORMATS.join(',')}`,
      );
  }
}

/** `router.edge.example.com/NAME`. */
export function qualifiedName(object: KubeObject): string {
  const group = object.apiVersion.includes('/') ? `.${object.apiVersion.split('/', 1)[0] ?? ''}` : '';
  return `${object.kind.toLowerCase()}${group}/${object.metadata.name ?? ''}`;
}

/** Several objects as the List that kubectl prints. */
export function listOf(items: readonly unknown[]): unknown {
  return { apiVersion: 'v1', items, kind: 'List', metadata: { resourceVersion: '' } };
}

function itemsOf(object: unknown): KubeObject[] {
  const { items } = object as { items?: KubeObject[] };
  return Array.isArray(items) ? items : [object as KubeObject];
}

function withoutManaged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { items } = value as { items?: unknown[] };
  if (Array.isArray(items)) return { ...value, items: items.map(withoutManaged) };
  const { metadata } = value as { metadata?: Record<string, unknown> };
  if (metadata === undefined) return value;
  const { managedFields: _managed, ...rest } = metadata;
  return { ...value, metadata: rest };
}

function columnsOfFile(path: string | undefined): string {
  const lines = readTextFile(path ?? '', 'custom-columns-file').split('\n');
  const headers = (lines[0] ?? '').trim().split(/\s+/u);
  const paths = (lines[1] ?? '').trim().split(/\s+/u);
  return headers.map((header, at) => `${header}:${paths[at] ?? ''}`).join(',');
}

function columnPrinter(spec: string | undefined, hasHeaders: boolean): ObjectPrinter {
  if (spec === undefined || spec === '')
    throw new UsageError('custom-columns format specified but no custom columns given');
  // a comma inside brackets belongs to the path
  const columns = spec.split(/,(?![^[]*\])/u).map((part) => {
    const at = part.indexOf(':');
    if (at <= 0 || at === part.length - 1) {
      throw new UsageError(`unexpected custom-columns spec: ${part}, expected <header>:<json-path-expr>`);
    }
    return { header: part.slice(0, at), path: compileRelaxedPath(part.slice(at + 1)) };
  });
  const writer = new ColumnWriter();
  let isFirst = hasHeaders;
  return (object) => {
    const rows = itemsOf(object).map((item) =>
      columns.map(({ path }) => {
        const values = path(item).filter((value) => value !== undefined && value !== null);
        return values.length === 0 ? '<none>' : values.map(valueText).join(',');
      }),
    );
    const header = isFirst ? [columns.map((column) => column.header)] : [];
    isFirst = false;
    return writer.format([...header, ...rows]);
  };
}
