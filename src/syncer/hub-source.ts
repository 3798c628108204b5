/** Mirrors from a hub, and what this node publishes there: its Router's status and its NodeMaintenances. */
import type { NodeMaintenance } from '../api/gen/types.ts';
import type { ApiClient } from '../apiclient/client.ts';
import type { Informer } from '../apiclient/informer.ts';
import { createHub } from './hub.ts';
import { isOnline, MAINTENANCE_KIND, originOf } from './kinds.ts';
import { createMirrors } from './mirrors.ts';
import type { Claims } from './mirrors.ts';
import { createPublisher } from './publisher.ts';
import type { Source, SourceDeps } from './source.ts';

/** How to reach the hub, and who to be there and here. The owner closes the clients. */
export interface HubAccess {
  /** The hub. */
  hub: ApiClient;
  /** This node's API server, with credentials that may write the own Router's spec. */
  own: ApiClient;
  /** Tells this installation from another one of the same name; stays the same over restarts. */
  publisher: string;
}

/** Creates the source. */
export function createHubSource(access: HubAccess, deps: SourceDeps): Source {
  const { node, localRouters, localMaintenances } = deps;
  const hub = createHub(node, access.hub, {
    clock: deps.clock,
    random: deps.random,
    log: deps.log.with({ peer: 'hub' }),
    onRouter(name) {
      if (name === '' || name === node) publisher.check();
      deps.onRouter(name);
    },
    onMaintenance: deps.onMaintenance,
  });
  const publisher = createPublisher(
    { node, publisher: access.publisher, hub, hubClient: access.hub, local: localRouters, own: access.own },
    deps,
  );
  const published = createMirrors<NodeMaintenance>(
    {
      kind: MAINTENANCE_KIND,
      target: access.hub,
      copy: hub.maintenanceCopy,
      claims: ownMaintenances(node, localMaintenances),
      confirmMs: Infinity, // the Router's heartbeat says that the node is there; each confirmation would reach every node
    },
    deps,
  );
  localRouters.onChange((name) => {
    if (name === '' || name === node) publisher.check();
  });
  localMaintenances.onChange((name) => {
    if (name === '') published.checkAll();
    else published.check(name);
  });
  return {
    routers: hub.routers,
    maintenances: hub.maintenances,
    links: () => [hub],
    start() {
      hub.start();
      deps.log.info('following hub', { server: access.hub.server });
      return Promise.resolve();
    },
    reload: () => Promise.resolve(),
    async stop() {
      await Promise.all([publisher.stop(), published.stop(), hub.stop()]);
    },
  };
}

/**
 * What this node publishes of its NodeMaintenances: its own ones. One that another node has at the hub is taken over
 * when it is online here and not there; one that the hub itself made is left alone.
 */
function ownMaintenances(node: string, local: Informer<NodeMaintenance>): Claims<NodeMaintenance> {
  const ownOf = (name: string): NodeMaintenance | undefined => {
    const object = local.get(name);
    return object !== undefined && originOf(object) === undefined ? object : undefined;
  };
  return {
    names: () => local.list().flatMap(({ metadata }) => metadata.name ?? []),
    of(name, atHub) {
      if (!local.hasSynced || !local.isConnected) return 'leave';
      const source = ownOf(name);
      const origin = atHub === undefined ? undefined : originOf(atHub);
      const isOurs = origin === node;
      if (source === undefined && !isOurs) return 'leave';
      if (source !== undefined && atHub !== undefined && !isOurs) {
        if (origin === undefined || isOnline(atHub) || !isOnline(source)) return 'leave';
      }
      return { origin: node, source, isReachable: true, reason: '', problem: '' };
    },
  };
}
