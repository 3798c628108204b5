/** The syncer's metrics. */
import { Counter, Gauge } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import type { PeerLink } from './peer-link.ts';
import type { Clock } from '../lib/clock.ts';

/** Counts what is written. */
export interface SyncerMetrics {
  written(peer: string): void;
}

/** Registers the metrics; the gauges read the links at each scrape, so that removed peers disappear. */
export function createSyncerMetrics(
  registry: Registry,
  links: () => Iterable<PeerLink>,
  clock: Clock,
): SyncerMetrics {
  const writes = new Counter({
    name: 'edge_syncer_mirror_writes_total',
    help: 'Writes to mirrors in the local API, by peer.',
    labelNames: ['peer'],
    registers: [registry],
  });
  const connected = new Gauge({
    name: 'edge_syncer_peer_connected',
    help: 'Whether the API server of the peer answers (1) or not (0).',
    labelNames: ['peer'],
    registers: [registry],
    collect() {
      connected.reset();
      for (const link of links()) connected.set({ peer: link.peer.node }, link.isConnected ? 1 : 0);
    },
  });
  const age = new Gauge({
    name: 'edge_syncer_peer_last_contact_age_seconds',
    help: 'Time since the API server of the peer last gave a sign of life.',
    labelNames: ['peer'],
    registers: [registry],
    collect() {
      age.reset();
      for (const link of links()) {
        if (link.lastContactAt !== undefined) {
          age.set({ peer: link.peer.node }, (clock.now() - link.lastContactAt) / 1000);
        }
      }
    },
  });
  return { written: (peer) => writes.inc({ peer }) };
}
