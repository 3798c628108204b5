/** Tables, what `kubectl get` prints (meta/v1 Table): cells from the kind's columns, ages already rendered. */
import { formatAge } from '../../api/age.ts';
import type { KubeObject } from '../../api/meta.ts';
import type { Column, Resource } from '../registry/resources.ts';
import type { StoredObject } from '../store/store.ts';

/** What a row carries besides its cells (`includeObject`). */
export type RowObject = 'None' | 'Metadata' | 'Object';

/** A meta/v1 Table. */
export interface Table {
  kind: 'Table';
  apiVersion: 'meta.k8s.io/v1';
  metadata: Record<string, unknown>;
  columnDefinitions?: unknown[];
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
      description: column.description ?? `${column.name} of the ${resource.kind}.`,
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
export function partialObject(object: KubeObject): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

/** One row of a Table. */
export function tableRow(resource: Resource, object: KubeObject, rowObject: RowObject, now: Date): unknown {
  const time = now.getTime();
  const cells = [object.metadata.name, ...resource.columns.map((column) => cell(column, object, time))];
  if (rowObject === 'None') return { cells };
  return { cells, object: rowObject === 'Object' ? object : partialObject(object) };
}

/** A Table of objects. `metadata` carries resourceVersion and continue; without `hasColumns` the definitions are left out. */
export function createTable(
  resource: Resource,
  objects: readonly StoredObject[],
  options: { metadata: Record<string, unknown>; rowObject: RowObject; now: Date; hasColumns?: boolean },
): Table {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.metadata,
    ...(options.hasColumns === false ? {} : { columnDefinitions: columnDefinitions(resource) }),
    rows: objects.map((stored) => tableRow(resource, stored.object, options.rowObject, options.now)),
  };
}
