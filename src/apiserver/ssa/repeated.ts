/** Finds what makes a configuration ambiguous: items of a list that nothing tells apart. */
import type { JsonSchema } from '../../api/crd.ts';
import { itemElement, memberSchema, shapeOf } from './field-schema.ts';
import { formatPath, memberElement } from './path-element.ts';
import type { FieldPath, PathElement } from './path-element.ts';
import { isRecord } from '../../lib/json.ts';

/** What is wrong with the first list that has an item twice, or an item without keys; undefined when none has. */
export function repeatedItem(
  schema: JsonSchema | undefined,
  value: unknown,
  path: FieldPath = [],
): string | undefined {
  const shape = shapeOf(schema, value);
  if (shape === 'items') return repeatedIn(schema, value as readonly unknown[], path);
  if (shape !== 'map' || !isRecord(value)) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const found = repeatedItem(memberSchema(schema, name).schema, member, [...path, memberElement(name)]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function repeatedIn(
  schema: JsonSchema | undefined,
  list: readonly unknown[],
  path: FieldPath,
): string | undefined {
  const seen = new Set<PathElement>();
  for (const [at, item] of list.entries()) {
    if (schema?.['x-kubernetes-list-type'] === 'map' && item === null)
      return `${formatPath(path)}: element ${at}: associative list with keys may not have a null element`;
    const element = itemElement(schema, item);
    if (seen.has(element)) return `${formatPath(path)}: duplicate entries for key ${formatPath([element])}`;
    seen.add(element);
    const found = repeatedItem(schema?.items, item, [...path, element]);
    if (found !== undefined) return found;
  }
  return undefined;
}
