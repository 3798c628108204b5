/**
 * The connection to one peer: what the peer says about itself, and whether it confirms it now. Whatever the peer sends,
 * no more than a bounded amount of it is kept, and reading it takes no more than a bounded share of time.
 */
import { NODE_MAINTENANCES, ROUTERS } from '../api/edge.ts';
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { isDenied } from '../apiclient/errors.ts';
import type { Gate } from '../apiclient/gate.ts';
import { createInformer } from '../apiclient/informer.ts';
import { createPacer } from '../apiclient/pacer.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { MAINTENANCE_KIND, originOf, ROUTER_KIND } from './kinds.ts';
import type { LinkState } from './metrics.ts';
import { peerAccess } from './peers.ts';
import type { Peer } from './peers.ts';

/** A Router with its status is a few hundred KiB at most, and so are the maintenance objects of one Router's nodes. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** What one peer may send: a quiet one answers at once, one that never stops takes about a twentieth of a processor. */
const SHARE = { bytesPerSecond: 1024 * 1024, burstBytes: 16 * 1024 * 1024 };
const REQUEST_TIMEOUT_MS = 10_000;
/** A peer that comes back within this was never gone: restarts do not make mirrors stale. */
const GRACE_MS = 1500;
/** NodeMaintenances of one peer; its Router takes 4096 clients, few of which are sshds. */
export const MAX_MAINTENANCES = 2000;
/** A peer without a Router of its name is asked this often which names it has. */
const NAME_CHECK_MS = 60_000;
/** Names asked for at once, and told. */
const NAMES_ASKED = 50;
const NAMES_TOLD = 3;

/** What a link needs from around it. */
export interface PeerLinkDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  /** Shared by all links. */
  gate: Gate;
  /** Called when the peer's Router, or whether it can be reached, may have changed. */
  onChange: () => void;
  /** Called with the name of a NodeMaintenance that may have changed, '' for all. */
  onMaintenance: (name: string) => void;
  /** Called with the names of Routers that the peer has as its own although it is not called so; none when all is well. */
  onOtherNames: (names: readonly string[]) => void;
}

/** One peer. */
export interface PeerLink extends LinkState {
  readonly peer: Peer;
  /** The peer's own Router, undefined when it has none, or that nothing is known yet. */
  router(): Router | undefined | 'unknown';
  /** A NodeMaintenance that is the peer's own; undefined when it has none of the name. */
  maintenance(name: string): NodeMaintenance | undefined | 'unknown';
  maintenanceNames(): Iterable<string>;
  /** Whether the peer counts as reachable: connected, or lost only a moment ago. */
  readonly isReachable: boolean;
  /** Why it is not reachable, in words that stay the same from try to try. */
  readonly problem: string;
  start(): void;
  stop(): Promise<void>;
}

/** Creates a link; of all Routers it follows the one that has the peer's name alone. */
export function createPeerLink(peer: Peer, deps: PeerLinkDeps): PeerLink {
  const { clock } = deps;
  const log = deps.log.with({ peer: peer.node });
  const pacer = createPacer(SHARE, clock);
  const client = createApiClient(() => peerAccess(peer), {
    component: 'syncer',
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    maxResponseBytes: MAX_ANSWER_BYTES,
    maxLineBytes: MAX_ANSWER_BYTES,
    pacer,
    gate: deps.gate,
  });
  const ending = new AbortController();
  const otherNames = new Set<string>();
  let lastError: unknown;
  let isInGrace = false;
  let graceTimer: Timer | undefined;
  let nameTimer: Timer | undefined;
  let wasConnected = false;
  let turn: Promise<void> = Promise.resolve();

  const routers = createInformer<Router>(
    {
      client,
      resource: ROUTERS,
      fieldSelector: `metadata.name=${peer.node}`,
      isWanted(object) {
        if (object.metadata.name === peer.node) return true;
        noteName(object as Router); // the server ignores the selector
        return false;
      },
      onError: (err) => {
        lastError = err;
      },
    },
    { clock, random: deps.random, log },
  );
  const maintenances = createInformer<NodeMaintenance>(
    {
      client,
      resource: NODE_MAINTENANCES,
      isWanted: (object) => MAINTENANCE_KIND.isOwnedBy(peer.node, object as NodeMaintenance),
      maxObjects: MAX_MAINTENANCES,
      isProbing: false, // the other informer finds out whether the path is there
    },
    { clock, random: deps.random, log: log.with({}) },
  );
  maintenances.onChange((name) => deps.onMaintenance(name));

  function noteName(router: Router): void {
    const { name } = router.metadata;
    if (typeof name !== 'string' || originOf(router) !== undefined || otherNames.has(name)) return;
    if (otherNames.size >= NAMES_TOLD) return;
    otherNames.add(name);
    deps.onOtherNames([...otherNames]);
  }

  /** One after the other, since stopping takes a moment. */
  const follow = (isWanted: boolean): void => {
    turn = turn.then(() => (isWanted && !ending.signal.aborted ? maintenances.start() : maintenances.stop()));
  };

  const beginGrace = (): void => {
    isInGrace = true;
    graceTimer?.cancel();
    graceTimer = clock.after(GRACE_MS, () => {
      isInGrace = false;
      deps.onChange();
      deps.onMaintenance('');
    });
  };

  /** A node whose apiserver was started under another node's name looks, from here, as if it had no Router. */
  const checkNames = async (): Promise<void> => {
    if (!routers.isConnected) return;
    if (routers.get(peer.node) !== undefined) {
      if (otherNames.size > 0) deps.onOtherNames([]);
      otherNames.clear();
      return;
    }
    const found = await client.list<Router>(ROUTERS, { limit: NAMES_ASKED, signal: ending.signal });
    otherNames.clear();
    for (const router of found.items) if (!ROUTER_KIND.isOwnedBy(peer.node, router)) noteName(router);
    if (otherNames.size === 0) deps.onOtherNames([]);
  };
  const scheduleNameCheck = (delayMs: number): void => {
    nameTimer?.cancel();
    nameTimer = clock.after(delayMs, () => {
      checkNames()
        .catch((err: unknown) => log.debug('cannot ask for names', { error: errorMessage(err) }))
        .finally(() => {
          if (!ending.signal.aborted) scheduleNameCheck(NAME_CHECK_MS);
        });
    });
  };

  routers.onChange(() => {
    const { isConnected } = routers;
    if (wasConnected && !isConnected) beginGrace();
    if (wasConnected !== isConnected) {
      follow(isConnected);
      if (isConnected) scheduleNameCheck(GRACE_MS);
      deps.onMaintenance('');
    }
    wasConnected = isConnected;
    deps.onChange();
  });

  return {
    peer,
    name: peer.node,
    router: () => {
      if (!routers.hasSynced) return 'unknown';
      const own = routers.get(peer.node);
      return own !== undefined && ROUTER_KIND.isOwnedBy(peer.node, own) ? own : undefined;
    },
    maintenance: (name) => (maintenances.hasSynced ? maintenances.get(name) : 'unknown'),
    maintenanceNames: () => maintenances.list().map(({ metadata }) => metadata.name ?? ''),
    get isConnected() {
      return routers.isConnected;
    },
    get isReachable() {
      return routers.isConnected || isInGrace;
    },
    get problem() {
      return isDenied(lastError)
        ? 'the API server of the peer refuses the credentials of this node'
        : 'the API server of the peer does not answer';
    },
    get lastContactAt() {
      return routers.lastContactAt;
    },
    get leftOut() {
      return maintenances.leftOut;
    },
    start() {
      beginGrace();
      void routers.start();
    },
    async stop() {
      ending.abort();
      graceTimer?.cancel();
      nameTimer?.cancel();
      pacer.stop();
      follow(false);
      await Promise.all([routers.stop(), turn]);
      nameTimer?.cancel();
      graceTimer?.cancel();
      client.close();
    },
  };
}
