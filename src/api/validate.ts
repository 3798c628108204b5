/** Schema validation with Kubernetes' words: every error at once, each with its field path. Wraps ajv. */
import { Ajv } from 'ajv';
import type { ErrorObject, ValidateFunction } from 'ajv';
import type { JsonSchema } from './crd.ts';
import type { StatusCause } from './status.ts';
import { fieldPath } from './structural.ts';

/** Checks a value; an empty list means that it is valid. */
export type Validator = (value: unknown, path: string) => StatusCause[];

/** More errors than this help nobody, and a hostile list of 10000 wrong entries must not become a 5 MB answer. */
const MAX_CAUSES = 100;

const DATE_TIME = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/u;

/** Creates a validator for a structural schema. */
export function createValidator(schema: JsonSchema): Validator {
  let check: ValidateFunction | undefined;
  return (value, path) => {
    // compiled on first use: a server that only reads never pays for it
    check ??= compile(schema);
    const causes = check(value)
      ? []
      : (check.errors ?? []).slice(0, MAX_CAUSES).map((error) => toCause(error, path));
    if (causes.length < MAX_CAUSES) findDuplicates(schema, value, path, causes);
    return causes;
  };
}

function compile(schema: JsonSchema): ValidateFunction {
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: false, useDefaults: false, logger: false });
  ajv.addFormat('date-time', {
    validate: (text: string) => DATE_TIME.test(text) && !Number.isNaN(Date.parse(text)),
  });
  for (const format of ['int32', 'int64', 'byte', 'password', 'float', 'double']) ajv.addFormat(format, true);
  return ajv.compile(schema);
}

/** `/spec/list/0/name` as `spec.list[0].name`, below `base`. */
function dotted(base: string, pointer: string): string {
  let path = base;
  for (const token of pointer.split('/').slice(1)) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~');
    path = /^\d+$/u.test(key) ? fieldPath(path, Number(key)) : fieldPath(path, key);
  }
  return path;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function toCause(error: ErrorObject, base: string): StatusCause {
  const field = dotted(base, error.instancePath);
  const cause = (reason: string, message: string, at = field): StatusCause => ({
    reason,
    message,
    field: at,
  });
  const invalidValue = (why: string) =>
    cause('FieldValueInvalid', `Invalid value: ${shown(error.data)}: ${field} in body ${why}`);
  const params = error.params as Record<string, unknown>;
  const limit = String(params['limit']);
  switch (error.keyword) {
    case 'required':
      return cause(
        'FieldValueRequired',
        'Required value',
        fieldPath(field, String(params['missingProperty'])),
      );
    case 'type':
      return cause(
        'FieldValueTypeInvalid',
        `Invalid value: "${typeName(error.data)}": ${field} in body must be of type ${String(params['type'])}: "${typeName(error.data)}"`,
      );
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map((entry) => JSON.stringify(entry)).join(', ');
      return cause(
        'FieldValueNotSupported',
        `Unsupported value: ${shown(error.data)}: supported values: ${allowed}`,
      );
    }
    case 'minimum':
      return invalidValue(`should be greater than or equal to ${limit}`);
    case 'maximum':
      return invalidValue(`should be less than or equal to ${limit}`);
    case 'pattern':
      return invalidValue(`should match '${String(params['pattern'])}'`);
    case 'minLength':
      return invalidValue(`should be at least ${limit} chars long`);
    case 'minItems':
      return invalidValue(`should have at least ${limit} items`);
    case 'maxLength':
      return cause('FieldValueTooLong', `Too long: may not be more than ${limit} bytes`);
    case 'maxItems': {
      const count = Array.isArray(error.data) ? error.data.length : 0;
      return cause('FieldValueTooMany', `Too many: ${count}: must have at most ${limit} items`);
    }
    case 'format':
      return invalidValue(`must be of type ${String(params['format'])}: ${shown(error.data)}`);
    default:
      return invalidValue(error.message ?? 'is not valid');
  }
}

/** By schema, which never changes: the properties at or below which a list may not repeat itself. */
const listed = new WeakMap<JsonSchema, readonly (readonly [string, JsonSchema])[]>();

function listedProperties(schema: JsonSchema): readonly (readonly [string, JsonSchema])[] {
  let properties = listed.get(schema);
  if (properties === undefined) {
    properties = Object.entries(schema.properties ?? {}).filter(([, known]) => hasLists(known));
    listed.set(schema, properties);
  }
  return properties;
}

function hasLists(schema: JsonSchema): boolean {
  const listType = schema['x-kubernetes-list-type'];
  return (
    listType === 'map' ||
    listType === 'set' ||
    listedProperties(schema).length > 0 ||
    (schema.items !== undefined && hasLists(schema.items))
  );
}

/** Finds entries of list-maps with equal keys and repeated members of sets, which JSON Schema cannot express. */
function findDuplicates(schema: JsonSchema, value: unknown, path: string, causes: StatusCause[]): void {
  if (typeof value !== 'object' || value === null || causes.length >= MAX_CAUSES) return;
  if (!Array.isArray(value)) {
    for (const [key, known] of listedProperties(schema)) {
      if (Object.hasOwn(value, key)) {
        findDuplicates(known, (value as Record<string, unknown>)[key], fieldPath(path, key), causes);
      }
    }
    return;
  }
  const listType = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const seen = new Set<string>();
  value.forEach((entry: unknown, at) => {
    if (schema.items !== undefined) findDuplicates(schema.items, entry, fieldPath(path, at), causes);
    if ((listType !== 'map' && listType !== 'set') || causes.length >= MAX_CAUSES) return;
    const identity = listType === 'set' ? JSON.stringify(entry) : JSON.stringify(pick(entry, keys));
    if (seen.has(identity)) {
      causes.push({
        reason: 'FieldValueDuplicate',
        message: `Duplicate value: ${identity}`,
        field: fieldPath(path, at),
      });
    }
    seen.add(identity);
  });
}

function pick(entry: unknown, keys: readonly string[]): Record<string, unknown> {
  const record = typeof entry === 'object' && entry !== null ? (entry as Record<string, unknown>) : {};
  return Object.fromEntries([...keys].sort().map((key) => [key, record[key]]));
}
