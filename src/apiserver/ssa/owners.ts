/** Who owns which fields: metadata.managedFields, read into sets and written back in the reference's order. */
import type { ManagedFieldsEntry } from '../../api/meta.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { FieldSet } from './field-set.ts';
import { decodeFields, encodeFields } from './fields-v1.ts';
import { memberElement } from './path-element.ts';

/** An actor with its fields. The same name may stand for several owners: one an operation and subresource. */
export interface Owner {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  subresource: string;
  /** When the owner last took fields (RFC 3339); clients may leave it out. */
  time: string | undefined;
  fields: FieldSet;
}

/** Who writes now. */
export type Writer = Omit<Owner, 'time' | 'fields'>;

/** Owners of updates that are kept apart; the oldest others are folded into one. */
const MAX_UPDATERS = 10;
const FOLDED_UPDATERS = 'ancient-changes';

const UNOWNED_METADATA = [
  'name',
  'namespace',
  'creationTimestamp',
  'selfLink',
  'uid',
  'generation',
  'managedFields',
  'resourceVersion',
];
/** What nobody owns: the identity of an object and what the server sets. */
const UNOWNED = FieldSet.of([
  [memberElement('apiVersion')],
  [memberElement('kind')],
  [memberElement('metadata')],
  ...UNOWNED_METADATA.map((name) => [memberElement('metadata'), memberElement(name)]),
]);

/** A set without the fields that nobody owns. */
export function ownable(fields: FieldSet): FieldSet {
  return fields.difference(UNOWNED);
}

/** Whether an owner is this writer. Appliers stay the same when the version they speak changes. */
export function isSameOwner(owner: Writer, writer: Writer): boolean {
  return (
    owner.manager === writer.manager &&
    owner.operation === writer.operation &&
    owner.subresource === writer.subresource &&
    (owner.operation === 'Apply' || owner.apiVersion === writer.apiVersion)
  );
}

/** Clients send these entries; a wrong type reads as nothing. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Of managedFields that were written here or read once; stored objects keep theirs, and neither ever changes. */
const known = new WeakMap<readonly ManagedFieldsEntry[], readonly Owner[]>();

/** Reads managedFields; undefined when an entry is not what it should be. */
export function decodeOwners(
  entries: readonly ManagedFieldsEntry[] | undefined,
): readonly Owner[] | undefined {
  if (entries === undefined) return [];
  let owners = known.get(entries);
  if (owners !== undefined) return owners;
  owners = readOwners(entries);
  if (owners !== undefined) known.set(entries, owners);
  return owners;
}

function readOwners(entries: readonly ManagedFieldsEntry[]): Owner[] | undefined {
  const owners: Owner[] = [];
  for (const entry of entries) {
    const { operation, fieldsType, time } = entry;
    const fields = decodeFields(entry.fieldsV1 ?? {});
    if (
      (operation !== 'Apply' && operation !== 'Update') ||
      fieldsType !== 'FieldsV1' ||
      fields === undefined
    )
      return undefined;
    const at = typeof time === 'string' ? Date.parse(time) : Number.NaN;
    owners.push({
      manager: textOf(entry.manager),
      operation,
      apiVersion: textOf(entry.apiVersion),
      subresource: textOf(entry.subresource),
      time: Number.isNaN(at) ? undefined : rfc3339(new Date(at)),
      fields,
    });
  }
  return owners;
}

function seconds(owner: Owner): number {
  return owner.time === undefined ? 0 : Date.parse(owner.time);
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareOwners(a: Owner, b: Owner): number {
  return (
    byText(a.operation, b.operation) ||
    seconds(a) - seconds(b) ||
    byText(a.manager, b.manager) ||
    byText(a.apiVersion, b.apiVersion) ||
    byText(a.subresource, b.subresource)
  );
}

function encodeOwner({
  manager,
  operation,
  apiVersion,
  time,
  fields,
  subresource,
}: Owner): ManagedFieldsEntry {
  const entry: ManagedFieldsEntry = { manager, operation, apiVersion };
  if (time !== undefined) entry.time = time;
  entry.fieldsType = 'FieldsV1';
  entry.fieldsV1 = encodeFields(fields);
  if (subresource !== '') entry.subresource = subresource;
  return entry;
}

/** Writes managedFields: Apply before Update, then by time, manager, version and subresource. Empty owners go. */
export function encodeOwners(owners: readonly Owner[]): ManagedFieldsEntry[] {
  const written = owners.filter((owner) => !owner.fields.isEmpty).sort(compareOwners);
  const entries = written.map(encodeOwner);
  known.set(entries, written);
  return entries;
}

/** Folds the oldest owners of updates into `ancient-changes` when there are more than ten. */
export function foldOldest(owners: readonly Owner[]): readonly Owner[] {
  if (owners.length <= MAX_UPDATERS) return owners;
  const updaters = owners
    .filter((owner) => owner.operation === 'Update' && !owner.fields.isEmpty)
    .sort((a, b) => seconds(a) - seconds(b) || (a.manager < b.manager ? -1 : 1));
  const excess = updaters.length - MAX_UPDATERS;
  if (excess <= 0) return owners;
  const oldest = updaters.slice(0, excess + 1);
  const folded: Owner = {
    manager: FOLDED_UPDATERS,
    operation: 'Update',
    apiVersion: oldest[0]?.apiVersion ?? '',
    subresource: '',
    time: oldest.at(-1)?.time,
    fields: oldest.reduce((all, owner) => all.union(owner.fields), FieldSet.of()),
  };
  return [...owners.filter((owner) => !oldest.includes(owner)), folded];
}

/** Whether two lists of entries differ in nothing but times. */
export function isSameOwnership(a: readonly Owner[], b: readonly Owner[]): boolean {
  const kept = a.filter((owner) => !owner.fields.isEmpty);
  return (
    kept.length === b.length &&
    kept.every((owner) => {
      const other = b.find((candidate) => isSameOwner(candidate, owner));
      return other !== undefined && other.fields.equals(owner.fields);
    })
  );
}
