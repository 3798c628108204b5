/** What the Routers of a node say about its health; pure. */
import {
  CONDITION_READY,
  CONDITION_SYNCED,
  ORIGIN_ANNOTATION,
  SYNCED_AT_ANNOTATION,
} from '../../api/edge.ts';
import type { Router, RouterStatusCondition } from '../../api/gen/types.ts';
import { ageOf } from '../../api/age.ts';

/** One finding about one part. */
export interface StatusLine {
  part: string;
  /** `stale` is worth knowing and heals by itself; `absent` is fine when it is meant so. */
  state: 'ok' | 'problem' | 'stale' | 'absent';
  text: string;
  hint?: string;
}

/** A status that was not confirmed for longer than this is no longer believed. */
export const HEARTBEAT_LIMIT_MS = 120_000;

function conditionOf(router: Router, type: string): RouterStatusCondition | undefined {
  return router.status?.conditions?.find((condition) => condition.type === type);
}

/** The node's own Router. */
export function ownRouterLines(
  node: string,
  routers: readonly Router[],
  nowMs: number = Date.now(),
): StatusLine[] {
  const own = routers.find((router) => router.metadata.name === node);
  if (own === undefined) {
    const others = routers
      .filter((router) => router.metadata.annotations?.[ORIGIN_ANNOTATION] === undefined)
      .map(({ metadata }) => metadata.name);
    const hint =
      others.length === 0
        ? `apply a Router called ${node}`
        : `apply a Router called ${node}, or say which node this is: --node ${others.join(' or ')}`;
    return [{ part: 'Router', state: 'problem', text: `there is no Router ${node}`, hint }];
  }
  const ready = conditionOf(own, CONDITION_READY);
  const address = own.status?.addresses?.[0]?.address;
  const text = [
    `${address ?? 'no address'}:${own.spec.frps.bindPort}`,
    `${own.status?.activeServices?.length ?? 0} services`,
    `${own.status?.clients?.length ?? 0} clients`,
  ].join(', ');
  const beatAt = Date.parse(own.status?.lastHeartbeatTime ?? '');
  if (ready === undefined) {
    return [
      {
        part: 'Router',
        state: 'problem',
        text: `${node} has no status`,
        hint: `start "edge router --node ${node}"`,
      },
    ];
  }
  if (nowMs - beatAt > HEARTBEAT_LIMIT_MS) {
    return [
      {
        part: 'Router',
        state: 'problem',
        text: `${text}, silent for ${ageOf(own.status?.lastHeartbeatTime, nowMs)}`,
        hint: `is "edge router --node ${node}" running?`,
      },
    ];
  }
  if (ready.status !== 'True') {
    return [
      {
        part: 'Router',
        state: 'problem',
        text: `${text}, not ready: ${ready.message ?? ready.reason ?? 'no reason given'}`,
        hint: 'see the log of the router',
      },
    ];
  }
  return [
    { part: 'Router', state: 'ok', text: `${text}, ready for ${ageOf(ready.lastTransitionTime, nowMs)}` },
  ];
}

/** The mirrors of other nodes' Routers. */
export function mirrorLines(node: string, routers: readonly Router[], nowMs: number): StatusLine[] {
  const mirrors = routers.filter(
    (router) =>
      router.metadata.name !== node && router.metadata.annotations?.[ORIGIN_ANNOTATION] !== undefined,
  );
  if (mirrors.length === 0) return [{ part: 'mirrors', state: 'absent', text: 'none' }];
  return mirrors.map((mirror) => mirrorLine(mirror, nowMs));
}

/** The syncer confirms mirrors at rest once a minute; twice that without a word means that it does not run. */
export const CONFIRMATION_LIMIT_MS = 150_000;

function mirrorLine(mirror: Router, nowMs: number): StatusLine {
  const part = `mirror ${mirror.metadata.name ?? ''}`;
  const synced = conditionOf(mirror, CONDITION_SYNCED);
  const syncedAt = mirror.metadata.annotations?.[SYNCED_AT_ANNOTATION];
  const services = `${mirror.status?.activeServices?.length ?? 0} services`;
  if (synced?.status === 'False') {
    return {
      part,
      state: 'stale',
      text: `${services}, ${synced.message ?? 'not confirmed'}, for ${ageOf(synced.lastTransitionTime, nowMs)}`,
      hint: 'its last state goes on being used; check the network and the peer',
    };
  }
  if (nowMs - Date.parse(syncedAt ?? '') > CONFIRMATION_LIMIT_MS) {
    return {
      part,
      state: 'problem',
      text: `${services}, last confirmed ${ageOf(syncedAt, nowMs)} ago`,
      hint: 'is "edge syncer" running on this node?',
    };
  }
  return { part, state: 'ok', text: `${services}, confirmed ${ageOf(syncedAt, nowMs)} ago` };
}
