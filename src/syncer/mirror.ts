/** What the mirror of a peer's Router should be, from what the peer says and what is here; pure. */
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, CONDITION_SYNCED, ORIGIN_ANNOTATION, SYNCED_AT_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatus, RouterStatusCondition } from '../api/gen/types.ts';
import { rfc3339 } from '../lib/clock.ts';

/** A status that changes all the time moves the time of confirmation no more often than this. */
const CONFIRM_WITH_STATUS_MS = 10_000;
/** A mirror at rest is confirmed this often. */
export const CONFIRM_IDLE_MS = 60_000;

/** What is known about one peer's Router. */
export interface MirrorInput {
  /** The peer's node, which is also the name of its Router and of the mirror. */
  node: string;
  /** What the peer has: its object, none (undefined), or not known since the peer did not answer yet. */
  source: Router | undefined | 'unknown';
  local: Router | undefined;
  isReachable: boolean;
  /** Why the peer is not reachable, in words that do not change from try to try. */
  problem?: string | undefined;
  now: Date;
}

/** What to do with the mirror. */
export type MirrorPlan =
  | { action: 'none' }
  | { action: 'delete' }
  /** `desired` is complete; the flags say which halves differ from what is here. */
  | { action: 'write'; desired: Router; isMainChanged: boolean; isStatusChanged: boolean };

/** The node an object was copied from; undefined for an object that its own apiserver owns. */
export function originOf(router: Router): string | undefined {
  return router.metadata.annotations?.[ORIGIN_ANNOTATION];
}

/** Whether the peer may publish this object: its own name, and no mirror itself. */
export function isOwnedBy(node: string, router: Router): boolean {
  return router.metadata.name === node && originOf(router) === undefined;
}

/** Decides about one mirror. */
export function planMirror(input: MirrorInput): MirrorPlan {
  const { node, local } = input;
  const source =
    input.source !== 'unknown' && input.source !== undefined && !isOwnedBy(node, input.source)
      ? undefined
      : input.source;
  if (source === undefined) {
    // An object without an origin was made here by someone else; it is not ours to remove.
    return local !== undefined && originOf(local) === node ? { action: 'delete' } : { action: 'none' };
  }
  const base = source === 'unknown' ? local : source;
  if (base === undefined || (source === 'unknown' && (input.isReachable || originOf(base) !== node)))
    return { action: 'none' };
  const desired = desiredMirror(base, input);
  const isStatusChanged = !isDeepStrictEqual(desired.status, local?.status);
  const isContentChanged =
    local === undefined ||
    !isDeepStrictEqual(desired.spec, local.spec) ||
    !isDeepStrictEqual(desired.metadata.labels ?? {}, local.metadata.labels ?? {}) ||
    !isDeepStrictEqual(withoutTime(desired), withoutTime(local));
  const isFlipped = syncedOf(local?.status)?.status !== syncedOf(desired.status)?.status;
  const isMainChanged = isContentChanged || isFlipped || isConfirmationDue(input, isStatusChanged);
  if (!isMainChanged && !isStatusChanged) return { action: 'none' };
  if (!isMainChanged) desired.metadata.annotations = { ...local?.metadata.annotations };
  return { action: 'write', desired, isMainChanged, isStatusChanged };
}

function isConfirmationDue(input: MirrorInput, isStatusChanged: boolean): boolean {
  if (!input.isReachable) return false; // the time says when the peer last confirmed; silence confirms nothing
  const syncedAt = Date.parse(input.local?.metadata.annotations?.[SYNCED_AT_ANNOTATION] ?? '');
  const ageMs = input.now.getTime() - syncedAt;
  // a time in the future (the clock was set back) would never come due
  return !(ageMs >= 0 && ageMs < (isStatusChanged ? CONFIRM_WITH_STATUS_MS : CONFIRM_IDLE_MS));
}

function desiredMirror(base: Router, input: MirrorInput): Router {
  const { local, isReachable, now } = input;
  const labels = base.metadata.labels;
  const syncedAt = isReachable
    ? rfc3339(now)
    : (local?.metadata.annotations?.[SYNCED_AT_ANNOTATION] ?? rfc3339(now));
  return {
    apiVersion: API_VERSION,
    kind: 'Router',
    metadata: {
      name: input.node,
      ...(labels === undefined ? {} : { labels: { ...labels } }),
      annotations: { [ORIGIN_ANNOTATION]: input.node, [SYNCED_AT_ANNOTATION]: syncedAt },
    },
    spec: base.spec,
    status: {
      ...base.status,
      conditions: [
        ...(base.status?.conditions ?? []).filter((condition) => condition.type !== CONDITION_SYNCED),
        syncedCondition(input),
      ],
    },
  };
}

/** The Synced condition; its time moves only when its status does. */
function syncedCondition(input: MirrorInput): RouterStatusCondition {
  const { isReachable, local, now } = input;
  const previous = syncedOf(local?.status);
  const status = isReachable ? 'True' : 'False';
  return {
    type: CONDITION_SYNCED,
    status,
    lastTransitionTime:
      previous?.status === status && previous.lastTransitionTime !== undefined
        ? previous.lastTransitionTime
        : rfc3339(now),
    reason: isReachable ? 'Synced' : 'PeerUnreachable',
    message: isReachable
      ? 'the peer confirms this Router'
      : (input.problem ?? 'the API server of the peer does not answer'),
  };
}

function syncedOf(status: RouterStatus | undefined): RouterStatusCondition | undefined {
  return status?.conditions?.find((condition) => condition.type === CONDITION_SYNCED);
}

function withoutTime(router: Router): Record<string, string> {
  const { [SYNCED_AT_ANNOTATION]: _time, ...rest } = router.metadata.annotations ?? {};
  return rest;
}
