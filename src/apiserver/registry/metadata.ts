/** Object metadata: which fields exist, what they may hold, and which of them clients may set. */
import type { JsonSchema } from '../../api/crd.ts';
import type { ObjectMeta } from '../../api/meta.ts';
import { isLabelValue, isQualifiedName } from '../../api/selectors.ts';
import { badRequest } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import { prune } from '../../api/structural.ts';

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

const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/u;
const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_TEXT =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_TEXT =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/** Of all keys and values together, bytes. */
const MAX_ANNOTATION_BYTES = 262_144;

/** Whether a text may name an object: a DNS-1123 subdomain of up to 253 characters. */
export function isObjectName(name: string): boolean {
  return name.length <= 253 && SUBDOMAIN.test(name);
}

function decodeFailure(kind: string, field: string, wanted: string, value: unknown): Error {
  const got = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
  return badRequest(
    `${kind} in version "v1" cannot be handled as a ${kind}: json: cannot unmarshal ${got} into Go struct field ObjectMeta.metadata.${field} of type ${wanted}`,
  );
}

/** Copies the known metadata fields with the right types; throws a 400 Status for wrong types. */
export function decodeMetadata(kind: string, value: unknown, unknown: string[]): ObjectMeta {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value))
    throw decodeFailure(kind, '', 'v1.ObjectMeta', value);
  const pruned = prune(METADATA, value, 'metadata', unknown) as Record<string, unknown>;
  for (const [key, schema] of Object.entries(METADATA.properties ?? {})) {
    const entry = pruned[key];
    if (entry !== undefined) checkType(kind, key, schema, entry);
  }
  return pruned;
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

/** All problems of the metadata that clients set. */
export function validateMetadata(metadata: ObjectMeta): StatusCause[] {
  const causes: StatusCause[] = [];
  const wrong = (field: string, value: string, why: string): void => {
    causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
      field,
    });
  };
  const { name, generateName } = metadata;
  if (name === undefined || name === '') {
    causes.push({
      reason: 'FieldValueRequired',
      message: 'Required value: name or generateName is required',
      field: 'metadata.name',
    });
  } else if (!isObjectName(name)) {
    wrong(
      generateName === undefined ? 'metadata.name' : 'metadata.generateName',
      generateName ?? name,
      name.length > 253 ? 'must be no more than 253 characters' : SUBDOMAIN_TEXT,
    );
  }
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (!isQualifiedName(key)) wrong('metadata.labels', key, QUALIFIED_TEXT);
    if (!isLabelValue(value)) {
      wrong(
        'metadata.labels',
        value,
        value.length > 63 ? 'must be no more than 63 characters' : LABEL_VALUE_TEXT,
      );
    }
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    if (!isQualifiedName(key)) wrong('metadata.annotations', key, QUALIFIED_TEXT);
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > MAX_ANNOTATION_BYTES) {
    causes.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes`,
      field: 'metadata.annotations',
    });
  }
  metadata.finalizers?.forEach((finalizer, at) => {
    if (!isQualifiedName(finalizer)) wrong(`metadata.finalizers[${at}]`, finalizer, QUALIFIED_TEXT);
  });
  metadata.ownerReferences?.forEach((owner, at) => {
    for (const key of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if ((owner[key] ?? '') === '') {
        causes.push({
          reason: 'FieldValueInvalid',
          message: `Invalid value: "": ${key} must not be empty`,
          field: `metadata.ownerReferences[${at}].${key}`,
        });
      }
    }
  });
  return causes;
}
