/** Object metadata: which fields exist, what they may hold, and which of them clients may set. */
import type { JsonSchema } from '../../api/crd.ts';
import type { ObjectMeta } from '../../api/meta.ts';
import { badRequest } from '../../api/status.ts';
import { prune } from '../../api/structural.ts';
import { isRecord } from '../../lib/json.ts';

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

/** Copies the known metadata fields with the right types; throws a 400 Status for wrong types. */
export function decodeMetadata(kind: string, value: unknown, unknown: string[]): ObjectMeta {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw undecodable(
      kind,
      `json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} into Go value of type v1.ObjectMeta`,
    );
  }
  const pruned = prune(METADATA, withoutNulls(value), 'metadata', unknown) as Record<string, unknown>;
  for (const [key, schema] of METADATA_FIELDS) {
    const entry = pruned[key];
    if (entry !== undefined) checkType(kind, key, schema, entry);
  }
  for (const key of ['creationTimestamp', 'deletionTimestamp']) {
    const time = pruned[key];
    if (typeof time === 'string' && !isTime(time)) {
      throw undecodable(
        kind,
        `parsing time ${JSON.stringify(time)} as "2006-01-02T15:04:05Z07:00": metadata.${key} is not in this form`,
      );
    }
  }
  return pruned;
}

/** The values of labels and annotations that are null are empty texts to the reference, and stay. */
function withoutNulls(metadata: object): object {
  const { labels, annotations } = metadata as { labels?: unknown; annotations?: unknown };
  if (!hasNulls(labels) && !hasNulls(annotations)) return metadata;
  const out: Record<string, unknown> = { ...metadata };
  for (const [key, map] of Object.entries({ labels, annotations })) {
    if (!isRecord(map)) continue;
    out[key] = Object.fromEntries(Object.entries(map).map(([name, value]) => [name, value ?? '']));
  }
  return out;
}

function hasNulls(map: unknown): boolean {
  if (isRecord(map)) for (const name in map) if (map[name] === null) return true;
  return false;
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
