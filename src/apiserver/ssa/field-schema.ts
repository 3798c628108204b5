/** How a schema divides a value into fields that can have different owners (x-kubernetes-list-type and -map-type). */
import type { JsonSchema } from '../../api/crd.ts';
import { keyedElement, valueElement } from './path-element.ts';
import type { PathElement } from './path-element.ts';
import { isRecord } from '../../lib/json.ts';

/** `leaf`: owned as a whole. `map`: members. `items`: a list whose items are found by keys or by value. */
export type Shape = 'leaf' | 'map' | 'items';

/** How to look at a value. A value that is not what the schema says is a leaf; validation refuses it later. */
export function shapeOf(schema: JsonSchema | undefined, value: unknown): Shape {
  if (isRecord(value)) return schema?.['x-kubernetes-map-type'] === 'atomic' ? 'leaf' : 'map';
  if (!Array.isArray(value)) return 'leaf';
  const listType = schema?.['x-kubernetes-list-type'];
  return listType === 'map' || listType === 'set' ? 'items' : 'leaf';
}

/** The schema of a member; `isNamed` says that the schema lists it, so that it is a field and not a map's key. */
export function memberSchema(
  schema: JsonSchema | undefined,
  name: string,
): { schema: JsonSchema | undefined; isNamed: boolean } {
  const { properties, additionalProperties } = schema ?? {};
  if (properties !== undefined && Object.hasOwn(properties, name))
    return { schema: properties[name], isNamed: true };
  return {
    schema: typeof additionalProperties === 'object' ? additionalProperties : undefined,
    isNamed: false,
  };
}

/** The element that finds an item of a list-map or set. */
export function itemElement(schema: JsonSchema | undefined, item: unknown): PathElement {
  if (schema?.['x-kubernetes-list-type'] !== 'map') return valueElement(item);
  const record = isRecord(item) ? item : {};
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const properties = schema.items?.properties;
  return keyedElement(
    Object.fromEntries(keys.map((key) => [key, record[key] ?? properties?.[key]?.default ?? null])),
  );
}

/** The items of a list by element, in order; of repeated ones the first. */
export function itemsByElement(
  schema: JsonSchema | undefined,
  list: readonly unknown[],
): Map<PathElement, unknown> {
  const items = new Map<PathElement, unknown>();
  for (const item of list) {
    const element = itemElement(schema, item);
    if (!items.has(element)) items.set(element, item);
  }
  return items;
}
