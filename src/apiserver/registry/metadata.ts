/** Object metadata: which fields exist, what they may hold, and which of them clients may set. */
import type { JsonSchema } from '../../api/crd.ts';
import type { ObjectMeta } from '../../api/meta.ts';
import { badRequest } from '../../api/status.ts';
import { prune } from '../../api/structural.ts';
import { isRecord, setMember } from '../../lib/json.ts';

const text: JsonSchema = { type: 'string' };
const texts: JsonSchema = { type: 'object', additionalProperties: text };
const open: JsonSchema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

/** The fields of meta/v1 ObjectMeta, and how their lists divide between owners. */
export const METADATA: JsonSchema = {
  type: 'object',
  properties: {
    name: text,
    generateName: text,
    namespace: text,
    uid: text,
    resourceVersion: text,
    selfLink: text,
    generation: { type: 'integer' },
    creationTimestamp: text,
    deletionTimestamp: text,
    deletionGracePeriodSeconds: { type: 'integer' },
    labels: texts,
    annotations: texts,
    finalizers: { type: 'array', items: text, 'x-kubernetes-list-type': 'set' },
    ownerReferences: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['uid'],
      items: {
        type: 'object',
        'x-kubernetes-map-type': 'atomic',
        properties: {
          apiVersion: text,
          kind: text,
          name: text,
          uid: text,
          controller: { type: 'boolean' },
          blockOwnerDeletion: { type: 'boolean' },
        },
      },
    },
    managedFields: { type: 'array', items: open },
  },
};

const TIMES: ReadonlySet<string> = new Set(['creationTimestamp', 'deletionTimestamp']);

/** Its fields one by one. */
const METADATA_FIELDS: readonly (readonly [string, JsonSchema])[] = Object.entries(METADATA.properties ?? {});

function decodeFailure(kind: string, field: string, wanted: string, value: unknown): Error {
  const got = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
  return undecodable(
    kind,
    `json: cannot unmarshal ${got} into Go struct field ObjectMeta.${field} of type ${wanted}`,
  );
}

function undecodable(kind: string, why: string): Error {
  return badRequest(`${kind} in version "v1" cannot be handled as a ${kind}: ${why}`);
}

/**
 * Copies the known metadata fields with the right types; throws a 400 Status for wrong types. Fields that are those of `stored`,
 * not equal but the same, went through this before and stay as they are.
 */
export function decodeMetadata(
  kind: string,
  value: unknown,
  unknown: string[],
  stored: ObjectMeta = {},
): ObjectMeta {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw undecodable(
      kind,
      `json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} into Go value of type v1.ObjectMeta`,
    );
  }
  const [given, own] = [value as Record<string, unknown>, stored as Record<string, unknown>];
  const news: Record<string, unknown> = {};
  const kept: Record<string, unknown> = {};
  for (const key in given) {
    const entry = given[key];
    if (Object.hasOwn(own, key) && entry === own[key]) kept[key] = entry;
    else setMember(news, key, withoutNulls(key, entry));
  }
  const pruned = prune(METADATA, news, 'metadata', unknown) as Record<string, unknown>;
  for (const [key, schema] of METADATA_FIELDS) {
    const entry = pruned[key];
    if (entry === undefined) continue;
    checkType(kind, key, schema, entry);
    if (TIMES.has(key)) checkTime(kind, key, entry);
  }
  return Object.assign(kept, pruned);
}

/** The values of labels and annotations that are null are empty texts to the reference, and stay. */
function withoutNulls(key: string, map: unknown): unknown {
  if ((key !== 'labels' && key !== 'annotations') || !isRecord(map) || !hasNulls(map)) return map;
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, value ?? '']));
}

function hasNulls(map: Record<string, unknown>): boolean {
  for (const name in map) if (map[name] === null) return true;
  return false;
}

function checkTime(kind: string, key: string, time: unknown): void {
  if (typeof time !== 'string' || isTime(time)) return;
  throw undecodable(
    kind,
    `parsing time ${JSON.stringify(time)} as "2006-01-02T15:04:05Z07:00": metadata.${key} is not in this form`,
  );
}

function isTime(text: string): boolean {
  return (
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/u.test(text) &&
    !Number.isNaN(Date.parse(text))
  );
}

function checkType(kind: string, field: string, schema: JsonSchema, value: unknown): void {
  if (schema.type === 'array') {
    if (!Array.isArray(value)) throw decodeFailure(kind, field, '[]string', value);
    for (const entry of value) if (schema.items !== undefined) checkType(kind, field, schema.items, entry);
  } else if (schema.type === 'object') {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw decodeFailure(kind, field, 'map[string]string', value);
    }
    for (const [key, entry] of Object.entries(value)) {
      const known = schema.properties?.[key] ?? (schema.additionalProperties as JsonSchema | undefined);
      if (known !== undefined) checkType(kind, field, known, entry);
    }
  } else if (schema.type === 'integer' ? !Number.isInteger(value) : typeof value !== schema.type) {
    throw decodeFailure(kind, field, schema.type === 'integer' ? 'int64' : String(schema.type), value);
  }
}
