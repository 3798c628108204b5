/** Merging of a configuration into a value and removing fields from it; inputs are never changed. */
import type { JsonSchema } from '../../api/crd.ts';
import { itemElement, itemsByElement, memberSchema, shapeOf } from './field-schema.ts';
import { FieldSet } from './field-set.ts';
import { memberElement, memberName } from './path-element.ts';
import type { PathElement } from './path-element.ts';

/** Merges by schema: maps by member, list-maps by key, sets by value; everything else is replaced. */
export function mergeConfiguration(schema: JsonSchema | undefined, live: unknown, config: unknown): unknown {
  if (live === undefined || config === undefined) return config ?? live;
  const shape = shapeOf(schema, config);
  if (shape === 'leaf' || shapeOf(schema, live) !== shape) return config;
  if (shape === 'items') return mergeItems(schema, live as unknown[], config as unknown[]);
  const merged = new Map(Object.entries(live as object) as [string, unknown][]);
  for (const [name, member] of Object.entries(config as object)) {
    merged.set(name, mergeConfiguration(memberSchema(schema, name).schema, merged.get(name), member));
  }
  return Object.fromEntries(merged); // defines own properties, __proto__ too
}

/**
 * Items of both lists. Shared items take the configuration's order; live items that it does not name keep their
 * place among them; new items stand before the next shared one.
 */
function mergeItems(
  schema: JsonSchema | undefined,
  live: readonly unknown[],
  config: readonly unknown[],
): unknown[] {
  const ours = itemsByElement(schema, live);
  const theirs = itemsByElement(schema, config);
  const queue = [...theirs.keys()];
  const merged: unknown[] = [];
  const take = (element: PathElement): void => {
    merged.push(mergeConfiguration(schema?.items, ours.get(element), theirs.get(element)));
  };
  const shared = queue.filter((element) => ours.has(element));
  let next = 0;
  let nextShared = 0;
  for (const element of ours.keys()) {
    if (!theirs.has(element)) take(element);
    else if (element === shared[nextShared]) {
      nextShared++;
      do take(queue[next] ?? element);
      while (queue[next++] !== element);
    } // else it comes, or came, in the configuration's order
  }
  for (const element of queue.slice(next)) take(element);
  return merged;
}

/** Removes the fields of a set, and what lies below them. A container that loses its last member is null. */
export function removeFields(schema: JsonSchema | undefined, value: unknown, fields: FieldSet): unknown {
  const shape = shapeOf(schema, value);
  if (shape === 'leaf' || fields.isEmpty) return value;
  if (shape === 'items') {
    const list = value as unknown[];
    const kept = list.flatMap((item) => {
      const element = itemElement(schema, item);
      if (fields.members.has(element)) return [];
      const below = fields.children.get(element);
      return [below === undefined ? item : removeFields(schema?.items, item, below)];
    });
    return kept.length === 0 && list.length > 0 ? null : kept;
  }
  const entries = Object.entries(value as object) as [string, unknown][];
  const kept: [string, unknown][] = [];
  for (const [name, member] of entries) {
    const element = memberElement(name);
    if (fields.members.has(element)) continue;
    const below = fields.children.get(element);
    kept.push([
      name,
      below === undefined ? member : removeFields(memberSchema(schema, name).schema, member, below),
    ]);
  }
  return kept.length === 0 && entries.length > 0 ? null : Object.fromEntries(kept);
}

/** Adds to a set the fields above its members that the schema names; keys of maps are left out. */
export function withNamedFields(schema: JsonSchema | undefined, set: FieldSet): FieldSet {
  const members = new Set(set.members);
  const children: [PathElement, FieldSet][] = [];
  for (const [element, child] of set.children) {
    const name = memberName(element);
    if (name === undefined) {
      children.push([element, withNamedFields(schema?.items, child)]);
      continue;
    }
    const known = memberSchema(schema, name);
    if (known.isNamed) members.add(element);
    children.push([element, withNamedFields(known.schema, child)]);
  }
  return FieldSet.node(members, children);
}
