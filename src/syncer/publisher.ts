/** Keeps the own Router at the hub and on the node in step: status goes up, spec and labels come down. */
import { isDeepStrictEqual } from 'node:util';
import { ROUTERS } from '../api/edge.ts';
import type { Router, RouterStatus } from '../api/gen/types.ts';
import type { ApiClient } from '../apiclient/client.ts';
import type { Informer } from '../apiclient/informer.ts';
import { createWorkQueue } from '../apiclient/workqueue.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Conflicts } from './conflicts.ts';
import { SILENT_MS } from './hub.ts';
import type { Hub } from './hub.ts';
import { isWellFormed } from './kinds.ts';
import type { SyncerMetrics } from './metrics.ts';
import { planOwn } from './publish.ts';
import type { OwnPlan } from './publish.ts';
import { Trouble } from './trouble.ts';

/** Whose Router, and where it is. */
export interface PublisherConfig {
  node: string;
  publisher: string;
  hub: Hub;
  /** The hub's API server; the owner closes it. */
  hubClient: ApiClient;
  /** All Routers of this node's API server. */
  local: Informer<Router>;
  /** This node's API server, with credentials that may write the own Router's spec. The owner closes it. */
  own: ApiClient;
}

/** What it needs from around it. */
export interface PublisherDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  metrics: SyncerMetrics;
  conflicts: Conflicts;
}

/** The publisher. */
export interface Publisher {
  /** Notes that the own Router may have changed, here or at the hub. */
  check(): void;
  stop(): Promise<void>;
}

const MAX_RETRY_MS = 1000;
const MIN_WRITE_GAP_MS = 50;
/** Between writes while somebody else writes the same status: both stay visible, and neither floods the hub. */
const CONTESTED_GAP_MS = 10_000;
/** How long a followed copy may lag behind a write before its state is believed again. */
const MAX_LAG_MS = 2000;
/** The same two versions are not compared again for this long, lest two servers with different defaults make this write for ever. */
const SETTLED_MS = 30_000;
const WRITE_OPTIONS = { fieldManager: 'edge-syncer', fieldValidation: 'Ignore' } as const;

const AT_HUB = {
  begins: 'cannot publish the own Router at the hub, trying again',
  isOver: 'the own Router is published again',
};
const AT_HOME = {
  begins: 'cannot write the own Router as the hub says, trying again',
  isOver: 'the own Router is written again',
};

/** A write of one side, until its copy shows it. */
interface Written {
  version: string | undefined;
  at: number;
  isSeen: boolean;
}

/** Creates the publisher; it acts from the first check() on. */
export function createPublisher(config: PublisherConfig, deps: PublisherDeps): Publisher {
  const { node, hub, hubClient, local, own } = config;
  const { clock, log, metrics, conflicts } = deps;
  const subject = `hub/${node}`; // apart from what the mirrors tell about names here
  const queue = createWorkQueue({ handle: reconcile, maxRetryMs: MAX_RETRY_MS }, deps);
  const atHubTrouble = new Trouble(log, AT_HUB, { router: node });
  const atHomeTrouble = new Trouble(log, AT_HOME, { router: node });
  const written: { hub?: Written; local?: Written } = {};
  let published: { version: string | undefined; status: RouterStatus | undefined } | undefined;
  let contestedAt = Number.NEGATIVE_INFINITY;
  let settled: { hub: string | undefined; local: string | undefined; at: number } | undefined;

  /** How long to wait before this side may be written, or its copy believed, again. */
  function waitFor(side: Written | undefined, copy: Router | undefined, gapMs: number): number {
    if (side === undefined) return 0;
    side.isSeen ||= copy?.metadata.resourceVersion === side.version;
    const sinceMs = clock.now() - side.at;
    return Math.max(side.isSeen ? 0 : MAX_LAG_MS - sinceMs, gapMs - sinceMs);
  }

  /** Two nodes made from one image, or one started twice, have the same credentials: only what they do tells. */
  function noteOverwrite(atHub: Router | undefined): void {
    if (published === undefined || atHub === undefined || written.hub?.isSeen !== true) return;
    if (atHub.metadata.resourceVersion === published.version) return;
    if (isDeepStrictEqual(atHub.status, published.status)) return;
    contestedAt = clock.now();
    published = undefined; // one write is one overwrite
  }

  async function reconcile(_key: string, signal: AbortSignal): Promise<void> {
    const isKnown = local.hasSynced && local.isConnected && hub.routerCopy.hasSynced && hub.isConnected;
    if (!isKnown) return; // either one's reconnection leads back here
    const atHub = hub.routerCopy.get(node);
    const here = local.get(node);
    const waits = [
      waitFor(written.local, here, MIN_WRITE_GAP_MS),
      waitFor(written.hub, atHub, MIN_WRITE_GAP_MS),
    ];
    noteOverwrite(atHub);
    const isContested = clock.now() - contestedAt < SILENT_MS;
    if (isContested) {
      const what = `something else writes the status of ${node} at the hub; is there a second node of this name, or a second syncer on this one?`;
      conflicts.report(subject, what);
      waits.push(waitFor(written.hub, atHub, CONTESTED_GAP_MS));
    }
    const waitMs = Math.max(...waits);
    if (waitMs > 0) {
      queue.addAfter(node, waitMs);
      return;
    }
    if (atHub !== undefined && !isWellFormed(atHub)) {
      conflicts.report(subject, `the Router ${node} at the hub is malformed and is left alone`);
      return;
    }
    const { publisher } = config;
    const plan = planOwn({ node, publisher, local: here, hub: atHub, silenceMs: hub.silenceOf(node) });
    tell(plan, isContested);
    await act(plan, here, atHub, signal);
  }

  function tell(plan: OwnPlan, isContested: boolean): void {
    if (plan.conflict !== undefined) conflicts.report(subject, plan.conflict);
    else if (!isContested) conflicts.clear(subject);
    if (plan.conflict !== undefined || isContested) queue.addAfter(node, CONTESTED_GAP_MS);
  }

  async function act(
    plan: OwnPlan,
    here: Router | undefined,
    atHub: Router | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { hubMain, hubStatus, localMain } = plan;
    if (hubMain === undefined && hubStatus === undefined && localMain === undefined) return;
    const versions = { hub: atHub?.metadata.resourceVersion, local: here?.metadata.resourceVersion };
    const isTried = settled !== undefined && settled.hub === versions.hub && settled.local === versions.local;
    if (isTried && clock.now() - (settled?.at ?? 0) < SETTLED_MS) return;
    const options = { ...WRITE_OPTIONS, signal };
    let newest = { hub: atHub, local: here };
    if (localMain !== undefined) {
      if (here !== undefined)
        log.warn('the spec of the own Router is not the one of the hub; the hub decides', { router: node });
      const object = await atHomeTrouble.watch(
        here === undefined
          ? own.create(ROUTERS, localMain, options)
          : own.update(ROUTERS, onto(here, localMain), options),
      );
      newest = { ...newest, local: object };
      written.local = { version: object.metadata.resourceVersion, at: clock.now(), isSeen: false };
      log.info('took the spec of the own Router from the hub', { router: node });
    }
    if (hubMain !== undefined) {
      const object = await atHubTrouble.watch(
        atHub === undefined
          ? hubClient.create(ROUTERS, hubMain, options)
          : hubClient.update(ROUTERS, onto(atHub, hubMain), options),
      );
      newest = { ...newest, hub: object };
      noteWrite(object);
      log.info('publishing the own Router at the hub', { router: node });
    }
    if (hubStatus !== undefined && newest.hub !== undefined) {
      const object = await atHubTrouble.watch(
        hubClient.updateStatus(ROUTERS, { ...newest.hub, status: hubStatus }, options),
      );
      newest = { ...newest, hub: object };
      noteWrite(object);
    }
    settled = {
      hub: newest.hub?.metadata.resourceVersion,
      local: newest.local?.metadata.resourceVersion,
      at: clock.now(),
    };
    queue.addAfter(node, MAX_LAG_MS); // what was right before the write may not be right for its result
  }

  function noteWrite(object: Router): void {
    metrics.written(node);
    const version = object.metadata.resourceVersion;
    const isSeen = hub.routerCopy.get(node)?.metadata.resourceVersion === version;
    written.hub = { version, at: clock.now(), isSeen };
    published = { version, status: object.status };
  }

  return { check: () => queue.add(node), stop: () => queue.stop() };
}

/** An update of the object that is there; what others keep in its metadata stays. */
function onto(current: Router, { metadata, spec }: Router): Router {
  const { labels = {}, annotations = {} } = metadata;
  return { ...current, metadata: { ...current.metadata, labels, annotations }, spec };
}
