/** The connection to one peer: its own Router as last seen, and whether the peer confirms it now. */
import { ROUTERS } from '../api/edge.ts';
import type { Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { isDenied } from '../apiclient/errors.ts';
import { createInformer } from '../apiclient/informer.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { peerAccess } from './peers.ts';
import type { Peer } from './peers.ts';

/** A Router with its status is a few hundred KiB at most; more is not worth this node's memory. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
/** A peer that comes back within this was never gone: restarts do not make mirrors stale. */
const GRACE_MS = 1500;

/** What a link needs from around it. */
export interface PeerLinkDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  /** Called when anything below may have changed. */
  onChange: () => void;
}

/** One peer. */
export interface PeerLink {
  readonly peer: Peer;
  /** The peer's own Router, undefined when it has none, or that nothing is known yet. */
  source(): Router | undefined | 'unknown';
  readonly isConnected: boolean;
  /** Whether the peer counts as reachable: connected, or lost only a moment ago. */
  readonly isReachable: boolean;
  /** Why it is not reachable, in words that stay the same from try to try. */
  readonly problem: string;
  /** clock.now() of the peer's last sign of life. */
  readonly lastContactAt: number | undefined;
  start(): void;
  stop(): Promise<void>;
}

/** Creates a link; it follows nothing but the object that has the peer's name. */
export function createPeerLink(peer: Peer, deps: PeerLinkDeps): PeerLink {
  const { clock } = deps;
  const client = createApiClient(() => peerAccess(peer), {
    component: 'syncer',
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    maxResponseBytes: MAX_ANSWER_BYTES,
    maxLineBytes: MAX_ANSWER_BYTES,
  });
  let lastError: unknown;
  let isInGrace = false;
  let graceTimer: Timer | undefined;
  let wasConnected = false;
  const informer = createInformer<Router>(
    {
      client,
      resource: ROUTERS,
      fieldSelector: `metadata.name=${peer.node}`,
      isWanted: (object) => object.metadata.name === peer.node,
      onError: (err) => {
        lastError = err;
      },
    },
    { clock, random: deps.random, log: deps.log.with({ peer: peer.node }) },
  );
  const beginGrace = (): void => {
    isInGrace = true;
    graceTimer?.cancel();
    graceTimer = clock.after(GRACE_MS, () => {
      isInGrace = false;
      deps.onChange();
    });
  };
  informer.onChange(() => {
    if (wasConnected && !informer.isConnected) beginGrace();
    wasConnected = informer.isConnected;
    deps.onChange();
  });
  return {
    peer,
    source: () => (informer.hasSynced ? informer.get(peer.node) : 'unknown'),
    get isConnected() {
      return informer.isConnected;
    },
    get isReachable() {
      return informer.isConnected || isInGrace;
    },
    get problem() {
      return isDenied(lastError)
        ? 'the API server of the peer refuses the credentials of this node'
        : 'the API server of the peer does not answer';
    },
    get lastContactAt() {
      return informer.lastContactAt;
    },
    start() {
      beginGrace();
      void informer.start();
    },
    async stop() {
      graceTimer?.cancel();
      await informer.stop();
      client.close();
    },
  };
}
