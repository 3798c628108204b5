/** The syncer's metrics. */
import { Counter, Gauge } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import type { Clock } from '../lib/clock.ts';

/** Counts what is written and what cannot be. */
export interface SyncerMetrics {
  written(peer: string): void;
  refused(peer: string): void;
}

/** A connection as the metrics show it. */
export interface LinkState {
  name: string;
  isConnected: boolean;
  /** clock.now() of the last sign of life. */
  lastContactAt: number | undefined;
  /** Objects that were left out because the other side has too many. */
  leftOut: number;
}

/** Registers the metrics; the gauges read the links at each scrape, so that removed peers disappear. */
export function createSyncerMetrics(
  registry: Registry,
  links: () => Iterable<LinkState>,
  clock: Clock,
): SyncerMetrics {
  const counter = (name: string, help: string): Counter<'peer'> =>
    new Counter({ name, help, labelNames: ['peer'], registers: [registry] });
  const gauge = (name: string, help: string, value: (link: LinkState) => number | undefined): void => {
    const made: Gauge<'peer'> = new Gauge({
      name,
      help,
      labelNames: ['peer'],
      registers: [registry],
      collect() {
        made.reset();
        for (const link of links()) {
          const now = value(link);
          if (now !== undefined) made.set({ peer: link.name }, now);
        }
      },
    });
  };
  const writes = counter('edge_syncer_mirror_writes_total', 'Writes of mirrors, by the node they are of.');
  const refusals = counter(
    'edge_syncer_refused_total',
    'Objects that were not mirrored because the API server refuses them, by the node they are of.',
  );
  gauge(
    'edge_syncer_peer_connected',
    'Whether the API server of the peer, or the hub, answers (1) or not (0).',
    (link) => (link.isConnected ? 1 : 0),
  );
  gauge(
    'edge_syncer_peer_last_contact_age_seconds',
    'Time since the API server of the peer, or the hub, last gave a sign of life.',
    ({ lastContactAt }) => (lastContactAt === undefined ? undefined : (clock.now() - lastContactAt) / 1000),
  );
  gauge(
    'edge_syncer_peer_objects_left_out',
    'Objects of the peer that are not mirrored because it has too many.',
    ({ leftOut }) => leftOut,
  );
  return { written: (peer) => writes.inc({ peer }), refused: (peer) => refusals.inc({ peer }) };
}
