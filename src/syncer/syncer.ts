/** Keeps mirrors of the other nodes' objects in the local API, from a mesh of peers or from a hub; a mirror is never mirrored on. */
import { NODE_MAINTENANCES, ROUTERS } from '../api/edge.ts';
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import type { ApiClient } from '../apiclient/client.ts';
import { createInformer } from '../apiclient/informer.ts';
import type { Clock } from '../lib/clock.ts';
import type { Component, ReadinessCheck } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { Registry } from '../lib/metrics.ts';
import { createConflicts } from './conflicts.ts';
import { createHubSource } from './hub-source.ts';
import type { HubAccess } from './hub-source.ts';
import { MAINTENANCE_KIND, ROUTER_KIND } from './kinds.ts';
import { createMeshSource } from './mesh-source.ts';
import { createSyncerMetrics } from './metrics.ts';
import { createMirrors } from './mirrors.ts';
import type { Peer } from './peers.ts';
import type { Source, SourceDeps } from './source.ts';

/** What to mirror, and where to. */
export interface SyncerConfig {
  /** This node; the Router of this name is never a mirror here. */
  node: string;
  /** The API server of this node. Its owner closes it. */
  local: ApiClient;
  /** A fixed list of peers, the path of a file that is read again when it changes, or a hub. */
  from: readonly Peer[] | string | HubAccess;
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

/** Creates a syncer. Throws UsageError when the peers file is wrong. */
export function createSyncer(config: SyncerConfig, deps: SyncerDeps): Syncer {
  const { node, from } = config;
  const { clock, log, registry } = deps;
  const random = deps.random ?? Math.random;
  const conflicts = createConflicts(log, registry);
  const metrics = createSyncerMetrics(registry, () => source.links(), clock);
  const informers = { clock, random, log };
  const localRouters = createInformer<Router>({ client: config.local, resource: ROUTERS }, informers);
  const localMaintenances = createInformer<NodeMaintenance>(
    { client: config.local, resource: NODE_MAINTENANCES },
    informers,
  );
  const sourceDeps: SourceDeps = {
    node,
    clock,
    random,
    log,
    metrics,
    conflicts,
    localRouters,
    localMaintenances,
    onRouter: (name) => (name === '' ? routers.checkAll() : routers.check(name)),
    onMaintenance: (name) => (name === '' ? maintenances.checkAll() : maintenances.check(name)),
  };
  const source: Source =
    typeof from === 'object' && 'hub' in from
      ? createHubSource(from, sourceDeps)
      : createMeshSource(from, sourceDeps);
  const mirrorDeps = { clock, random, log, metrics, conflicts };
  const routers = createMirrors<Router>(
    {
      kind: ROUTER_KIND,
      target: config.local,
      copy: localRouters,
      claims: {
        names: () => source.routers.names(),
        of: (name, mirror) => (name === node ? 'leave' : source.routers.of(name, mirror)),
      },
    },
    mirrorDeps,
  );
  const maintenances = createMirrors<NodeMaintenance>(
    { kind: MAINTENANCE_KIND, target: config.local, copy: localMaintenances, claims: source.maintenances },
    mirrorDeps,
  );
  let isStarted = false;

  return {
    checks: [
      {
        name: 'local API',
        problem: () =>
          localRouters.hasSynced && localRouters.isConnected
            ? undefined
            : 'the local API server does not answer',
      },
    ],
    async start() {
      if (isStarted) return;
      isStarted = true;
      await Promise.all([localRouters.start(), localMaintenances.start()]);
      await source.start();
    },
    reload: () => source.reload(),
    async stop() {
      await Promise.all([
        routers.stop(),
        maintenances.stop(),
        source.stop(),
        localRouters.stop(),
        localMaintenances.stop(),
      ]);
    },
  };
}
