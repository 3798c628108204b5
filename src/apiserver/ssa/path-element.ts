/** Elements of field paths, kept in the text form of FieldsV1 (meta/v1), so that equal elements are equal strings. */

/**
 * One step into a value: `f:NAME` a member, `k:{"key":…}` a list item by its keys, `v:JSON` a member of a set,
 * `i:N` an item by its place.
 */
export type PathElement = string;

/** A path from the root of an object. */
export type FieldPath = readonly PathElement[];

/** The element of a member. */
export function memberElement(name: string): PathElement {
  return `f:${name}`;
}

/** The element of a list item that is found by the values of its keys; the order of `keys` does not matter. */
export function keyedElement(keys: Readonly<Record<string, unknown>>): PathElement {
  return `k:${canonical(keys)}`;
}

/** The element of a member of a set. */
export function valueElement(value: unknown): PathElement {
  return `v:${canonical(value)}`;
}

/** The member's name; undefined for other elements. */
export function memberName(element: PathElement): string | undefined {
  return element.startsWith('f:') ? element.slice(2) : undefined;
}

/** Reads an element as FieldsV1 has it and brings it into the one form it has here; undefined when it is none. */
export function parseElement(text: string): PathElement | undefined {
  if (text.startsWith('f:')) return text;
  const rest = text.slice(2);
  if (text.startsWith('i:')) return /^\d{1,9}$/u.test(rest) ? text : undefined;
  if (!text.startsWith('k:') && !text.startsWith('v:')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(rest);
  } catch {
    return undefined;
  }
  if (text.startsWith('v:')) return valueElement(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return keyedElement(value as Record<string, unknown>);
}

/** A path as conflicts name it: `.spec.list[name="a"].port`. */
export function formatPath(path: FieldPath): string {
  return path.map((element) => formatElement(element)).join('');
}

function formatElement(element: PathElement): string {
  const rest = element.slice(2);
  if (element.startsWith('f:')) return `.${rest}`;
  if (element.startsWith('i:')) return `[${rest}]`;
  if (element.startsWith('v:')) return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Record<string, unknown>);
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
}

/** JSON with sorted members. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  if (Array.isArray(value)) return `[${value.map((entry) => canonical(entry)).join(',')}]`;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
}
