/** The DNS side of the sidecar: a responder for the names of mapped services that forwards all others. */
import { createDnsServer } from '../dns/server.ts';
import type { DnsServer } from '../dns/server.ts';
import { createZone } from '../dns/zone.ts';
import type { ZoneEntry } from '../dns/zone.ts';
import { formatHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorCode } from '../lib/errors.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import { Counter } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';

/** Answers the names of mapped services. start() rejects with EDGE_ERR_DNS_LISTEN that names the address. */
export interface NameService extends Component {
  /** The bound address, `HOST:PORT`; the configured one before start(). */
  readonly address: string;
  /** Makes these the only names; cheap when nothing changed. */
  replace(entries: readonly ZoneEntry[]): void;
  setUpstreams(upstreams: readonly HostPort[]): void;
}

/** Where and for what names to answer. */
export interface NameServiceConfig {
  listen: HostPort;
  upstreams: readonly HostPort[];
  /** Answer clients on other machines. */
  allowRemoteClients: boolean;
  clusterDomain: string;
  namespace: string;
}

/** Short enough for a service that moves, long enough to spare a busy resolver; what cluster DNS servers use. */
const TTL_SECONDS = 5;

/** Creates the responder and registers its metrics. */
export function createNameService(
  config: NameServiceConfig,
  deps: { clock: Clock; /** Unpredictable. */ random: () => number; log: Logger; registry: Registry },
): NameService {
  const zone = createZone({
    clusterDomain: config.clusterDomain,
    namespace: config.namespace,
    ttlSeconds: TTL_SECONDS,
  });
  const { upstreams: firstUpstreams, allowRemoteClients } = config;
  const server = createDnsServer(
    { listen: [config.listen], zone, upstreams: firstUpstreams, allowRemoteClients },
    deps,
  );
  let current = '';
  let upstreams = JSON.stringify(config.upstreams);
  registerDnsMetrics(deps.registry, server);
  return {
    get address() {
      const { host, port } = server.addresses[0] ?? config.listen;
      return formatHostPort(host, port);
    },
    async start() {
      try {
        await server.start();
      } catch (err) {
        throw withHint(err);
      }
    },
    stop: () => server.stop(),
    replace(entries) {
      const text = JSON.stringify(entries);
      if (text === current) return; // replacing drops the answers that were built, so only for a reason
      zone.replace(entries);
      current = text;
    },
    setUpstreams(next) {
      const text = JSON.stringify(next);
      if (text === upstreams) return;
      server.reconfigure({ upstreams: next });
      upstreams = text;
    },
  };
}

function withHint(err: unknown): unknown {
  if (!(err instanceof EdgeError) || err.hint !== undefined || errorCode(err.cause) !== 'EADDRINUSE')
    return err;
  const hint =
    'another responder listens there; set SIDECAR_DNS_ADDR to a free address of 127.0.0.0/8, or to off';
  return new EdgeError(err.code, err.message, { cause: err.cause, hint });
}

function registerDnsMetrics(registry: Registry, server: DnsServer): void {
  const registers = [registry];
  const queries = new Counter({
    name: 'edge_sidecar_dns_queries_total',
    help: 'DNS queries answered, by transport, type, answer code and the part that answered.',
    labelNames: ['transport', 'type', 'rcode', 'handler'],
    registers,
    collect() {
      this.reset();
      for (const { count, ...labels } of server.stats().queries) this.inc(labels, count);
    },
  });
  queries.reset();
  const single = (
    name: string,
    help: string,
    read: (stats: ReturnType<DnsServer['stats']>) => number,
  ): void => {
    const counter = new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read(server.stats()));
      },
    });
    counter.reset();
  };
  single(
    'edge_sidecar_dns_cache_hits_total',
    'DNS answers given from the cache.',
    (stats) => stats.cacheHits,
  );
  single(
    'edge_sidecar_dns_cache_misses_total',
    'DNS queries that the cache could not answer.',
    (stats) => stats.cacheMisses,
  );
  single(
    'edge_sidecar_dns_upstream_queries_total',
    'DNS queries sent to upstreams.',
    (stats) => stats.upstreamQueries,
  );
  single(
    'edge_sidecar_dns_upstream_failures_total',
    'Upstream DNS queries that got no usable answer.',
    (stats) => stats.upstreamFailures,
  );
  single('edge_sidecar_dns_dropped_total', 'DNS messages that got no answer.', (stats) => stats.dropped);
}
