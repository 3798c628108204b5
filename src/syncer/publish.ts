/**
 * What becomes of the own Router between the node and the hub; pure. The hub owns spec and labels, the node owns the
 * status. A Router that one side lacks is made from the other side's.
 */
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, CONDITION_SYNCED, PUBLISHER_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatus } from '../api/gen/types.ts';
import { SILENT_MS } from './hub.ts';
import { originOf } from './kinds.ts';

/** Both sides of the own Router. */
export interface OwnInput {
  node: string;
  /** Tells this installation from another one of the same name. */
  publisher: string;
  local: Router | undefined;
  hub: Router | undefined;
  /** How long the hub's Router has said nothing new, milliseconds. */
  silenceMs: number;
}

/** What to write; absent parts are right already. */
export interface OwnPlan {
  /** Why nothing is published. */
  conflict?: string;
  /** The whole object, but for its version. */
  hubMain?: Router;
  hubStatus?: RouterStatus;
  localMain?: Router;
}

/** Decides about the own Router. */
export function planOwn(input: OwnInput): OwnPlan {
  const { node, publisher, local, hub } = input;
  if (local !== undefined && originOf(local) !== undefined)
    return { conflict: `the Router ${node} of this node is a mirror; is another syncer told to mirror it?` };
  if (hub === undefined) {
    if (local === undefined) return {};
    const hubMain = mainPart(node, local, { [PUBLISHER_ANNOTATION]: publisher });
    return { hubMain, ...statusPart(local, undefined) };
  }
  if (originOf(hub) !== undefined)
    return { conflict: `the Router ${node} at the hub is a mirror; a hub must not mirror its nodes` };
  if (hub.metadata.deletionTimestamp !== undefined) return {};
  const toLocal = localPart(node, local, hub);
  const holder = hub.metadata.annotations?.[PUBLISHER_ANNOTATION];
  if (holder !== undefined && holder !== publisher && input.silenceMs < SILENT_MS) {
    const conflict = `another node publishes as ${node} at the hub (publisher ${holder.slice(0, 40)}, this is ${publisher}), so this one does not; rename one of them, or wait 90 s if this replaces it`;
    return { conflict, ...toLocal };
  }
  const taken = { ...hub.metadata.annotations, [PUBLISHER_ANNOTATION]: publisher };
  return {
    ...(holder === publisher ? {} : { hubMain: mainPart(node, hub, taken) }),
    ...(local === undefined ? {} : statusPart(local, hub)),
    ...toLocal,
  };
}

function mainPart(node: string, from: Router, annotations: Record<string, string> | undefined): Router {
  const { labels } = from.metadata;
  return {
    apiVersion: API_VERSION,
    kind: 'Router',
    metadata: {
      name: node,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    spec: from.spec,
  };
}

function localPart(node: string, local: Router | undefined, hub: Router): Pick<OwnPlan, 'localMain'> {
  const isSame =
    local !== undefined &&
    isDeepStrictEqual(local.spec, hub.spec) &&
    isDeepStrictEqual(local.metadata.labels ?? {}, hub.metadata.labels ?? {});
  return isSame ? {} : { localMain: mainPart(node, hub, local?.metadata.annotations) };
}

function statusPart(local: Router, hub: Router | undefined): Pick<OwnPlan, 'hubStatus'> {
  if (local.status === undefined) return {};
  const hubStatus = publishedStatus(local, hub, local.status);
  return isDeepStrictEqual(hubStatus, hub?.status) ? {} : { hubStatus };
}

/** The status in terms of the hub's object: generations count the hub's spec, and freshness is for mirrors to tell. */
function publishedStatus(local: Router, hub: Router | undefined, status: RouterStatus): RouterStatus {
  const isCurrent = hub === undefined || isDeepStrictEqual(local.spec, hub.spec);
  const theirs = hub?.metadata.generation ?? 1;
  const generation = (observed: number | undefined): { observedGeneration?: number } =>
    observed === undefined
      ? {}
      : {
          observedGeneration:
            isCurrent && observed === local.metadata.generation ? theirs : Math.max(0, theirs - 1),
        };
  return {
    ...status,
    ...generation(status.observedGeneration),
    ...(status.conditions === undefined
      ? {}
      : {
          conditions: status.conditions
            .filter(({ type }) => type !== CONDITION_SYNCED)
            .map((condition) => ({ ...condition, ...generation(condition.observedGeneration) })),
        }),
  };
}
