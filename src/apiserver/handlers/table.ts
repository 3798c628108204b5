/** Tables, what `kubectl get` prints (meta/v1 Table): cells from the kind's columns, ages already rendered. */
import { formatAge } from '../../api/age.ts';
import type { KubeObject } from '../../api/meta.ts';
import type { Column, Resource } from '../registry/resources.ts';

/** What a row carries besides its cells (`includeObject`). */
export type RowObject = 'None' | 'Metadata' | 'Object';

/** A meta/v1 Table. */
export interface Table {
  kind: 'Table';
  apiVersion: string;
  metadata: Record<string, unknown>;
  columnDefinitions: unknown[] | null;
  rows: unknown[];
}

function columnDefinitions(resource: Resource): unknown[] {
  return [
    {
      name: 'Name',
      type: 'string',
      format: 'name',
      description: 'The name of the object, unique within its kind.',
      priority: 0,
    },
    ...resource.columns.map(({ definition: column }) => ({
      name: column.name,
      type: column.type,
      format: column.format ?? '',
      description:
        column.description ?? `Custom resource definition column (in JSONPath format): ${column.jsonPath}`,
      priority: column.priority ?? 0,
    })),
  ];
}

function cell(column: Column, object: KubeObject, now: number): unknown {
  const value = column.path(object)[0];
  if (value === undefined || value === null) return null;
  switch (column.definition.type) {
    case 'date': {
      const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
      return Number.isNaN(time) ? '<unknown>' : formatAge(now - time);
    }
    case 'integer':
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    default:
      return typeof value === 'string' ? value : JSON.stringify(value);
  }
}

/** The metadata-only form of an object (meta/v1 PartialObjectMetadata). */
export function partialObject(object: KubeObject, apiVersion = 'meta.k8s.io/v1'): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion, metadata: object.metadata };
}

/** How a Table is made. */
export interface TableOptions {
  /** resourceVersion, and of a list how it goes on. */
  metadata: Record<string, unknown>;
  rowObject: RowObject;
  now: Date;
  /** Leaves the definitions out when false, as all events of a watch but the first do. */
  hasColumns?: boolean;
  /** `meta.k8s.io/v1` when absent. */
  apiVersion?: string;
}

function tableRow(
  resource: Resource,
  object: KubeObject,
  { rowObject, now, apiVersion }: TableOptions,
): unknown {
  const time = now.getTime();
  const cells = [object.metadata.name, ...resource.columns.map((column) => cell(column, object, time))];
  if (rowObject === 'None') return { cells, object: null };
  return { cells, object: rowObject === 'Object' ? object : partialObject(object, apiVersion) };
}

/** A Table of objects. */
export function createTable(
  resource: Resource,
  objects: readonly KubeObject[],
  options: TableOptions,
): Table {
  return {
    kind: 'Table',
    apiVersion: options.apiVersion ?? 'meta.k8s.io/v1',
    metadata: options.metadata,
    columnDefinitions: options.hasColumns === false ? null : columnDefinitions(resource),
    rows: objects.map((object) => tableRow(resource, object, options)),
  };
}
