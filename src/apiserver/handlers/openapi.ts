/** OpenAPI: what `kubectl explain` and the validation gate read, made from the CRD schemas. */
import { createHash } from 'node:crypto';
import type { JsonSchema } from '../../api/crd.ts';
import { unknownResource } from '../../api/status.ts';
import { version } from '../../lib/build-info.ts';
import type { Resource } from '../registry/resources.ts';
import type { ApiContext } from './context.ts';
import { cacheableResponse } from './discovery.ts';
import { parseAccept } from './negotiation.ts';
import { encodeOpenApiV2 } from './openapi-protobuf.ts';
import { toSwagger } from './swagger.ts';
import type { OpenApiDocument } from './swagger.ts';

const OBJECT_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';
const PROTOBUF_V2 = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

const text = (description: string): JsonSchema => ({ type: 'string', description });
const texts = (description: string): JsonSchema => ({
  type: 'object',
  description,
  additionalProperties: { type: 'string' },
});

const OBJECT_META_SCHEMA: JsonSchema = {
  type: 'object',
  description: 'ObjectMeta is metadata that all persisted resources must have.',
  properties: {
    name: text('The name of the object, unique within its kind. Cannot be changed.'),
    generateName: text('A prefix from which the server makes a unique name when name is empty.'),
    uid: text('Unique in time and space; set by the server.'),
    resourceVersion: text(
      'The version of the object, for optimistic concurrency and watches; opaque to clients.',
    ),
    generation: {
      type: 'integer',
      format: 'int64',
      description: 'Counts changes of the desired state; set by the server.',
    },
    creationTimestamp: { ...text('When the object was created; set by the server.'), format: 'date-time' },
    deletionTimestamp: { ...text('When deletion was asked for; set by the server.'), format: 'date-time' },
    deletionGracePeriodSeconds: {
      type: 'integer',
      format: 'int64',
      description: 'Always 0; set by the server.',
    },
    labels: texts('Keys and values that select objects.'),
    annotations: texts('Keys and values for tools; not used for selection.'),
    finalizers: {
      type: 'array',
      description: 'What must be done before the object is removed; each owner removes its own entry.',
      items: { type: 'string' },
      'x-kubernetes-list-type': 'set',
    },
    ownerReferences: {
      type: 'array',
      description: 'The objects that this one depends on.',
      items: {
        type: 'object',
        required: ['apiVersion', 'kind', 'name', 'uid'],
        properties: {
          apiVersion: text('The API version of the owner.'),
          kind: text('The kind of the owner.'),
          name: text('The name of the owner.'),
          uid: text('The uid of the owner.'),
          controller: { type: 'boolean', description: 'Whether the owner is the managing controller.' },
          blockOwnerDeletion: {
            type: 'boolean',
            description: 'Whether the owner waits for this object in foreground deletion.',
          },
        },
      },
    },
    managedFields: {
      type: 'array',
      description: 'Which client owns which fields; for server-side apply.',
      items: { type: 'object' },
    },
  },
};

/** `com.example.edge.v1.Router`, as Kubernetes names the schemas of custom kinds. */
function schemaName(resource: Resource): string {
  return `${resource.group.split('.').reverse().join('.')}.${resource.version}.${resource.kind}`;
}

function kindOf(resource: Resource): Record<string, string> {
  return { group: resource.group, version: resource.version, kind: resource.kind };
}

function parameter(name: string, description: string, type = 'string'): unknown {
  return { name, in: 'query', description, schema: { type, uniqueItems: true } };
}

const WRITE_PARAMETERS = [
  parameter('dryRun', 'All: do everything but store the result.'),
  parameter('fieldManager', 'The name of the actor that makes the change.'),
  parameter('fieldValidation', 'How unknown and repeated fields are treated: Ignore, Warn or Strict.'),
];

function operation(resource: Resource, action: string, parameters: unknown[] = []): unknown {
  return {
    operationId: `${action}${resource.kind}`,
    description: `${action} a ${resource.kind}`,
    tags: [`${resource.group}_${resource.version}`],
    ...(parameters.length > 0 ? { parameters } : {}),
    responses: {
      '200': {
        description: 'OK',
        content: { 'application/json': { schema: { $ref: `#/components/schemas/${schemaName(resource)}` } } },
      },
    },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': kindOf(resource),
  };
}

function paths(resource: Resource): [string, unknown][] {
  const base = `/apis/${resource.apiVersion}/${resource.plural}`;
  const write = (action: string) => operation(resource, action, WRITE_PARAMETERS);
  const patch = operation(resource, 'patch', [
    ...WRITE_PARAMETERS,
    parameter('force', 'Take over fields of other managers (apply only).', 'boolean'),
  ]);
  return [
    [
      base,
      {
        get: operation(resource, 'list'),
        post: write('post'),
        delete: operation(resource, 'deletecollection'),
      },
    ],
    [
      `${base}/{name}`,
      { get: operation(resource, 'get'), put: write('put'), patch, delete: operation(resource, 'delete') },
    ],
    [`${base}/{name}/status`, { get: operation(resource, 'get'), put: write('put'), patch }],
  ];
}

function document(resources: readonly Resource[]): string {
  const schemas: Record<string, unknown> = { [OBJECT_META]: OBJECT_META_SCHEMA };
  for (const resource of resources) {
    const { schema } = resource;
    schemas[schemaName(resource)] = {
      ...schema,
      properties: {
        ...schema.properties,
        metadata: {
          description: 'Standard object metadata.',
          allOf: [{ $ref: `#/components/schemas/${OBJECT_META}` }],
          default: {},
        },
      },
      'x-kubernetes-group-version-kind': [kindOf(resource)],
    };
  }
  return JSON.stringify({
    openapi: '3.0.0',
    info: { title: 'edge', version },
    paths: Object.fromEntries(resources.flatMap((resource) => paths(resource))),
    components: { schemas },
  });
}

/** The documents, built on first use: few processes ever ask. */
export class OpenApi {
  readonly #groups = new Map<string, Resource[]>();
  readonly #documents = new Map<string, string>();
  #swagger: string | undefined;
  #definitions: Uint8Array<ArrayBuffer> | undefined;

  constructor(resources: Iterable<Resource>) {
    for (const resource of resources) {
      this.#groups.set(resource.apiVersion, [...(this.#groups.get(resource.apiVersion) ?? []), resource]);
    }
  }

  #document(groupVersion: string): string {
    const resources = this.#groups.get(groupVersion);
    if (resources === undefined) throw unknownResource();
    let made = this.#documents.get(groupVersion);
    if (made === undefined) this.#documents.set(groupVersion, (made = document(resources)));
    return made;
  }

  /** GET /openapi/v3: an index whose URLs change with the content, so that clients may cache for ever. */
  getIndex(c: ApiContext): Response {
    const entries = [...this.#groups.keys()].map((groupVersion) => {
      const hash = createHash('sha256').update(this.#document(groupVersion)).digest('hex').toUpperCase();
      return [`apis/${groupVersion}`, { serverRelativeURL: `/openapi/v3/apis/${groupVersion}?hash=${hash}` }];
    });
    return cacheableResponse(
      c,
      JSON.stringify({ paths: Object.fromEntries(entries) as unknown }),
      'application/json',
    );
  }

  /** GET /openapi/v3/apis/GROUP/VERSION; throws a 404 Status. */
  getDocument(c: ApiContext, groupVersion: string): Response {
    return cacheableResponse(c, this.#document(groupVersion), 'application/json');
  }

  /** GET /openapi/v2: JSON in full; in protobuf, which kubectl wants, the definitions. */
  getV2(c: ApiContext): Response {
    const wantsJson = parseAccept(c.req.header('accept')).some(
      ({ type }) => type === 'application/json' || type === '*/*',
    );
    const documents = (): OpenApiDocument[] =>
      [...this.#groups.keys()].map((key) => JSON.parse(this.#document(key)) as OpenApiDocument);
    if (!wantsJson) {
      this.#definitions ??= encodeOpenApiV2(
        { title: 'edge', version },
        Object.assign({}, ...documents().map(({ components }) => components.schemas)) as Record<
          string,
          unknown
        >,
      );
      return cacheableResponse(c, this.#definitions, PROTOBUF_V2);
    }
    this.#swagger ??= JSON.stringify(toSwagger(documents()));
    return cacheableResponse(c, this.#swagger, 'application/json');
  }
}
