/** The router's metrics: frps's own names, so that its dashboards go on working, and edge_router_*. */
import { Counter, Gauge } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import type { History, ProxyRecord } from './dashboard/history.ts';
import type { RouterState } from './router.ts';
import { groupServices } from './services.ts';

/** Registers the metrics; they are read from the server at each scrape, nothing is counted twice. */
export function registerRouterMetrics(
  registry: Registry,
  state: RouterState,
  history: History,
  wallNow: () => Date,
): void {
  registerFrpMetrics(registry, state, history, wallNow);
  const gauge = (name: string, help: string, read: () => number): void =>
    addGauge(registry, { name, help }, (metric) => metric.set(read()));
  const counter = (name: string, help: string, read: () => number): void =>
    addCounter(registry, { name, help }, (metric) => metric.inc(read()));
  gauge('edge_router_ready', 'Whether the Router serves its current configuration.', () =>
    Number(state.ready.isReady),
  );
  gauge('edge_router_sessions', 'Clients that are logged in.', () => state.view().sessions.length);
  gauge('edge_router_visitors', 'Visitors by target.', () => state.view().visitors.length);
  gauge(
    'edge_router_services',
    'Services with a provider.',
    () => groupServices(state.view().proxies).length,
  );
  gauge(
    'edge_router_open_connections',
    'Connections carried now.',
    () => state.view().totals.openConnections,
  );
  gauge(
    'edge_router_queued_bytes',
    'Bytes in memory that peers have not taken.',
    () => state.view().totals.queuedBytes,
  );
  counter('edge_router_connections_total', 'Connections carried.', () => state.view().totals.connections);
  counter(
    'edge_router_received_bytes_total',
    'Bytes carried towards providers.',
    () => state.view().totals.bytesIn,
  );
  counter(
    'edge_router_sent_bytes_total',
    'Bytes carried away from providers.',
    () => state.view().totals.bytesOut,
  );
  counter('edge_router_refused_logins_total', 'Logins refused.', () => state.view().totals.refusedLogins);
  counter(
    'edge_router_dropped_connections_total',
    'Connections dropped because too much waited for peers that take nothing.',
    () => state.view().totals.droppedConnections,
  );
  counter('edge_router_status_writes_total', 'Statuses written.', () => state.statusWrites.writes);
  counter(
    'edge_router_status_write_failures_total',
    'Statuses not stored.',
    () => state.statusWrites.failures,
  );
}

/** frp protocol 7.4. In is user to client, out client to user. */
function registerFrpMetrics(
  registry: Registry,
  state: RouterState,
  history: History,
  wallNow: () => Date,
): void {
  const perProxy = ['name', 'type'];
  addGauge(
    registry,
    { name: 'frp_server_client_counts', help: 'The current client counts of frps' },
    (metric) => metric.set(state.view().sessions.length),
  );
  // Series appear with their first use and stay, with 0, while the history knows the proxy.
  const records = (): Iterable<ProxyRecord> => {
    history.sample(state.view(), wallNow());
    return history.proxies.values();
  };
  addGauge(
    registry,
    { name: 'frp_server_proxy_counts', help: 'The current proxy counts', labels: ['type'] },
    (metric) => {
      for (const { info, isOnline } of records()) metric.inc({ type: info.type }, Number(isOnline));
      for (const type of history.types) metric.inc({ type }, 0);
    },
  );
  const detailed = 'The current number of proxies grouped by type and name';
  addGauge(
    registry,
    { name: 'frp_server_proxy_counts_detailed', help: detailed, labels: perProxy },
    (metric) => {
      for (const { info, isOnline } of records())
        metric.set({ name: info.name, type: info.type }, Number(isOnline));
    },
  );
  const connections = 'The current connection counts';
  addGauge(
    registry,
    { name: 'frp_server_connection_counts', help: connections, labels: perProxy },
    (metric) => {
      for (const { info, hasCarried } of records())
        if (hasCarried) metric.set({ name: info.name, type: info.type }, info.connections);
    },
  );
  const traffic = (name: string, help: string, key: 'totalIn' | 'totalOut'): void =>
    addCounter(registry, { name, help, labels: perProxy }, (metric) => {
      for (const { info, [key]: bytes } of records())
        if (bytes > 0) metric.inc({ name: info.name, type: info.type }, bytes);
    });
  traffic('frp_server_traffic_in', 'The total in traffic', 'totalIn');
  traffic('frp_server_traffic_out', 'The total out traffic', 'totalOut');
}

interface MetricSpec {
  name: string;
  help: string;
  labels?: string[];
}

function addGauge(registry: Registry, spec: MetricSpec, read: (metric: Gauge) => void): void {
  const metric: Gauge = new Gauge({
    name: spec.name,
    help: spec.help,
    labelNames: spec.labels ?? [],
    registers: [],
    collect() {
      metric.reset();
      read(metric);
    },
  });
  registry.registerMetric(metric);
}

/** A counter that is kept elsewhere: it starts from 0 and gets its value at each scrape. */
function addCounter(registry: Registry, spec: MetricSpec, read: (metric: Counter) => void): void {
  const metric: Counter = new Counter({
    name: spec.name,
    help: spec.help,
    labelNames: spec.labels ?? [],
    registers: [],
    collect() {
      metric.reset();
      read(metric);
    },
  });
  registry.registerMetric(metric);
}
