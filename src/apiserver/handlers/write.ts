/** create and update: decode, check, and let the store decide on the newest state. */
import type { KubeObject } from '../../api/meta.ts';
import {
  alreadyExists,
  badRequest,
  conflict,
  invalid,
  notFound,
  STALE,
  statusError,
} from '../../api/status.ts';
import { decodeObject, isFinished, prepareCreate, prepareUpdate } from '../registry/strategy.ts';
import type { Decoded, Subresource } from '../registry/strategy.ts';
import { finalizerWarnings } from '../registry/validate-metadata.ts';
import type { Mutation, StoredObject } from '../store/store.ts';
import { readObjectBody } from './body.ts';
import type { Call } from './context.ts';
import { rfc3339 } from '../../lib/clock.ts';
import type { ManagedFieldsEntry } from '../../api/meta.ts';
import type { Writer } from '../ssa/owners.ts';
import { trackUpdate } from '../ssa/track.ts';
import { negotiate } from './negotiation.ts';
import { readWriteOptions } from './parameters.ts';
import type { WriteOptions } from './parameters.ts';
import { objectResponse } from './respond.ts';

/** Letters that cannot spell words (the reference's set), and how many of them end a generated name. */
const NAME_LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
const NAME_LETTER_COUNT = 5;
const MAX_PREFIX = 58;
const MAX_NAME_TRIES = 8;

/** The shapes that answers to writes can take. */
export const WRITE_FORMS = ['object', 'table', 'partial'] as const;

/** What is wrong with fields that the schema does not have or that stand twice. */
export function fieldProblems(decoded: Decoded, repeated: readonly string[]): string[] {
  return [...repeated, ...decoded.unknownFields.map((path) => `unknown field ${JSON.stringify(path)}`)];
}

function checkFields(call: Call, options: WriteOptions, problems: string[]): void {
  const { kind, version } = call.resource;
  if (problems.length === 0 || options.fieldValidation === 'Ignore') return;
  if (options.fieldValidation === 'Strict') {
    throw badRequest(
      `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: strict decoding error: ${problems.join(', ')}`,
    );
  }
  call.warnings.push(...problems);
}

/** Who a request writes as. */
export function writerOf(
  call: Call,
  options: WriteOptions,
  operation: Writer['operation'],
  subresource: Subresource,
): Writer {
  return {
    manager: options.manager,
    operation,
    apiVersion: call.resource.apiVersion,
    subresource: subresource ?? '',
  };
}

/** Gives the next state of an object its owners; `current` itself when the write changes nothing. */
export type Track = (
  current: KubeObject | undefined,
  next: KubeObject,
  given: readonly ManagedFieldsEntry[] | undefined,
) => KubeObject;

/** Ownership after a create, update or patch of this request. */
export function tracker(call: Call, options: WriteOptions, subresource: Subresource): Track {
  const schema = call.resource.fieldSchema;
  const writer = writerOf(call, options, 'Update', subresource);
  const time = rfc3339(call.deps.clock.wallNow());
  return (current, next, given) => trackUpdate({ schema, current, next, given, writer, time });
}

/** The state a write ends in: stored, or only computed when it is a dry run. */
export interface Written {
  source: StoredObject | KubeObject;
  isCreated: boolean;
}

/**
 * Writes what `next` makes of the newest state; `next` may return the current object itself for "no change".
 * A state that is being deleted and has no finalizers left is removed.
 */
export async function writeObject(
  call: Call,
  name: string,
  dryRun: boolean,
  next: (current: KubeObject | undefined) => KubeObject,
): Promise<Written> {
  let computed: KubeObject | undefined;
  let isCreated = false;
  const result = await call.deps.store.write(call.resource.plural, name, (stored): Mutation => {
    const current = stored?.object;
    const object = next(current);
    call.guard(current, object);
    call.warnings.push(...finalizerWarnings(current?.metadata, object.metadata));
    isCreated = current === undefined;
    if (dryRun) computed = object;
    if (dryRun || object === current) return { action: 'keep' };
    return isFinished(object) ? { action: 'delete', object } : { action: 'put', object };
  });
  const source = computed ?? result.stored;
  if (source === undefined) throw new Error(`write of ${name} left no state`);
  return { source, isCreated };
}

/** POST of a collection. */
export async function createObject(call: Call): Promise<Response> {
  const { c, deps, resource } = call;
  const form = negotiate(c.req.header('accept'), WRITE_FORMS);
  const options = readWriteOptions(c, 'CreateOptions');
  c.env.facts.dryRun = options.dryRun;
  const body = await readObjectBody(c);
  const decoded = decodeObject(resource, body.value);
  checkFields(call, options, fieldProblems(decoded, body.repeated));
  const { metadata } = decoded.object;
  if ((metadata.resourceVersion ?? '') !== '' && metadata.resourceVersion !== '0')
    throw badRequest('resourceVersion should not be set on objects to be created');
  const { generateName } = metadata;
  const track = tracker(call, options, undefined);
  const isGenerated = (metadata.name ?? '') === '' && generateName !== undefined && generateName !== '';
  for (let attempt = 1; ; attempt++) {
    if (isGenerated) metadata.name = generateName.slice(0, MAX_PREFIX) + randomLetters(deps.random);
    const object = track(
      undefined,
      prepareCreate(resource, decoded.object, deps.clock.wallNow()),
      metadata.managedFields,
    );
    const name = object.metadata.name ?? '';
    c.env.facts.name = name;
    try {
      const { source } = await writeObject(call, name, options.dryRun, (current) => {
        if (current !== undefined) throw alreadyExists(resource, name, isBeingDeleted(current));
        return object;
      });
      return objectResponse(call, form, 201, source);
    } catch (err) {
      const isTaken = isGenerated && (err as { reason?: string }).reason === 'AlreadyExists';
      if (!isTaken || attempt >= MAX_NAME_TRIES) throw err;
    }
  }
}

function isBeingDeleted({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

function randomLetters(random: () => number): string {
  return Array.from(
    { length: NAME_LETTER_COUNT },
    () => NAME_LETTERS[Math.floor(random() * NAME_LETTERS.length)],
  ).join('');
}

/** PUT of an object or its status. */
export async function updateObject(call: Call, name: string, subresource: Subresource): Promise<Response> {
  const { c, resource } = call;
  const form = negotiate(c.req.header('accept'), WRITE_FORMS);
  const options = readWriteOptions(c, 'UpdateOptions');
  c.env.facts.dryRun = options.dryRun;
  const body = await readObjectBody(c);
  const decoded = decodeObject(resource, body.value);
  checkFields(call, options, fieldProblems(decoded, body.repeated));
  const { metadata } = decoded.object;
  if ((metadata.name ?? '') === '') throw unnamed(name);
  if (metadata.name !== name) {
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  const track = tracker(call, options, subresource);
  const { source } = await writeObject(call, name, options.dryRun, (current) => {
    if (current === undefined) throw notFound(resource, name);
    checkIdentity(call, current, decoded.object);
    checkVersion(call, current, metadata.resourceVersion);
    return track(
      current,
      prepareUpdate(resource, current, decoded.object, subresource),
      metadata.managedFields,
    );
  });
  return objectResponse(call, form, 200, source);
}

/** The 400 of a body without the name that its path has. */
export function unnamed(name: string): Error {
  return badRequest(
    `the name of the object (${name} based on URL) was undeterminable: name must be provided`,
  );
}

/** A write must say which version it is meant for: 422 when it does not, 409 when it is another than the stored one. */
export function checkVersion(call: Call, current: KubeObject, wanted = ''): void {
  const { resource } = call;
  const name = current.metadata.name ?? '';
  if (wanted === '' || wanted === '0') {
    throw invalid({ group: resource.group, kind: resource.plural }, name, [
      {
        reason: 'FieldValueInvalid',
        message: 'Invalid value: 0: must be specified for an update',
        field: 'metadata.resourceVersion',
      },
    ]);
  }
  if (wanted !== current.metadata.resourceVersion) throw conflict(resource, name, STALE);
}

/** A uid in the request that is not the stored one means another object of the same name. */
function checkIdentity(call: Call, current: KubeObject, incoming: KubeObject): void {
  const { uid } = incoming.metadata;
  if (uid === undefined || uid === '' || uid === current.metadata.uid) return;
  throw conflict(
    call.resource,
    current.metadata.name ?? '',
    `StorageError: invalid object, Code: 4, Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata.uid ?? ''}`,
  );
}

/** The 422 of a patch that may not touch a field. */
export function immutable(call: Call, name: string, field: string, value: unknown): Error {
  return invalid(call.resource, name, [
    {
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(value)}: field is immutable`,
      field,
    },
  ]);
}

/** The 409 of preconditions of a delete. */
export function preconditionFailed(call: Call, name: string, what: string): Error {
  return statusError('Conflict', conflict(call.resource, name, what).message, {
    name,
    group: call.resource.group,
    kind: call.resource.plural,
  });
}
