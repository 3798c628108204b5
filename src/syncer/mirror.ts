/** What a mirror should be, from what its origin says and what is here; pure. */
import { isDeepStrictEqual } from 'node:util';
import {
  ORIGIN_ANNOTATION,
  ROUTER_ANNOTATION,
  SSH_HOST_KEYS_ANNOTATION,
  SYNCED_AT_ANNOTATION,
} from '../api/edge.ts';
import { rfc3339 } from '../lib/clock.ts';
import { originOf } from './kinds.ts';
import type { Mirrored, MirrorKind } from './kinds.ts';

/** A status that changes all the time moves the time of confirmation no more often than this. */
const CONFIRM_WITH_STATUS_MS = 10_000;
/** A mirror at rest is confirmed this often. */
export const CONFIRM_IDLE_MS = 60_000;
/** Annotations that say what an object is, and so belong to its mirrors too. */
const COPIED_ANNOTATIONS = [ROUTER_ANNOTATION, SSH_HOST_KEYS_ANNOTATION];

/** What is known about the origin of one mirror. */
export interface Claim<T extends Mirrored> {
  /** The node that the object belongs to. */
  origin: string;
  /** What the origin has: its object, none (undefined), or not known since it did not answer yet. */
  source: T | undefined | 'unknown';
  isReachable: boolean;
  /** Why it is not, as one word and as a sentence that does not change from try to try. */
  reason: string;
  problem: string;
  /** Something may have changed after this time although nothing tells, milliseconds. */
  recheckMs?: number | undefined;
}

/** What is to be decided about. */
export interface MirrorInput<T extends Mirrored> extends Claim<T> {
  kind: MirrorKind<T>;
  name: string;
  local: T | undefined;
  now: Date;
  /** How often a mirror at rest is confirmed, milliseconds. */
  confirmMs: number;
}

/** What to do with the mirror. */
export type MirrorPlan<T extends Mirrored> =
  | { action: 'none' }
  | { action: 'delete' }
  /** There is an object of this name that is no mirror. It is left alone. */
  | { action: 'conflict' }
  /** `desired` is complete; the flags say which halves differ from what is here. */
  | { action: 'write'; desired: T; isMainChanged: boolean; isStatusChanged: boolean };

/** Decides about one mirror. */
export function planMirror<T extends Mirrored>(input: MirrorInput<T>): MirrorPlan<T> {
  const { kind, origin, local, source } = input;
  const localOrigin = local === undefined ? undefined : originOf(local);
  if (source === undefined) return { action: localOrigin === origin ? 'delete' : 'none' };
  if (local !== undefined && localOrigin === undefined)
    return { action: source === 'unknown' ? 'none' : 'conflict' };
  const base = source === 'unknown' ? local : source;
  if (base === undefined || (source === 'unknown' && (input.isReachable || localOrigin !== origin)))
    return { action: 'none' };
  const desired = desiredMirror(base, input);
  const isStatusChanged = !isDeepStrictEqual(desired.status, local?.status);
  const isContentChanged =
    local === undefined ||
    !isDeepStrictEqual(desired.spec, local.spec) ||
    !isDeepStrictEqual(desired.metadata.labels ?? {}, local.metadata.labels ?? {}) ||
    !isDeepStrictEqual(withoutTime(desired), withoutTime(local));
  const isFlipped = kind.verdictOf(local)?.isSynced !== input.isReachable;
  const isMainChanged = isContentChanged || isFlipped || isConfirmationDue(input, isStatusChanged);
  if (!isMainChanged && !isStatusChanged) return { action: 'none' };
  if (!isMainChanged) desired.metadata.annotations = { ...local.metadata.annotations };
  return { action: 'write', desired, isMainChanged, isStatusChanged };
}

function isConfirmationDue<T extends Mirrored>(input: MirrorInput<T>, isStatusChanged: boolean): boolean {
  if (!input.isReachable) return false; // the time says when the origin last confirmed; silence confirms nothing
  const syncedAt = Date.parse(input.local?.metadata.annotations?.[SYNCED_AT_ANNOTATION] ?? '');
  const ageMs = input.now.getTime() - syncedAt;
  // a time in the future (the clock was set back) would never come due
  return !(ageMs >= 0 && ageMs < (isStatusChanged ? CONFIRM_WITH_STATUS_MS : input.confirmMs));
}

function desiredMirror<T extends Mirrored>(base: T, input: MirrorInput<T>): T {
  const { kind, name, origin, local, isReachable, now } = input;
  const { labels, annotations = {} } = base.metadata;
  const syncedAt = isReachable
    ? rfc3339(now)
    : (local?.metadata.annotations?.[SYNCED_AT_ANNOTATION] ?? rfc3339(now));
  const copied = COPIED_ANNOTATIONS.flatMap((key) =>
    annotations[key] === undefined ? [] : [[key, annotations[key]] as const],
  );
  const verdict = isReachable
    ? { isSynced: true, reason: 'Synced', message: `${origin} confirms this ${kind.resource.kind}` }
    : { isSynced: false, reason: input.reason, message: input.problem };
  return {
    apiVersion: base.apiVersion,
    kind: base.kind,
    metadata: {
      name,
      ...(labels === undefined ? {} : { labels: { ...labels } }),
      annotations: {
        ...Object.fromEntries(copied),
        [ORIGIN_ANNOTATION]: origin,
        [SYNCED_AT_ANNOTATION]: syncedAt,
      },
    },
    spec: base.spec,
    status: kind.withVerdict(base, verdict, local, now),
  } as Mirrored as T;
}

function withoutTime(object: Mirrored): Record<string, string> {
  const { [SYNCED_AT_ANNOTATION]: _time, ...rest } = object.metadata.annotations ?? {};
  return rest;
}
