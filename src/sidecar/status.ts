/** The answer of /status: what the sidecar does, as JSON for people and for `edge ctl`. */
import { serviceKey } from './services.ts';
import type { Protocol } from './services.ts';
import type { ConnectorCounters } from './connector.ts';
import type { ExportStatus } from './exports.ts';
import type { MappingStatus } from './mappings.ts';
import type { SidecarConfig } from './options.ts';
import type { RouterClient } from './router-clients.ts';
import { formatServerAddress } from './routers.ts';
import type { RouterView } from './routers.ts';
import { errorMessage } from '../lib/errors.ts';

/** How a mapped service fares. */
export type ServiceState = 'ready' | 'noProvider' | 'portUnknown' | 'failed' | 'starting';

/** A mapped service. */
export interface ServiceReport {
  name: string;
  namespace: string;
  address: string;
  state: ServiceState;
  ports: MappingStatus['ports'];
  providers: {
    router: string;
    id: string;
    port: number | undefined;
    protocol: Protocol;
    node: string;
    ready: boolean;
    /** Why it is not ready; empty when it is, or did not say. */
    message: string;
    stale: boolean;
  }[];
  connections: number;
  connectionsTotal: number;
  rejected: number;
  ejected: number;
  ejections: number;
  /** Whether payload is sealed from end to end; null while no connection told. */
  sealed: MappingStatus['sealed'];
  udp: MappingStatus['udp'];
  bytesIn: number;
  bytesOut: number;
}

/** A Router as the sidecar sees it. */
export interface RouterReport {
  name: string;
  own: boolean;
  stale: boolean;
  /** In use, or first to be tried; null while the Router has not said where it is. */
  address: string | null;
  /** `unused` when no client is needed. */
  phase: string;
  roundTripMs: number | null;
  lastError: string | null;
}

/** The whole answer. */
export interface SidecarStatus {
  phase: 'starting' | 'ready' | 'draining';
  /** What keeps it from being ready. */
  problems: string[];
  node: string;
  pod: string;
  namespace: string;
  apiserver: { synced: boolean; connected: boolean; fromCache: boolean };
  /** Null when DNS is off. */
  dns: { address: string } | null;
  services: ServiceReport[];
  exports: ExportStatus[];
  routers: RouterReport[];
  parked: ConnectorCounters;
}

/** Reports a mapped service. */
export function reportServices(
  config: SidecarConfig,
  mappings: readonly MappingStatus[],
  views: readonly RouterView[],
): ServiceReport[] {
  const statuses = new Map(mappings.map((status) => [status.key, status]));
  return config.mapped.flatMap((service) => {
    const key = serviceKey(service);
    const status = statuses.get(key);
    if (status === undefined) return [];
    const providers = views.flatMap((view) =>
      (view.services.get(key)?.providers ?? []).map(({ id, port, protocol, node, isReady, message }) => ({
        router: view.name,
        id,
        port,
        protocol,
        node,
        ready: isReady,
        message,
        stale: view.isStale,
      })),
    );
    const { key: _key, ...rest } = status;
    const hasProvider = providers.some((provider) => provider.ready);
    return [
      {
        name: service.name,
        namespace: service.namespace,
        ...rest,
        state: stateOf(status, hasProvider),
        providers,
      },
    ];
  });
}

function stateOf({ ports }: MappingStatus, hasProvider: boolean): ServiceState {
  if (ports.length === 0) return 'portUnknown';
  if (ports.some((port) => port.state === 'failed')) return 'failed';
  if (ports.some((port) => port.state !== 'listening')) return 'starting';
  return hasProvider ? 'ready' : 'noProvider';
}

/** Reports one Router, and the client that it has or not. */
export function reportRouter(view: RouterView, entry: RouterClient | undefined): RouterReport {
  const address = entry?.address ?? view.addresses[0];
  return {
    name: view.name,
    own: view.isOwn,
    stale: view.isStale,
    address: address === undefined ? null : formatServerAddress(address),
    phase: entry?.client.phase ?? 'unused',
    roundTripMs: entry?.client.roundTripMs ?? null,
    lastError: entry?.client.lastError === undefined ? null : errorMessage(entry.client.lastError),
  };
}
