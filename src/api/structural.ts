/** Pruning and defaulting by a structural schema, as CRDs define them: input is never changed, output shares nothing mutable. */
import type { JsonSchema } from './crd.ts';

/** A field that the schema does not have: its path, `spec.frps.bogus`. */
export type UnknownField = string;

/** Joins a path as error messages show it: `spec.list[0].name`, `labels[a.b/c]` stays with the caller. */
export function fieldPath(parent: string, key: string | number): string {
  if (typeof key === 'number') return `${parent}[${key}]`;
  return parent === '' ? key : `${parent}.${key}`;
}

/**
 * Copies a value without the fields its schema does not know, and without nulls where they are not allowed.
 * Paths of dropped unknown fields are added to `unknown`.
 */
export function prune(schema: JsonSchema, value: unknown, path: string, unknown: UnknownField[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return structuredClone(value);
    return value.map((entry, at) => prune(items, entry, fieldPath(path, at), unknown));
  }
  const { properties, additionalProperties } = schema;
  const keepsUnknown =
    schema['x-kubernetes-preserve-unknown-fields'] === true ||
    (properties === undefined && (additionalProperties === true || additionalProperties === undefined));
  const out: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(value)) {
    const own = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined;
    const known = own ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
    if (known === undefined) {
      if (keepsUnknown) define(out, key, structuredClone(entry));
      else unknown.push(fieldPath(path, key));
    } else if (entry !== null || known.nullable === true) {
      define(out, key, prune(known, entry, fieldPath(path, key), unknown));
    }
  }
  return out;
}

/** Sets an own property also for `__proto__`, which plain assignment would turn into a prototype. */
function define(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
  else target[key] = value;
}

/** Fills in the schema's defaults below `value`, in place; only objects that exist get them. Returns `value`. */
export function applyDefaults<T>(schema: JsonSchema, value: T): T {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) for (const entry of value) applyDefaults(items, entry);
  } else if (typeof value === 'object' && value !== null) {
    const record = value as Record<string, unknown>;
    for (const [key, known] of Object.entries(schema.properties ?? {})) {
      if (record[key] === undefined && known.default !== undefined)
        record[key] = structuredClone(known.default);
      if (record[key] !== undefined) applyDefaults(known, record[key]);
    }
    const { additionalProperties } = schema;
    if (typeof additionalProperties === 'object') {
      for (const entry of Object.values(record)) applyDefaults(additionalProperties, entry);
    }
  }
  return value;
}
