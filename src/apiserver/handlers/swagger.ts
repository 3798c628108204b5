/** OpenAPI v2 (Swagger 2.0) made from the v3 documents, for tools that generate clients or read schemas. */

type Json = Record<string, unknown>;

/** An OpenAPI v3 document, as far as it is read here. */
export interface OpenApiDocument {
  info: Json;
  paths: Record<string, Record<string, Json>>;
  components: { schemas: Record<string, unknown> };
}

const WITH_BODY = new Set(['post', 'put', 'patch']);

/** Merges v3 documents into one v2 document. */
export function toSwagger(documents: readonly OpenApiDocument[]): Json {
  const paths: Json = {};
  const definitions: Json = {};
  for (const document of documents) {
    for (const [path, operations] of Object.entries(document.paths)) {
      const converted = Object.entries(operations).map(([method, operation]) => [
        method,
        convertOperation(path, method, operation),
      ]);
      paths[path] = Object.fromEntries(converted);
    }
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      definitions[name] = convertSchema(schema);
    }
  }
  const info = documents[0]?.info ?? { title: 'edge', version: '' };
  return { swagger: '2.0', info, paths, definitions };
}

function convertOperation(path: string, method: string, operation: Json): Json {
  const {
    parameters = [],
    responses,
    ...rest
  } = operation as {
    parameters?: { schema: Json }[];
    responses: Record<string, { description: string; content: Record<string, { schema: unknown }> }>;
  };
  const answers = Object.entries(responses).map(([code, { description, content }]) => [
    code,
    { description, schema: convertSchema(content['application/json']?.schema) },
  ]);
  const inPath = path.includes('{name}')
    ? [{ name: 'name', in: 'path', required: true, type: 'string' }]
    : [];
  const body = WITH_BODY.has(method)
    ? [{ name: 'body', in: 'body', required: true, schema: { type: 'object' } }]
    : [];
  const inQuery = parameters.map(({ schema, ...parameter }) => ({ ...parameter, ...schema }));
  return {
    ...rest,
    consumes: ['*/*'],
    produces: ['application/json', 'application/yaml'],
    parameters: [...inPath, ...inQuery, ...body],
    responses: Object.fromEntries(answers) as Json,
  };
}

/** References move; `nullable` and defaults beside a reference do not exist in v2. */
function convertSchema(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map((entry) => convertSchema(entry));
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([key, value]) => !(key === 'nullable' && typeof value === 'boolean'))
      .map(([key, value]) => [
        key,
        key === '$ref' && typeof value === 'string'
          ? value.replace('#/components/schemas/', '#/definitions/')
          : convertSchema(value),
      ]),
  );
}
