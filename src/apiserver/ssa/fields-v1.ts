/** FieldsV1, the stored form of field sets (meta/v1): nested objects whose keys are path elements. */
import { FieldSet } from './field-set.ts';
import { parseElement } from './path-element.ts';
import type { PathElement } from './path-element.ts';

/** Deeper than any schema here; bounds the recursion over what clients send. */
const MAX_DEPTH = 100;

/** What was written of a set; neither it nor the set ever changes. An owner has the same one for many writes. */
const written = new WeakMap<FieldSet, Record<string, unknown>>();

/** Writes a set; its members are sorted, so equal sets give equal texts. The result is shared. */
export function encodeFields(set: FieldSet): Record<string, unknown> {
  let fields = written.get(set);
  if (fields === undefined) written.set(set, (fields = writeFields(set)));
  return fields;
}

function writeFields(set: FieldSet): Record<string, unknown> {
  const out: [string, unknown][] = [];
  for (const element of [...new Set([...set.members, ...set.children.keys()])].sort()) {
    const child = set.children.get(element);
    const below = child === undefined ? {} : writeFields(child);
    const isBoth = child !== undefined && set.members.has(element);
    out.push([element, isBoth ? { '.': {}, ...below } : below]);
  }
  return Object.fromEntries(out);
}

/** Reads a set; undefined when the value is not FieldsV1. */
export function decodeFields(value: unknown, depth = 0): FieldSet | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || depth > MAX_DEPTH)
    return undefined;
  const members: PathElement[] = [];
  const children: [PathElement, FieldSet][] = [];
  for (const [key, below] of Object.entries(value)) {
    if (key === '.') continue; // said by the level above
    const element = parseElement(key);
    const child = decodeFields(below, depth + 1);
    if (element === undefined || child === undefined) return undefined;
    if (child.isEmpty || Object.hasOwn(below as object, '.')) members.push(element);
    children.push([element, child]);
  }
  return FieldSet.node(members, children);
}
