/** Names that more than one claims: told once when it begins and once when it ends, and counted while it lasts. */
import { Gauge } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import type { Logger } from '../lib/log.ts';

/** What is reported at once; more is dropped, since the first ones tell what is wrong. */
const MAX_CONFLICTS = 1000;

/** The conflicts that last. */
export interface Conflicts {
  /** Reports a conflict about `subject`; cheap to call again while it lasts. */
  report(subject: string, message: string): void;
  clear(subject: string): void;
}

/** Creates an empty list with its metric. */
export function createConflicts(log: Logger, registry: Registry): Conflicts {
  const lasting = new Map<string, string>();
  const gauge = new Gauge({
    name: 'edge_syncer_name_conflict',
    help: 'Names that more than one claims; 1 while it lasts. The log says who.',
    labelNames: ['subject'],
    registers: [registry],
    collect() {
      gauge.reset();
      for (const subject of lasting.keys()) gauge.set({ subject }, 1);
    },
  });
  return {
    report(subject, message) {
      if (lasting.get(subject) === message) return;
      if (!lasting.has(subject) && lasting.size >= MAX_CONFLICTS) return;
      lasting.set(subject, message);
      log.warn(message, { subject });
    },
    clear(subject) {
      if (lasting.delete(subject)) log.info('name conflict is over', { subject });
    },
  };
}
