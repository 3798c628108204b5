/** What becomes of an object on its way into the store: pruned, defaulted, validated, and with server-owned metadata. */
import { randomUUID } from 'node:crypto';
import type { KubeObject, ObjectMeta } from '../../api/meta.ts';
import { invalid } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import { applyDefaults, prune } from '../../api/structural.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isEqualJson, setMember } from '../../lib/json.ts';
import { decodeMetadata } from './metadata.ts';
import { checkObjectType } from './object-type.ts';
import type { ObjectSource } from './object-type.ts';
import type { Resource } from './resources.ts';
import { validateMetadata, validateMetadataChange } from './validate-metadata.ts';

/** The part of an object that a request writes. */
export type Subresource = 'status' | undefined;

/** A request's object, pruned, and the paths of what was pruned. */
export interface Decoded {
  object: KubeObject;
  unknownFields: string[];
}

/** The parts of an object beside its metadata that a stored one may share with the next. */
const PARTS = ['spec', 'status'] as const;

/** Reads a body as an object of the resource, with defaults; throws a 400 or 422 Status when it is something else. */
export function decodeObject(resource: Resource, body: unknown, source: ObjectSource = 'whole'): Decoded {
  const decoded = decodePartial(resource, body, source);
  applyDefaults(resource.schema, decoded.object);
  return decoded;
}

/**
 * As decodeObject, of what a patch made of a stored object. Parts that are the stored object's own, not equal but the same,
 * went through this when they were stored: they stay as they are, and everything later sees at once that they are no news.
 */
export function decodePatched(resource: Resource, patched: unknown, current: KubeObject): Decoded {
  const decoded = decodePartial(resource, patched, 'patched', current);
  applyDefaults(resource.schema, decoded.object);
  for (const part of PARTS) if (isKept(part, patched, current)) decoded.object[part] = current[part];
  return decoded;
}

function isKept(part: (typeof PARTS)[number], patched: unknown, current: KubeObject): boolean {
  const stored = current[part];
  return stored !== undefined && (patched as Partial<KubeObject>)[part] === stored;
}

/**
 * Reads a body that need not be complete: as decodeObject, without defaults. Parts that are those of `stored`, not equal but
 * the same, are left out, and metadata that is stays as it is.
 */
export function decodePartial(
  resource: Resource,
  body: unknown,
  source: ObjectSource,
  stored?: KubeObject,
): Decoded {
  const { kind, apiVersion } = resource;
  const given = checkObjectType(resource, body, source);
  const unknownFields: string[] = [];
  const metadata = decodeMetadata(kind, given['metadata'], unknownFields, stored?.metadata);
  const main: Record<string, unknown> = {};
  for (const name in given) {
    if (name === 'apiVersion' || name === 'kind' || name === 'metadata') continue; // known by now
    const part = PARTS.find((known) => known === name);
    if (part === undefined || stored === undefined || !isKept(part, given, stored))
      setMember(main, name, given[name]);
  }
  const unknownMain: string[] = [];
  const pruned = prune(resource.schema, main, '', unknownMain) as Record<string, unknown>;
  unknownFields.push(...unknownMain.sort());
  return { object: { apiVersion, kind, metadata, ...pruned }, unknownFields };
}

function reject(resource: Resource, name: string, causes: StatusCause[]): void {
  if (causes.length > 0) throw invalid(resource, name, causes);
}

/** Finishes a new object; its name is set already. Throws a 422 Status with every problem. */
export function prepareCreate(resource: Resource, decoded: KubeObject, now: Date): KubeObject {
  const { apiVersion, kind, status: _dropped, metadata: given, ...rest } = decoded;
  const metadata: ObjectMeta = {
    ...(given.name === undefined ? {} : { name: given.name }),
    ...clientMetadata(given),
    uid: randomUUID(),
    creationTimestamp: rfc3339(now),
    generation: 1,
  };
  const object: KubeObject = { apiVersion, kind, metadata, ...rest };
  reject(resource, metadata.name ?? '', [
    ...validateMetadata(metadata),
    ...resource.validateMain(object, ''),
  ]);
  return object;
}

/** The metadata that a client may set. */
const CLIENT_METADATA = ['generateName', 'labels', 'annotations', 'finalizers', 'ownerReferences'] as const;

/** Whether a client's metadata field says nothing; such a field is not stored. */
function isBare(value: ObjectMeta[(typeof CLIENT_METADATA)[number]]): boolean {
  if (value === undefined || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** What a client may set of its metadata. */
function clientMetadata(given: ObjectMeta): ObjectMeta {
  const out: Record<string, unknown> = {};
  for (const field of CLIENT_METADATA) if (!isBare(given[field])) out[field] = given[field];
  return out;
}

/** Stored metadata with what a client may set of it. */
function withClientMetadata(stored: ObjectMeta, given: ObjectMeta): ObjectMeta {
  const gone = CLIENT_METADATA.filter((field) => stored[field] !== undefined && isBare(given[field]));
  const own =
    gone.length === 0
      ? stored
      : Object.fromEntries(Object.entries(stored).filter(([field]) => !gone.some((name) => name === field)));
  return { ...own, ...clientMetadata(given) };
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
  const forbidden =
    subresource === 'status' ? [] : validateMetadataChange(current.metadata, incoming.metadata);
  if (isEqualJson(next, current) && forbidden.length === 0) return current;
  if (subresource === 'status') {
    reject(resource, name, resource.validateStatus({ status: next.status }, ''));
    return next;
  }
  const hasNews = !isEqualJson(next.spec, current.spec); // all that generation counts
  reject(resource, name, [
    ...validateMetadata(next.metadata, current.metadata),
    ...forbidden,
    ...(hasNews ? resource.validateMain(next, '') : []), // the rest is as valid as it was
  ]);
  if (hasNews) next.metadata.generation = (current.metadata.generation ?? 0) + 1;
  return next;
}

function withStatus(current: KubeObject, incoming: KubeObject): KubeObject {
  const { status: _old, ...rest } = current;
  return incoming.status === undefined ? rest : { ...rest, status: incoming.status };
}

function withMain(current: KubeObject, incoming: KubeObject): KubeObject {
  const metadata = withClientMetadata(current.metadata, incoming.metadata);
  const next: KubeObject = { ...incoming, metadata };
  if (current.status !== undefined) next.status = current.status;
  else if (incoming.status !== undefined) delete next.status;
  return next;
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
