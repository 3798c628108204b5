/** Server-side apply: what an object and its owners become when a writer applies the fields it wants. Pure. */
import type { JsonSchema } from '../../api/crd.ts';
import type { KubeObject } from '../../api/meta.ts';
import { isEqualJson, isRecord } from '../../lib/json.ts';
import { compareFields, fieldsOf } from './compare.ts';
import { applyConflict } from './conflicts.ts';
import type { Conflict } from './conflicts.ts';
import { FieldSet } from './field-set.ts';
import {
  lastApplied,
  LAST_APPLIED_MANAGER,
  recordLastApplied,
  unchangedSinceLastApplied,
} from './last-applied.ts';
import { mergeConfiguration, removeFields, withNamedFields } from './merge.ts';
import { isSameOwner, ownable } from './owners.ts';
import type { Owner, Writer } from './owners.ts';

/** One apply. */
export interface ApplyInput {
  schema: JsonSchema;
  /** The object without managedFields; undefined when it does not exist. */
  live: KubeObject | undefined;
  /** What the writer wants: pruned, without defaults, without what this endpoint does not write. */
  config: Record<string, unknown>;
  owners: readonly Owner[];
  writer: Writer;
  /** RFC 3339. */
  time: string;
  /** Take conflicting fields from their owners. */
  isForced: boolean;
}

/** What an apply leads to, before defaults and validation. */
export interface Applied {
  object: Record<string, unknown>;
  owners: Owner[];
}

/** Owner of what an object had before its first apply. */
const BEFORE_FIRST_APPLY = 'before-first-apply';

/** Applies; throws a 409 Status that names the conflicts. */
export function applyConfiguration(input: ApplyInput): Applied {
  const { schema, live, config, writer } = input;
  const isKubectl = writer.manager === LAST_APPLIED_MANAGER;
  const outcome = tryApply(input);
  let applied = outcome;
  if (outcome.conflicts.length > 0 && !input.isForced) {
    const allowed = isKubectl ? unchangedSinceLastApplied(schema, live) : FieldSet.of();
    const refused = outcome.conflicts
      .map(({ owner, fields }) => ({ owner, fields: fields.difference(allowed) }))
      .filter(({ fields }) => !fields.isEmpty);
    if (refused.length > 0) throw applyConflict(refused);
    applied = tryApply({ ...input, isForced: true });
  }
  const { object, owners } = applied;
  if (isKubectl && lastApplied(object) !== undefined) recordLastApplied(object, config);
  return { object, owners };
}

function tryApply(input: ApplyInput): Applied & { conflicts: Conflict[] } {
  const { schema, live, config, writer, time } = input;
  const owners = live !== undefined && input.owners.length === 0 ? attributed(input) : [...input.owners];
  const previous = owners.find((owner) => isSameOwner(owner, writer));
  const others = owners.filter((owner) => owner !== previous);
  const wanted = fieldsOf(schema, config);
  const before = live ?? {};
  const merged = mergeConfiguration(schema, before, config);
  const owned = others.reduce((all, owner) => all.union(owner.fields), wanted);
  const pruned = prune(schema, merged, previous?.fields ?? FieldSet.of(), { owned, wanted });
  // again, because a container that the writer wants empty may have lost its last member
  const again = mergeConfiguration(schema, pruned, config);
  const object = isRecord(again) ? { ...again } : {};
  const { added, modified, removed } = compareFields(schema, before, object);
  const changed = added.union(modified);
  const conflicts = others
    .map((owner) => ({ owner, fields: owner.fields.intersection(changed) }))
    .filter(({ fields }) => !fields.isEmpty);
  const fields = ownable(wanted);
  const isMoved = previous === undefined || !previous.fields.equals(fields) || !isEqualJson(object, before);
  return {
    object,
    conflicts,
    owners: [
      ...others.map((owner) => ({ ...owner, fields: owner.fields.difference(changed).difference(removed) })),
      { ...writer, time: isMoved ? time : previous.time, fields },
    ],
  };
}

/** The owners of an object that nobody applied or tracked so far: all it has belongs to one updater. */
function attributed({ schema, live, writer, time }: ApplyInput): Owner[] {
  // through an endpoint counts what it writes: all but status, or status alone
  const { status, ...main } = live ?? {};
  const part = writer.subresource === '' ? main : status === undefined ? {} : { status };
  const { added } = compareFields(schema, {}, part);
  return [{ ...writer, manager: BEFORE_FIRST_APPLY, operation: 'Update', time, fields: ownable(added) }];
}

/**
 * Removes what the writer applied last time and now does not, unless somebody else owns it. Fields that nobody owns
 * stay where they are, except below a field that goes. `wanted` is what the writer owns of `owned`.
 */
function prune(
  schema: JsonSchema,
  merged: unknown,
  last: FieldSet,
  { owned, wanted }: { owned: FieldSet; wanted: FieldSet },
): unknown {
  if (last.isEmpty) return merged;
  const named = (set: FieldSet): FieldSet => withNamedFields(schema, set);
  const all = named(fieldsOf(schema, merged));
  const has = (value: unknown): FieldSet => named(fieldsOf(schema, value ?? {}));
  const without = removeFields(schema, merged, named(last));
  // back comes what has an owner, and then what the writer never had
  const withOwned = removeFields(schema, merged, all.difference(has(without)).difference(named(owned)));
  // what is wanted stays: where nothing but an empty list is left of a container, which is no field, it looks gone
  const gone = all.difference(has(withOwned)).intersection(named(last)).difference(named(wanted));
  return removeFields(schema, merged, gone);
}
