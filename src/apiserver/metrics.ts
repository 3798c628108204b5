/** The API server's metrics. Labels are bounded: verbs, resources and codes only. */
import { Counter, Gauge, Histogram } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import type { DurableStore, StoreSizes } from './store/durable-store.ts';

/** The instruments that handlers touch. */
export interface ApiMetrics {
  requests: Counter<'verb' | 'resource' | 'code'>;
  duration: Histogram<'verb' | 'resource'>;
  watchers: Gauge;
  watchesEnded: Counter<'reason'>;
  syncSeconds: Histogram;
}

const SIZES: readonly (readonly [string, string, (sizes: StoreSizes) => number])[] = [
  ['edge_store_objects', 'Objects in the store.', (sizes) => sizes.objects],
  ['edge_store_journal_bytes', 'Length of the current journal file.', (sizes) => sizes.journalBytes],
  [
    'edge_store_uncheckpointed_bytes',
    'Length of all journal files that no checkpoint holds yet.',
    (sizes) => sizes.uncheckpointedBytes,
  ],
  ['edge_store_checkpoint_bytes', 'Length of the newest checkpoint.', (sizes) => sizes.checkpointBytes],
  ['edge_store_history_events', 'Changes kept for watches to resume from.', (sizes) => sizes.historyEvents],
  ['edge_store_history_bytes', 'Length of those changes.', (sizes) => sizes.historyBytes],
  ['edge_store_queued_writes', 'Writes that wait for their batch.', (sizes) => sizes.queuedWrites],
];

/** Creates the instruments; `store` is read at each scrape, and may be absent before recovery. */
export function createApiMetrics(registry: Registry, store: () => DurableStore | undefined): ApiMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, read: (store: DurableStore) => number): void => {
    const instrument = new Gauge({
      name,
      help,
      registers,
      collect() {
        const current = store();
        if (current !== undefined) instrument.set(read(current));
      },
    });
  };
  gauge('edge_store_revision', 'The revision of the last committed change.', (current) => current.revision);
  for (const [name, help, read] of SIZES) gauge(name, help, (current) => read(current.sizes));
  gauge(
    'edge_store_history_floor',
    'Changes up to this revision are no longer in the history.',
    (current) => current.floor,
  );
  return {
    requests: new Counter({
      name: 'edge_apiserver_requests_total',
      help: 'Finished requests; watches are counted when they end.',
      labelNames: ['verb', 'resource', 'code'],
      registers,
    }),
    duration: new Histogram({
      name: 'edge_apiserver_request_duration_seconds',
      help: 'Time from request to answer, watches excepted.',
      labelNames: ['verb', 'resource'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
      registers,
    }),
    watchers: new Gauge({ name: 'edge_apiserver_watchers', help: 'Open watches.', registers }),
    watchesEnded: new Counter({
      name: 'edge_apiserver_watches_ended_total',
      help: 'Ended watches by reason.',
      labelNames: ['reason'],
      registers,
    }),
    syncSeconds: new Histogram({
      name: 'edge_store_sync_duration_seconds',
      help: 'Time to append a batch to the journal and sync it.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
      registers,
    }),
  };
}
