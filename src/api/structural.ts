/** Pruning and defaulting by a structural schema, as CRDs define them: input is never changed, output shares nothing mutable. */
import { copyJson, setMember } from '../lib/json.ts';
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
  return pruneAt(schema, value, [path], unknown);
}

/** As prune; `trail` are the parts of the path, which is only joined for what is unknown. */
function pruneAt(
  schema: JsonSchema,
  value: unknown,
  trail: (string | number)[],
  unknown: UnknownField[],
): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return copyJson(value);
    return value.map((entry, at) => {
      trail.push(at);
      const pruned = pruneAt(items, entry, trail, unknown);
      trail.pop();
      return pruned;
    });
  }
  const { properties, additionalProperties } = schema;
  const keepsUnknown =
    schema['x-kubernetes-preserve-unknown-fields'] === true ||
    (properties === undefined && (additionalProperties === true || additionalProperties === undefined));
  const out: Record<string, unknown> = {};
  for (const key in value) {
    const entry = (value as Record<string, unknown>)[key];
    const own = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined;
    const known = own ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
    if (known === undefined) {
      if (keepsUnknown) setMember(out, key, copyJson(entry));
      else unknown.push([...trail, key].reduce<string>(fieldPath, ''));
    } else if (entry !== null || known.nullable === true) {
      trail.push(key);
      setMember(out, key, pruneAt(known, entry, trail, unknown));
      trail.pop();
    }
  }
  return out;
}

/** What there is to fill in below a schema. */
interface Defaulted {
  /** The properties that have a default, or have some below. */
  properties: readonly (readonly [string, JsonSchema])[];
  items: JsonSchema | undefined;
  additional: JsonSchema | undefined;
}

/** By schema; schemas never change. Undefined for those without any default. */
const defaulted = new WeakMap<JsonSchema, Defaulted | undefined>();

function defaultsBelow(schema: JsonSchema): Defaulted | undefined {
  if (defaulted.has(schema)) return defaulted.get(schema);
  const { items, additionalProperties } = schema;
  const properties = Object.entries(schema.properties ?? {}).filter(
    ([, known]) => known.default !== undefined || defaultsBelow(known) !== undefined,
  );
  const below = (known: unknown): JsonSchema | undefined =>
    typeof known === 'object' && defaultsBelow(known as JsonSchema) !== undefined
      ? (known as JsonSchema)
      : undefined;
  const found = { properties, items: below(items), additional: below(additionalProperties) };
  const isNone = properties.length === 0 && found.items === undefined && found.additional === undefined;
  defaulted.set(schema, isNone ? undefined : found);
  return defaulted.get(schema);
}

/** Fills in the schema's defaults below `value`, in place; only objects that exist get them. Returns `value`. */
export function applyDefaults<T>(schema: JsonSchema, value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  const below = defaultsBelow(schema);
  if (below === undefined) return value;
  const { properties, items, additional } = below;
  if (Array.isArray(value)) {
    if (items !== undefined) for (const entry of value) applyDefaults(items, entry);
    return value;
  }
  const record = value as Record<string, unknown>;
  for (const [key, known] of properties) {
    if (record[key] === undefined && known.default !== undefined) record[key] = copyJson(known.default);
    applyDefaults(known, record[key]);
  }
  if (additional !== undefined) for (const entry of Object.values(record)) applyDefaults(additional, entry);
  return value;
}
