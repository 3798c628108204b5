/** What the syncer asks of where mirrors come from, a mesh or a hub. */
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import type { Informer } from '../apiclient/informer.ts';
import type { Clock } from '../lib/clock.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { Conflicts } from './conflicts.ts';
import type { LinkState, SyncerMetrics } from './metrics.ts';
import type { Claims } from './mirrors.ts';

/** Where mirrors come from. */
export interface Source extends Component {
  readonly routers: Claims<Router>;
  readonly maintenances: Claims<NodeMaintenance>;
  links(): Iterable<LinkState>;
  reload(): Promise<void>;
}

/** What a source works with. */
export interface SourceDeps {
  node: string;
  clock: Clock;
  random: () => number;
  log: Logger;
  metrics: SyncerMetrics;
  conflicts: Conflicts;
  /** Followed copies of this node's API server. */
  localRouters: Informer<Router>;
  localMaintenances: Informer<NodeMaintenance>;
  /** Called with the name of what may have changed, '' for all. */
  onRouter: (name: string) => void;
  onMaintenance: (name: string) => void;
}
