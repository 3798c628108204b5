/** Ownership after writes that are no applies: who changes a field by create, update or patch takes it. Pure. */
import type { JsonSchema } from '../../api/crd.ts';
import type { KubeObject, ManagedFieldsEntry } from '../../api/meta.ts';
import { hasEqualMembers } from '../../lib/json.ts';
import { compareFields } from './compare.ts';
import { decodeOwners, encodeOwners, foldOldest, isSameOwner, isSameOwnership, ownable } from './owners.ts';
import type { Owner, Writer } from './owners.ts';

/** An object without its managedFields. */
export function withoutOwners(object: KubeObject): KubeObject {
  const { managedFields: _owners, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** The owners that a stored object has; what cannot be read counts as none. */
export function ownersOf(object: KubeObject | undefined): readonly Owner[] {
  return decodeOwners(object?.metadata.managedFields) ?? [];
}

/** `next` with owners; `current` itself when neither the object nor, apart from times, its owners change. */
export function withOwners(
  current: KubeObject | undefined,
  next: KubeObject,
  owners: readonly Owner[],
): KubeObject {
  const isSame =
    current !== undefined && isSameState(next, current) && isSameOwnership(owners, ownersOf(current));
  if (isSame) return current;
  const managedFields = encodeOwners(owners);
  if (managedFields.length === 0) return withoutOwners(next);
  return { ...next, metadata: { ...next.metadata, managedFields } };
}

/** Whether two states of an object differ in nothing but their owners. */
function isSameState(a: KubeObject, b: KubeObject): boolean {
  return hasEqualMembers(a.metadata, b.metadata, 'managedFields') && hasEqualMembers(a, b, 'metadata');
}

/** One write that is no apply. */
export interface Update {
  schema: JsonSchema;
  /** The stored object; undefined at a create. */
  current: KubeObject | undefined;
  /** What is to be stored, its managedFields not looked at. */
  next: KubeObject;
  /** managedFields of the request: clients may replace them, and `[{}]` stops tracking. */
  given: readonly ManagedFieldsEntry[] | undefined;
  writer: Writer;
  /** RFC 3339. */
  time: string;
}

/** `next` with the owners after the write; `current` itself when nothing changes. */
export function trackUpdate({ schema, current, next, given, writer, time }: Update): KubeObject {
  if (next === current && given === undefined) return current;
  const base = requestedOwners(current, given, writer);
  if (current !== undefined && base.length === 0) return withOwners(current, next, []);
  const { added, modified, removed } = compareFields(schema, current ?? {}, next);
  const taken = ownable(added.union(modified));
  const own = taken.isEmpty ? undefined : base.find((owner) => isSameOwner(owner, writer));
  const owners = base.map((owner) => {
    const kept = owner.fields.difference(removed);
    const fields = owner === own ? kept.union(taken) : kept.difference(taken);
    const since = owner === own ? time : owner.time;
    return fields === owner.fields && since === owner.time ? owner : { ...owner, time: since, fields };
  });
  if (!taken.isEmpty && own === undefined) owners.push({ ...writer, time, fields: taken });
  return withOwners(current, next, foldOldest(owners));
}

/** The owners that a write starts from. Through a subresource they cannot be replaced. */
function requestedOwners(
  current: KubeObject | undefined,
  given: readonly ManagedFieldsEntry[] | undefined,
  writer: Writer,
): readonly Owner[] {
  const stored = ownersOf(current);
  if (given === undefined || writer.subresource !== '') return stored;
  const isReset = given.length === 1 && Object.keys(given[0] ?? {}).length === 0;
  if (isReset) return [];
  const wanted = decodeOwners(given);
  // a client that does not understand the field does not lose it for the others
  return wanted === undefined || wanted.length === 0 ? stored : wanted;
}
