/** Keeps a mirror of each peer's own Router in the local API; a mirror is never mirrored on. */
import { stat } from 'node:fs/promises';
import { ROUTERS } from '../api/edge.ts';
import type { Router } from '../api/gen/types.ts';
import type { ApiClient } from '../apiclient/client.ts';
import { isNotFound } from '../apiclient/errors.ts';
import { createInformer } from '../apiclient/informer.ts';
import { createWorkQueue } from '../apiclient/workqueue.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import type { Component, ReadinessCheck } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { Registry } from '../lib/metrics.ts';
import { createSyncerMetrics } from './metrics.ts';
import { CONFIRM_IDLE_MS, originOf, planMirror } from './mirror.ts';
import type { MirrorPlan } from './mirror.ts';
import { createPeerLink } from './peer-link.ts';
import type { PeerLink } from './peer-link.ts';
import { readPeersFile } from './peers.ts';
import type { Peer } from './peers.ts';

/** What to mirror, and where to. */
export interface SyncerConfig {
  /** This node; the Router of this name is never touched. */
  node: string;
  /** A fixed list, or the path of a file that is read again when it changes. */
  peers: readonly Peer[] | string;
  /** The API server of this node. Its owner closes it. */
  local: ApiClient;
}

/** What the syncer needs from around it. */
export interface SyncerDeps {
  clock: Clock;
  random?: () => number;
  log: Logger;
  registry: Registry;
}

/** A running syncer. */
export interface Syncer extends Component {
  readonly checks: readonly ReadinessCheck[];
  /** Reads the peers file again; rejects, and keeps the old list, when it is wrong. */
  reload(): Promise<void>;
}

/** Shorter than the informers' own waits, so that a local API that comes back is used at once. */
const MAX_RETRY_MS = 1000;
/** Between two writes of one mirror: a peer that changes all the time is followed in steps. */
const MIN_WRITE_GAP_MS = 50;
/** How long the local copy may lag behind a write before its state is believed again. */
const MAX_LAG_MS = 2000;
const FILE_CHECK_MS = 2000;
const FIELD_MANAGER = 'edge-syncer';

/** What was written last for a peer. While neither side has moved since, there is nothing to do. */
interface Settled {
  sourceVersion: string | undefined;
  isReachable: boolean;
  localVersion: string | undefined;
  at: number;
  /** Whether the local copy has shown the write. */
  isSeen: boolean;
}

/** Creates a syncer. Throws UsageError when the peers file is wrong. */
export function createSyncer(config: SyncerConfig, deps: SyncerDeps): Syncer {
  const { clock, log } = deps;
  const random = deps.random ?? Math.random;
  const links = new Map<string, PeerLink>();
  const settled = new Map<string, Settled>();
  const metrics = createSyncerMetrics(deps.registry, () => links.values(), clock);
  const first = ownLeftOut(typeof config.peers === 'string' ? readPeersFile(config.peers) : config.peers);
  let fileTimer: Timer | undefined;
  let fileStamp: number | undefined;
  let isStarted = false;
  const local = createInformer<Router>({ client: config.local, resource: ROUTERS }, { clock, random, log });
  const queue = createWorkQueue({ handle: reconcile, maxRetryMs: MAX_RETRY_MS }, { clock, random, log });

  function ownLeftOut(peers: readonly Peer[]): Peer[] {
    // one list may serve all nodes
    return peers.filter(({ node }) => node !== config.node);
  }

  local.onChange((name) => {
    if (name === '') {
      for (const each of namesToCheck()) queue.add(each);
      return;
    }
    const last = settled.get(name);
    if (last !== undefined && local.get(name)?.metadata.resourceVersion === last.localVersion)
      last.isSeen = true;
    queue.add(name);
  });

  /** Every peer, and every mirror here, also of peers that are no longer listed. */
  function namesToCheck(): Set<string> {
    const mirrors = local.list().flatMap((router) => {
      const { name } = router.metadata;
      return name !== undefined && originOf(router) !== undefined ? [name] : [];
    });
    return new Set([...links.keys(), ...mirrors]);
  }

  async function reconcile(name: string, signal: AbortSignal): Promise<void> {
    // its reconnection brings every name back here
    if (name === config.node || !local.hasSynced || !local.isConnected) return;
    const link = links.get(name);
    const mirror = local.get(name);
    if (link === undefined) {
      settled.delete(name);
      if (mirror !== undefined && originOf(mirror) !== undefined)
        await remove(name, mirror, 'is no peer any more', signal);
      return;
    }
    const waitMs = waitBeforeWrite(name);
    if (waitMs > 0) {
      queue.addAfter(name, waitMs);
      return;
    }
    const source = link.source();
    const { isReachable } = link;
    const plan = planMirror({
      node: name,
      source,
      local: mirror,
      isReachable,
      problem: link.problem,
      now: clock.wallNow(),
    });
    queue.addAfter(name, CONFIRM_IDLE_MS);
    if (plan.action === 'none') return;
    if (plan.action === 'delete') {
      if (mirror !== undefined) await remove(name, mirror, 'has no Router', signal);
      return;
    }
    const sourceVersion = source === 'unknown' ? undefined : source?.metadata.resourceVersion;
    if (isSettled(name, sourceVersion, isReachable, mirror)) return;
    const written = await write(plan, mirror, signal);
    settled.set(name, {
      sourceVersion,
      isReachable,
      localVersion: written.metadata.resourceVersion,
      at: clock.now(),
      isSeen: local.get(name)?.metadata.resourceVersion === written.metadata.resourceVersion,
    });
    metrics.written(name);
    log.debug('wrote mirror', { peer: name, isReachable, resourceVersion: written.metadata.resourceVersion });
  }

  /** A version of edge that stores the same object differently must not make this write for ever. */
  function isSettled(
    name: string,
    sourceVersion: string | undefined,
    isReachable: boolean,
    mirror: Router | undefined,
  ): boolean {
    const last = settled.get(name);
    return (
      last !== undefined &&
      mirror !== undefined &&
      last.sourceVersion === sourceVersion &&
      last.isReachable === isReachable &&
      last.localVersion === mirror.metadata.resourceVersion &&
      clock.now() - last.at < CONFIRM_IDLE_MS / 2
    );
  }

  function waitBeforeWrite(name: string): number {
    const last = settled.get(name);
    if (last === undefined) return 0;
    const sinceMs = clock.now() - last.at;
    if (!last.isSeen && sinceMs < MAX_LAG_MS) return MAX_LAG_MS - sinceMs;
    return MIN_WRITE_GAP_MS - sinceMs;
  }

  /** Main half first, then status; each only where it differs. A conflict rejects and is tried again from fresh state. */
  async function write(
    plan: MirrorPlan & { action: 'write' },
    mirror: Router | undefined,
    signal: AbortSignal,
  ): Promise<Router> {
    const { desired } = plan;
    const options = { fieldManager: FIELD_MANAGER, fieldValidation: 'Ignore', signal } as const;
    let current: Router;
    if (mirror === undefined) current = await config.local.create(ROUTERS, desired, options);
    else if (plan.isMainChanged) current = await config.local.update(ROUTERS, onto(mirror, desired), options);
    else current = mirror;
    if (mirror !== undefined && !plan.isStatusChanged) return current;
    return config.local.updateStatus(ROUTERS, onto(current, desired), options);
  }

  async function remove(name: string, mirror: Router, why: string, signal: AbortSignal): Promise<void> {
    const { uid } = mirror.metadata;
    try {
      await config.local.delete(ROUTERS, name, {
        ...(uid === undefined ? {} : { preconditions: { uid } }),
        signal,
      });
    } catch (err) {
      if (!isNotFound(err)) throw err;
    }
    settled.delete(name);
    metrics.written(name);
    log.info('removed mirror', { peer: name, because: `the node ${why}` });
  }

  async function setPeers(peers: readonly Peer[]): Promise<void> {
    const next = new Map(peers.map((peer) => [peer.node, peer]));
    const leaving = [...links.values()].filter((link) => !isSame(next.get(link.peer.node), link.peer));
    for (const link of leaving) links.delete(link.peer.node);
    for (const [node, peer] of next) {
      if (links.has(node)) continue;
      const link = createPeerLink(peer, { clock, random, log, onChange: () => queue.add(node) });
      links.set(node, link);
      link.start();
      log.info('following peer', { peer: node, server: peer.server ?? peer.kubeconfig });
    }
    for (const name of namesToCheck()) queue.add(name);
    await Promise.all(leaving.map((link) => link.stop()));
  }

  async function readFileAgain(path: string): Promise<void> {
    const stamp = await fileStampOf(path);
    const peers = ownLeftOut(readPeersFile(path));
    fileStamp = stamp;
    await setPeers(peers);
  }

  async function checkFile(path: string): Promise<void> {
    const stamp = await fileStampOf(path);
    if (stamp === fileStamp) return;
    fileStamp = stamp; // a wrong file is reported once, not at every look
    await readFileAgain(path);
  }

  return {
    checks: [
      {
        name: 'local API',
        problem: () =>
          local.hasSynced && local.isConnected ? undefined : 'the local API server does not answer',
      },
    ],
    async start() {
      if (isStarted) return;
      isStarted = true;
      await local.start();
      await setPeers(first);
      const { peers } = config;
      if (typeof peers !== 'string') return;
      fileStamp = await fileStampOf(peers);
      fileTimer = clock.every(FILE_CHECK_MS, () => {
        checkFile(peers).catch((err: unknown) => {
          log.error('peers file not accepted, keeping the old list', { error: errorMessage(err) });
        });
      });
    },
    async reload() {
      if (typeof config.peers === 'string') await readFileAgain(config.peers);
    },
    async stop() {
      fileTimer?.cancel();
      await Promise.all([queue.stop(), local.stop(), ...[...links.values()].map((link) => link.stop())]);
      links.clear();
    },
  };
}

function isSame(a: Peer | undefined, b: Peer): boolean {
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b);
}

async function fileStampOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (err) {
    throw new EdgeError('EDGE_ERR_SYNCER_PEERS', `peers file: ${errorMessage(err)}`, { cause: err });
  }
}

/** The desired content in an object that the API server accepts as an update of the one that is there. */
function onto(current: Router, desired: Router): Router {
  const { uid, resourceVersion } = current.metadata;
  return {
    ...desired,
    metadata: {
      ...desired.metadata,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
  };
}
