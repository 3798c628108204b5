/** What becomes of an object on its way into the store: pruned, defaulted, validated, and with server-owned metadata. */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject, ObjectMeta } from '../../api/meta.ts';
import { badRequest, invalid } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import { applyDefaults, prune } from '../../api/structural.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { decodeMetadata, validateMetadata } from './metadata.ts';
import type { Resource } from './resources.ts';

/** The part of an object that a request writes. */
export type Subresource = 'status' | undefined;

/** A request's object, pruned, and the paths of what was pruned. */
export interface Decoded {
  object: KubeObject;
  unknownFields: string[];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads a body as an object of the resource, with defaults; throws a 400 Status when it is something else. */
export function decodeObject(resource: Resource, body: unknown): Decoded {
  const decoded = decodePartial(resource, body);
  return { ...decoded, object: applyDefaults(resource.schema, decoded.object) };
}

/** Reads a body that need not be complete: as decodeObject, without defaults. */
export function decodePartial(resource: Resource, body: unknown): Decoded {
  const { kind, apiVersion } = resource;
  if (!isRecord(body)) throw badRequest(`the body of the request is not an object of kind ${kind}`);
  if (typeof body['kind'] !== 'string' || body['kind'] === '') {
    throw badRequest(`Object 'Kind' is missing in '${JSON.stringify(body).slice(0, 200)}'`);
  }
  if (body['kind'] !== kind || body['apiVersion'] !== apiVersion) {
    throw badRequest(
      `${body['kind']} in version ${JSON.stringify(body['apiVersion'] ?? '')} cannot be handled as a ${kind}: the API version and kind of this path are ${apiVersion}, ${kind}`,
    );
  }
  const unknownFields: string[] = [];
  const { metadata, ...rest } = body;
  const pruned = prune(resource.schema, rest, '', unknownFields) as Record<string, unknown>;
  const object = { ...pruned, apiVersion, kind, metadata: decodeMetadata(kind, metadata, unknownFields) };
  return { object, unknownFields };
}

function reject(resource: Resource, name: string, causes: StatusCause[]): void {
  if (causes.length > 0) throw invalid(resource, name, causes);
}

/** Finishes a new object; its name is set already. Throws a 422 Status with every problem. */
export function prepareCreate(resource: Resource, decoded: KubeObject, now: Date): KubeObject {
  const { status: _dropped, metadata: given, ...rest } = decoded;
  const metadata: ObjectMeta = {
    ...clientMetadata(given),
    ...(given.name === undefined ? {} : { name: given.name }),
    ...(given.generateName === undefined ? {} : { generateName: given.generateName }),
    uid: randomUUID(),
    creationTimestamp: rfc3339(now),
    generation: 1,
  };
  const object: KubeObject = { ...rest, metadata };
  reject(resource, metadata.name ?? '', [
    ...validateMetadata(metadata),
    ...resource.validateMain(object, ''),
  ]);
  return object;
}

/** The metadata that a client may set. */
function clientMetadata(given: ObjectMeta): ObjectMeta {
  const out: ObjectMeta = {};
  if (given.labels !== undefined && Object.keys(given.labels).length > 0) out.labels = given.labels;
  if (given.annotations !== undefined && Object.keys(given.annotations).length > 0)
    out.annotations = given.annotations;
  if (given.finalizers !== undefined && given.finalizers.length > 0) out.finalizers = given.finalizers;
  if (given.ownerReferences !== undefined && given.ownerReferences.length > 0)
    out.ownerReferences = given.ownerReferences;
  return out;
}

/** The metadata that only the server sets. */
function serverMetadata(stored: ObjectMeta): ObjectMeta {
  const { labels: _l, annotations: _a, finalizers: _f, ownerReferences: _o, ...own } = stored;
  return own;
}

/**
 * The next state of a stored object after a write of its main part or its status.
 * Returns `current` itself when nothing would change. Throws a 422 Status with every problem.
 */
export function prepareUpdate(
  resource: Resource,
  current: KubeObject,
  incoming: KubeObject,
  subresource: Subresource,
): KubeObject {
  const name = current.metadata.name ?? '';
  const next = subresource === 'status' ? withStatus(current, incoming) : withMain(current, incoming);
  if (isDeepStrictEqual(next, current)) return current;
  if (subresource === 'status') {
    reject(resource, name, resource.validateStatus({ status: next.status }, ''));
    return next;
  }
  reject(resource, name, [
    ...validateMetadata(next.metadata),
    ...forbiddenFinalizers(current.metadata, next.metadata),
    ...resource.validateMain(next, ''),
  ]);
  if (!isDeepStrictEqual(content(next), content(current))) {
    next.metadata.generation = (current.metadata.generation ?? 0) + 1;
  }
  return next;
}

/** Everything that generation counts. */
function content(object: KubeObject): unknown {
  const { metadata: _metadata, status: _status, ...rest } = object;
  return rest;
}

function withStatus(current: KubeObject, incoming: KubeObject): KubeObject {
  const { status: _old, ...rest } = current;
  return incoming.status === undefined ? rest : { ...rest, status: incoming.status };
}

function withMain(current: KubeObject, incoming: KubeObject): KubeObject {
  const { status: _ignored, metadata, ...rest } = incoming;
  const next: KubeObject = {
    ...rest,
    metadata: { ...serverMetadata(current.metadata), ...clientMetadata(metadata) },
  };
  if (current.status !== undefined) next.status = current.status;
  return next;
}

function forbiddenFinalizers(current: ObjectMeta, next: ObjectMeta): StatusCause[] {
  if (current.deletionTimestamp === undefined) return [];
  const added = (next.finalizers ?? []).filter((entry) => current.finalizers?.includes(entry) !== true);
  if (added.length === 0) return [];
  return [
    {
      reason: 'FieldValueForbidden',
      message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers [${added.map((entry) => JSON.stringify(entry)).join(' ')}]`,
      field: 'metadata.finalizers',
    },
  ];
}

/** Whether a state that is being deleted has nothing left to wait for. */
export function isFinished(object: KubeObject): boolean {
  return object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length === 0;
}

/** The state of an object whose deletion waits for finalizers. */
export function markDeleted(current: KubeObject, now: Date): KubeObject {
  return {
    ...current,
    metadata: {
      ...current.metadata,
      deletionTimestamp: rfc3339(now),
      deletionGracePeriodSeconds: 0,
      generation: (current.metadata.generation ?? 0) + 1,
    },
  };
}
