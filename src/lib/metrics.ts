/** Prometheus metrics; the one place that touches prom-client. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

/** A registry with the process metrics and `edge_build_info`. */
export function createRegistry(component: string, version: string, commit: string): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'edge_build_info',
    help: 'Version of the running program; the value is always 1.',
    labelNames: ['component', 'version', 'commit'],
    registers: [registry],
  }).set({ component, version, commit }, 1);
  return registry;
}
