/** Which fields a value has, and which differ between two values; by schema, without looking at owners. */
import type { JsonSchema } from '../../api/crd.ts';
import { isEqualJson, isRecord } from '../../lib/json.ts';
import { itemsByElement, memberSchema, shapeOf } from './field-schema.ts';
import { FieldSet } from './field-set.ts';
import { memberElement } from './path-element.ts';
import type { FieldPath } from './path-element.ts';

/** The fields of a value: leaves, list items, keys of maps, and whatever is empty or null. */
export function fieldsOf(schema: JsonSchema, value: unknown): FieldSet {
  const paths: FieldPath[] = [];
  collect(schema, value, [], paths);
  return FieldSet.of(paths);
}

function collect(schema: JsonSchema | undefined, value: unknown, path: FieldPath, paths: FieldPath[]): void {
  const shape = shapeOf(schema, value);
  if (shape === 'leaf') paths.push(path);
  else if (shape === 'items') {
    for (const [element, item] of itemsByElement(schema, value as unknown[])) {
      const at = [...path, element];
      paths.push(at);
      collect(schema?.items, item, at, paths);
    }
  } else {
    for (const [name, member] of Object.entries(value as object)) {
      const known = memberSchema(schema, name);
      const at = [...path, memberElement(name)];
      collect(known.schema, member, at, paths);
      const isBare = member === null || (isRecord(member) && Object.keys(member).length === 0);
      if (isBare || !known.isNamed) paths.push(at);
    }
  }
}

/** What became of the fields between two values. Containers that came or went are in the sets too. */
export interface Comparison {
  added: FieldSet;
  modified: FieldSet;
  removed: FieldSet;
}

/** Compares two values of a schema. */
export function compareFields(schema: JsonSchema, before: unknown, after: unknown): Comparison {
  const found: Found = { added: [], modified: [], removed: [] };
  compare(schema, before, after, [], found);
  return {
    added: FieldSet.of(found.added),
    modified: FieldSet.of(found.modified),
    removed: FieldSet.of(found.removed),
  };
}

interface Found {
  added: FieldPath[];
  modified: FieldPath[];
  removed: FieldPath[];
}

function isBareContainer(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return value === undefined || value === null || (isRecord(value) && Object.keys(value).length === 0);
}

function compare(
  schema: JsonSchema | undefined,
  before: unknown,
  after: unknown,
  path: FieldPath,
  found: Found,
): void {
  if (before === undefined) found.added.push(path);
  if (after === undefined) found.removed.push(path);
  const shape = shapeOf(schema, after ?? before);
  const isOtherShape = before !== undefined && after !== undefined && shapeOf(schema, before) !== shape;
  if (shape === 'leaf' || isOtherShape || (isBareContainer(before) && isBareContainer(after))) {
    if (before !== undefined && after !== undefined && !isEqualJson(before, after)) found.modified.push(path);
    return;
  }
  if (shape === 'map') compareMembers(schema, before, after, path, found);
  else compareItems(schema, before, after, path, found);
}

/** Most of an object is the same before and after a write: nothing is made for that part. */
function compareMembers(
  schema: JsonSchema | undefined,
  before: unknown,
  after: unknown,
  path: FieldPath,
  found: Found,
): void {
  const old = isRecord(before) ? before : {};
  const now = isRecord(after) ? after : {};
  const compareMember = (name: string, ours: unknown, theirs: unknown): void => {
    if (isEqualJson(ours, theirs)) return;
    compare(memberSchema(schema, name).schema, ours, theirs, [...path, memberElement(name)], found);
  };
  for (const name in old) compareMember(name, old[name], Object.hasOwn(now, name) ? now[name] : undefined);
  for (const name in now) if (!Object.hasOwn(old, name)) compareMember(name, undefined, now[name]);
}

function compareItems(
  schema: JsonSchema | undefined,
  before: unknown,
  after: unknown,
  path: FieldPath,
  found: Found,
): void {
  const old = itemsByElement(schema, Array.isArray(before) ? before : []);
  const now = itemsByElement(schema, Array.isArray(after) ? after : []);
  for (const element of new Set([...old.keys(), ...now.keys()]))
    compare(schema?.items, old.get(element), now.get(element), [...path, element], found);
}
