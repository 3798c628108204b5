/** The sidecar's metrics; labels are configured names only, so their number is bounded. */
import { Counter, Gauge } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import type { FrpClientPhase } from '../tunnel/frpc/types.ts';
import type { ConnectorCounters } from './connector.ts';
import type { Exports } from './exports.ts';
import type { MappingStatus } from './mappings.ts';

/** What is measured, read at each scrape. */
export interface MetricSources {
  mappings(): readonly MappingStatus[];
  routers(): readonly { name: string; phase: FrpClientPhase }[];
  exports(): Pick<Exports, 'connections' | 'bytes' | 'status'>;
  connector(): Readonly<ConnectorCounters>;
}

const PHASES: readonly FrpClientPhase[] = ['idle', 'connecting', 'online', 'waiting', 'refused', 'stopped'];

/** Registers the metrics. */
export function registerMetrics(registry: Registry, sources: MetricSources): void {
  const registers = [registry];
  const perService = (
    name: string,
    help: string,
    type: typeof Counter | typeof Gauge,
    read: (status: MappingStatus) => number,
  ): void => {
    // The values live with the services; a scrape copies them, and services that are gone leave no series behind.
    const metric = new type({
      name,
      help,
      labelNames: ['service'],
      registers,
      collect() {
        this.reset();
        for (const status of sources.mappings()) this.inc({ service: status.key }, read(status));
      },
    });
    metric.reset();
  };
  perService(
    'edge_sidecar_connections',
    'Open connections to a mapped service.',
    Gauge,
    (status) => status.connections,
  );
  perService(
    'edge_sidecar_connections_total',
    'Connections accepted for a mapped service.',
    Counter,
    (status) => status.connectionsTotal,
  );
  perService(
    'edge_sidecar_connections_rejected_total',
    'Connections to a mapped service that were refused since there were too many.',
    Counter,
    (status) => status.rejected,
  );
  perService(
    'edge_sidecar_providers_ejected',
    'Providers of a mapped service that are left out after failures.',
    Gauge,
    (status) => status.ejected,
  );
  perService(
    'edge_sidecar_provider_ejections_total',
    'How often a provider of a mapped service was left out.',
    Counter,
    (status) => status.ejections,
  );
  perService(
    'edge_sidecar_received_bytes_total',
    'Bytes from applications to a mapped service.',
    Counter,
    (status) => status.bytesIn,
  );
  perService(
    'edge_sidecar_sent_bytes_total',
    'Bytes from a mapped service to applications.',
    Counter,
    (status) => status.bytesOut,
  );

  perService(
    'edge_sidecar_udp_flows',
    'Sockets of applications that sent datagrams to a mapped service lately.',
    Gauge,
    ({ udp }) => udp.flows,
  );
  perService(
    'edge_sidecar_udp_flows_total',
    'Sockets of applications that ever sent datagrams to a mapped service.',
    Counter,
    ({ udp }) => udp.flowsTotal,
  );
  perService(
    'edge_sidecar_udp_flows_evicted_total',
    'UDP flows that had to make room for newer ones.',
    Counter,
    ({ udp }) => udp.evicted,
  );
  perService(
    'edge_sidecar_udp_dropped_total',
    'Datagrams of a mapped service lost in the sidecar.',
    Counter,
    ({ udp }) => udp.dropped,
  );

  const single = (
    name: string,
    help: string,
    type: typeof Counter | typeof Gauge,
    read: () => number,
  ): void => {
    const metric = new type({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
    metric.reset();
  };
  single(
    'edge_sidecar_parked_connections',
    'Connections that wait for a provider.',
    Gauge,
    () => sources.connector().parked,
  );
  single(
    'edge_sidecar_parked_connections_total',
    'Connections that had to wait for a provider.',
    Counter,
    () => sources.connector().parkedTotal,
  );
  single(
    'edge_sidecar_connect_retries_total',
    'Attempts to open a connection that failed and were repeated.',
    Counter,
    () => sources.connector().retried,
  );
  single(
    'edge_sidecar_connect_failures_total',
    'Connections that no Router could carry in time.',
    Counter,
    () => sources.connector().failed,
  );
  single(
    'edge_sidecar_export_connections',
    'Open connections to exported services.',
    Gauge,
    () => sources.exports().connections,
  );
  single(
    'edge_sidecar_export_received_bytes_total',
    'Bytes from consumers to exported services, of ended connections.',
    Counter,
    () => sources.exports().bytes.in,
  );
  single(
    'edge_sidecar_export_sent_bytes_total',
    'Bytes from exported services to consumers, of ended connections.',
    Counter,
    () => sources.exports().bytes.out,
  );

  const health = new Gauge({
    name: 'edge_sidecar_export_healthy',
    help: 'Whether the health check of an exported service passes; only of those that have one.',
    labelNames: ['proxy'],
    registers,
    collect() {
      this.reset();
      for (const { proxyName, health: now } of sources.exports().status())
        if (now !== null) this.set({ proxy: proxyName }, now.healthy ? 1 : 0);
    },
  });
  health.reset();
  const refused = new Counter({
    name: 'edge_sidecar_export_refused_total',
    help: 'Connections to an exported service that its target did not take, or that were too many.',
    labelNames: ['proxy'],
    registers,
    collect() {
      this.reset();
      for (const each of sources.exports().status()) this.inc({ proxy: each.proxyName }, each.refused);
    },
  });
  refused.reset();

  const phases = new Gauge({
    name: 'edge_sidecar_router_phase',
    help: 'Phase of the client of a Router; 1 for the current phase.',
    labelNames: ['router', 'phase'],
    registers,
    collect() {
      this.reset();
      for (const { name, phase } of sources.routers()) {
        for (const each of PHASES) this.set({ router: name, phase: each }, each === phase ? 1 : 0);
      }
    },
  });
  phases.reset();
}
