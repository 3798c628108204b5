/**
 * OpenAPI v2 in protobuf (the messages of gnostic's OpenAPIv2.proto), which is the only form that kubectl asks for: the
 * definitions, for `kubectl explain --output=plaintext-openapiv2`. What clients may send stands in OpenAPI v3.
 */

type Json = Readonly<Record<string, unknown>>;

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A base-128 number (protobuf encoding, "Base 128 Varints"). */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Buffer.from([...bytes, rest]);
}

function tag(field: number, type: number): Buffer {
  return varint(field * 8 + type);
}

function bytes(field: number, value: Buffer | string): Buffer {
  const data = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([tag(field, BYTES), varint(data.length), data]);
}

function text(field: number, value: unknown): Buffer[] {
  return typeof value === 'string' ? [bytes(field, value)] : [];
}

function count(field: number, value: unknown): Buffer[] {
  return typeof value === 'number' ? [tag(field, VARINT), varint(value)] : [];
}

function double(field: number, value: unknown): Buffer[] {
  if (typeof value !== 'number') return [];
  const data = Buffer.alloc(8);
  data.writeDoubleLE(value);
  return [tag(field, FIXED64), data];
}

/** The message Any: a value as YAML, which JSON is. */
function any(value: unknown): Buffer {
  return bytes(2, `${JSON.stringify(value)}\n`);
}

/** The message NamedSchema or NamedAny. */
function named(name: string, value: Buffer): Buffer {
  return Buffer.concat([bytes(1, name), bytes(2, value)]);
}

/** The message Schema, whose fields have these numbers. */
function schema(value: unknown): Buffer {
  if (!isRecord(value)) return Buffer.alloc(0);
  // a reference that stands beside a description
  const [only, ...more] = Array.isArray(value['allOf']) ? (value['allOf'] as unknown[]) : [];
  const reference = value['$ref'] ?? (isRecord(only) && more.length === 0 ? only['$ref'] : undefined);
  const { items, properties, additionalProperties } = value;
  const list = (field: number, entries: unknown, encode: (entry: unknown) => Buffer): Buffer[] =>
    Array.isArray(entries) ? entries.map((entry) => bytes(field, encode(entry))) : [];
  return Buffer.concat([
    ...text(
      1,
      typeof reference === 'string'
        ? reference.replace('#/components/schemas/', '#/definitions/')
        : undefined,
    ),
    ...text(2, value['format']),
    ...text(4, value['description']),
    ...(value['default'] === undefined ? [] : [bytes(5, any(value['default']))]),
    ...double(7, value['maximum']),
    ...double(9, value['minimum']),
    ...count(11, value['maxLength']),
    ...count(12, value['minLength']),
    ...text(13, value['pattern']),
    ...count(14, value['maxItems']),
    ...count(15, value['minItems']),
    ...list(19, value['required'], (entry) => Buffer.from(String(entry))),
    ...list(20, value['enum'], any),
    ...(isRecord(additionalProperties) ? [bytes(21, bytes(1, schema(additionalProperties)))] : []),
    ...(typeof value['type'] === 'string' && reference === undefined
      ? [bytes(22, bytes(1, value['type']))]
      : []),
    ...(isRecord(items) ? [bytes(23, bytes(1, schema(items)))] : []),
    ...(isRecord(properties) ? [bytes(25, namedSchemas(properties))] : []),
    ...Object.entries(value)
      .filter(([key]) => key.startsWith('x-'))
      .map(([key, entry]) => bytes(31, named(key, any(entry)))),
  ]);
}

/** The message Properties or Definitions. */
function namedSchemas(schemas: Json): Buffer {
  return Buffer.concat(Object.entries(schemas).map(([name, value]) => bytes(1, named(name, schema(value)))));
}

/** The message Document with these definitions. */
export function encodeOpenApiV2(
  info: { title: string; version: string },
  definitions: Json,
): Uint8Array<ArrayBuffer> {
  const document = Buffer.concat([
    bytes(1, '2.0'),
    bytes(2, Buffer.concat([bytes(1, info.title), bytes(2, info.version)])),
    bytes(9, namedSchemas(definitions)),
  ]);
  return new Uint8Array(document);
}
