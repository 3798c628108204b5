/** The two kinds that are mirrored: whose objects they are, how a mirror of them says whether it is fresh. Pure. */
import {
  CONDITION_SYNCED,
  NODE_MAINTENANCES,
  ORIGIN_ANNOTATION,
  ROUTER_ANNOTATION,
  ROUTERS,
} from '../api/edge.ts';
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import type { KubeObject, ResourceRef } from '../api/meta.ts';
import { rfc3339 } from '../lib/clock.ts';
import { isRecord } from '../lib/json.ts';

/** An object that can be mirrored. */
export type Mirrored = Router | NodeMaintenance;

/** Whether a mirror is confirmed right now, and if not, why. */
export interface Verdict {
  isSynced: boolean;
  /** One CamelCase word. */
  reason: string;
  message: string;
}

/** A verdict as it stands in an object. */
export interface StandingVerdict {
  isSynced: boolean;
  reason: string | undefined;
}

/** What differs from kind to kind. */
export interface MirrorKind<T extends Mirrored> {
  resource: ResourceRef;
  /** Whether two objects of one name are a mistake: nodes have one Router each, but several Routers may know one node. */
  isUnique: boolean;
  /** Whether the API server of `node` may publish this object: no mirror, and about what the node itself serves. */
  isOwnedBy(node: string, object: T): boolean;
  verdictOf(object: T | undefined): StandingVerdict | undefined;
  /** The status of `base` with the verdict in it; its time moves only when the verdict does. */
  withVerdict(base: T, verdict: Verdict, previous: T | undefined, now: Date): T['status'];
}

/** The node an object was copied from; undefined for an object that its own API server owns. */
export function originOf(object: KubeObject): string | undefined {
  const origin: unknown = object.metadata.annotations?.[ORIGIN_ANNOTATION];
  return typeof origin === 'string' && origin !== '' ? origin : undefined;
}

/** Routers: a node owns the one that has its name. */
export const ROUTER_KIND: MirrorKind<Router> = {
  resource: ROUTERS,
  isUnique: true,
  isOwnedBy: (node, router) => router.metadata.name === node && originOf(router) === undefined,
  verdictOf(router) {
    const found = router?.status?.conditions?.find((condition) => condition.type === CONDITION_SYNCED);
    return found === undefined ? undefined : { isSynced: found.status === 'True', reason: found.reason };
  },
  withVerdict({ status }, { isSynced, reason, message }, previous, now) {
    const before = previous?.status?.conditions?.find(({ type }) => type === CONDITION_SYNCED);
    const value = isSynced ? 'True' : 'False';
    const since = before?.status === value ? before.lastTransitionTime : undefined;
    return {
      ...status,
      conditions: [
        ...(status?.conditions ?? []).filter(({ type }) => type !== CONDITION_SYNCED),
        {
          type: CONDITION_SYNCED,
          status: value,
          lastTransitionTime: since ?? rfc3339(now),
          reason,
          message,
        },
      ],
    };
  },
};

/** NodeMaintenances: a node owns those that its Router answers for, and those that no Router does. */
export const MAINTENANCE_KIND: MirrorKind<NodeMaintenance> = {
  resource: NODE_MAINTENANCES,
  isUnique: false,
  isOwnedBy(node, object) {
    const router = object.metadata.annotations?.[ROUTER_ANNOTATION] ?? '';
    return originOf(object) === undefined && (router === '' || router === node);
  },
  verdictOf(object) {
    const found = object?.status?.conditions?.find(({ type }) => type === CONDITION_SYNCED);
    return found === undefined ? undefined : { isSynced: found.status === true, reason: found.reason };
  },
  withVerdict({ status }, { isSynced, reason, message }, previous, now) {
    const before = previous?.status?.conditions?.find(({ type }) => type === CONDITION_SYNCED);
    const since = before?.status === isSynced ? before.timeStamp : undefined;
    return {
      ...status,
      conditions: [
        ...(status?.conditions ?? []).filter(({ type }) => type !== CONDITION_SYNCED),
        {
          name: isSynced ? 'synced' : 'unsynced',
          type: CONDITION_SYNCED,
          status: isSynced,
          timeStamp: since ?? rfc3339(now),
          reason,
          message,
        },
      ],
    };
  },
};

/** Whether a node can be reached for maintenance, by what its object says. */
export function isOnline(object: NodeMaintenance | undefined): boolean {
  return object?.status?.services?.some(({ status }) => status === 'online') === true;
}

function isTextMap(value: unknown): boolean {
  return value === undefined || (isRecord(value) && Object.values(value).every((v) => typeof v === 'string'));
}

/** Whether what a server sent has the shape that the code here relies on; the API server checks the rest on a write. */
export function isWellFormed(object: KubeObject): boolean {
  const { metadata, spec, status } = object;
  if (!isRecord(metadata) || !isTextMap(metadata.labels) || !isTextMap(metadata.annotations)) return false;
  if (!isRecord(spec) || (status !== undefined && !isRecord(status))) return false;
  return ['conditions', 'services'].every((key) => {
    const list = status?.[key];
    return list === undefined || (Array.isArray(list) && list.every(isRecord));
  });
}
