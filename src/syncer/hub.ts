/** The hub: one Kubernetes API that all nodes publish to and mirror from; what it says about each mirror. */
import { NODE_MAINTENANCES, ROUTER_ANNOTATION, ROUTERS } from '../api/edge.ts';
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import type { KubeObject } from '../api/meta.ts';
import type { ApiClient } from '../apiclient/client.ts';
import { isDenied } from '../apiclient/errors.ts';
import { createInformer } from '../apiclient/informer.ts';
import type { Informer } from '../apiclient/informer.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { originOf, ROUTER_KIND } from './kinds.ts';
import type { LinkState } from './metrics.ts';
import type { Claim } from './mirror.ts';
import type { Claims } from './mirrors.ts';

/** A Router confirms its status every 30 s; after three of them in silence it is not believed any more. */
export const SILENT_MS = 90_000;
/** What vanished at the hub is kept for this time: a hub that lost its objects gets them back from their nodes at once. */
const ABSENT_MS = 10_000;
/** A hub that comes back within this was never gone. */
const GRACE_MS = 1500;
/** Objects of each kind that are followed; a Router with a status takes some KiB of memory. */
const MAX_OBJECTS = 20_000;

/** What it needs from around it. */
export interface HubDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  /** Called with the name of what may have changed, '' for all. */
  onRouter: (name: string) => void;
  onMaintenance: (name: string) => void;
}

/** The connection to the hub. */
export interface Hub extends LinkState {
  readonly routers: Claims<Router>;
  readonly maintenances: Claims<NodeMaintenance>;
  /** Followed copies of all objects at the hub. */
  readonly routerCopy: Informer<Router>;
  readonly maintenanceCopy: Informer<NodeMaintenance>;
  /** How long the Router of that name has said nothing new, as far as was seen here, milliseconds. */
  silenceOf(name: string): number;
  start(): void;
  stop(): Promise<void>;
}

/** Creates the connection. `node` is this one: what the hub says about it is for the publisher. The owner closes `client`. */
export function createHub(node: string, client: ApiClient, deps: HubDeps): Hub {
  const { clock, random, log } = deps;
  let lastError: unknown;
  let isInGrace = false;
  let graceTimer: Timer | undefined;
  let wasConnected = false;
  let turn: Promise<void> = Promise.resolve();
  let isStopped = false;
  const pulses = new Map<string, { pulse: string | undefined; at: number }>();
  const absences = new Map<string, number>();
  const limits = { client, maxObjects: MAX_OBJECTS };
  const onError = (err: unknown): void => {
    lastError = err;
  };
  const routerCopy = createInformer<Router>(
    { ...limits, resource: ROUTERS, onError },
    { clock, random, log },
  );
  const maintenanceCopy = createInformer<NodeMaintenance>(
    { ...limits, resource: NODE_MAINTENANCES, isProbing: false },
    { clock, random, log: log.with({}) },
  );

  const isReachable = (): boolean => routerCopy.isConnected || isInGrace;
  const state = (): Pick<Claim<Router>, 'isReachable' | 'reason' | 'problem'> => ({
    isReachable: isReachable(),
    reason: 'HubUnreachable',
    problem: isDenied(lastError)
      ? 'the hub refuses the credentials of this node'
      : 'the hub does not answer; this is what it said last',
  });

  const beginGrace = (): void => {
    isInGrace = true;
    graceTimer?.cancel();
    graceTimer = clock.after(GRACE_MS, () => {
      isInGrace = false;
      deps.onRouter('');
      deps.onMaintenance('');
    });
  };
  const follow = (isWanted: boolean): void => {
    turn = turn.then(() => (isWanted && !isStopped ? maintenanceCopy.start() : maintenanceCopy.stop()));
  };

  routerCopy.onChange((name) => {
    const { isConnected } = routerCopy;
    if (wasConnected !== isConnected) {
      if (!isConnected) beginGrace();
      follow(isConnected);
      deps.onMaintenance('');
    }
    wasConnected = isConnected;
    for (const each of name === '' ? pulses.keys() : [name])
      if (routerCopy.get(each) === undefined) pulses.delete(each);
    deps.onRouter(name);
  });
  maintenanceCopy.onChange((name) => deps.onMaintenance(name));

  /** Since when the Router says what it says; the first sight counts as news. */
  const pulseOf = (name: string): { pulse: string | undefined; at: number } => {
    const pulse = routerCopy.get(name)?.status?.lastHeartbeatTime;
    const known = pulses.get(name);
    if (known !== undefined && known.pulse === pulse) return known;
    const fresh = { pulse, at: clock.now() };
    pulses.set(name, fresh);
    return fresh;
  };

  const silenceOf = (name: string): number => clock.now() - pulseOf(name).at;
  const isSilent = (name: string): boolean =>
    routerCopy.get(name)?.status?.lastHeartbeatTime !== undefined && silenceOf(name) >= SILENT_MS;
  const silent = {
    isReachable: false,
    reason: 'PeerSilent',
    problem: 'the node has not confirmed its Router at the hub for 90 s',
  };

  /** How long a name must stay away until that is believed, 0 when it is; time without the hub does not count. */
  const untilGone = (key: string): number => {
    const since = (routerCopy.isConnected ? absences.get(key) : undefined) ?? clock.now();
    absences.set(key, since);
    return Math.max(0, ABSENT_MS - (clock.now() - since));
  };

  /** A mirror whose object is not at the hub: left for a while, then removed. */
  function absent<T extends Router | NodeMaintenance>(key: string, mirror: T): Claim<T> {
    const leftMs = untilGone(key);
    if (leftMs === 0) {
      absences.delete(key);
      return { origin: originOf(mirror) ?? '', source: undefined, ...state() };
    }
    // as if the hub had not answered about it: nothing is removed yet, and it is looked at again
    return {
      origin: originOf(mirror) ?? '',
      source: 'unknown',
      ...state(),
      recheckMs: Math.ceil(leftMs) + 1,
    };
  }

  function known<T extends KubeObject>(copy: Informer<T>, key: string, name: string): T | undefined {
    const object = copy.get(name);
    if (object !== undefined) absences.delete(key);
    return object;
  }

  return {
    name: 'hub',
    routerCopy,
    maintenanceCopy,
    routers: {
      names: () => routerCopy.list().map(({ metadata }) => metadata.name ?? ''),
      of(name, mirror) {
        if (name === node) return 'leave';
        if (!routerCopy.hasSynced) {
          const origin = mirror === undefined ? undefined : originOf(mirror);
          return origin === undefined ? 'leave' : { origin, source: 'unknown', ...state() };
        }
        const key = `router/${name}`;
        const object = known(routerCopy, key, name);
        if (object === undefined) return mirror === undefined ? 'leave' : absent(key, mirror);
        if (!ROUTER_KIND.isOwnedBy(name, object)) return mirror === undefined ? 'leave' : absent(key, mirror);
        const claim: Claim<Router> = { origin: name, source: object, ...state() };
        const { pulse } = pulseOf(name);
        if (pulse === undefined || !claim.isReachable) return claim;
        const verdict = ROUTER_KIND.verdictOf(mirror);
        const wasSilent = verdict?.reason === 'PeerSilent' && mirror?.status?.lastHeartbeatTime === pulse;
        if (!wasSilent && !isSilent(name)) return { ...claim, recheckMs: SILENT_MS - silenceOf(name) };
        return { ...claim, ...silent };
      },
    },
    maintenances: {
      names: () => maintenanceCopy.list().map(({ metadata }) => metadata.name ?? ''),
      of(name, mirror) {
        const current = mirror === undefined ? undefined : originOf(mirror);
        if (!maintenanceCopy.hasSynced)
          return current === undefined ? 'leave' : { origin: current, source: 'unknown', ...state() };
        const key = `maintenance/${name}`;
        const object = known(maintenanceCopy, key, name);
        if (object === undefined) return mirror === undefined ? 'leave' : absent(key, mirror);
        // one without an origin was made at the hub: by the Router there, or by whoever manages the nodes
        const origin = originOf(object) ?? (object.metadata.annotations?.[ROUTER_ANNOTATION] || 'hub');
        if (origin === node) return 'leave';
        const claim: Claim<NodeMaintenance> = { origin, source: object, ...state() };
        return claim.isReachable && isSilent(origin) ? { ...claim, ...silent } : claim;
      },
    },
    silenceOf,
    get isConnected() {
      return routerCopy.isConnected;
    },
    get lastContactAt() {
      return routerCopy.lastContactAt;
    },
    get leftOut() {
      return routerCopy.leftOut + maintenanceCopy.leftOut;
    },
    start() {
      beginGrace();
      void routerCopy.start();
    },
    async stop() {
      isStopped = true;
      graceTimer?.cancel();
      follow(false);
      await Promise.all([routerCopy.stop(), turn]);
      graceTimer?.cancel();
      absences.clear();
      pulses.clear();
    },
  };
}
