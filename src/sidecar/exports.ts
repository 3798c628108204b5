/** Exported services: registers their proxies at every Router that has a client and carries connections to the target. */
import type { Socket } from 'node:net';
import type { HostPort } from '../lib/address.ts';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { FrpClient, ProviderConnection, ProxyHandle } from '../tunnel/frpc/types.ts';
import { UdpProvider } from '../tunnel/frpc/udp-provider.ts';
import { isSameProxy, proxyOf } from './export-definition.ts';
import type { ExportDefinition, ExportIdentity } from './export-definition.ts';
import { carry, dialTarget } from './export-connection.ts';
import type { CarriedConnection } from './export-connection.ts';
import { probe } from './health-check.ts';
import type { Probe } from './health-check.ts';
import { watchHealth } from './health.ts';
import type { HealthMonitor } from './health.ts';
import type { RouterClient } from './router-clients.ts';
import { sealState } from './sealing.ts';
import type { SealState } from './sealing.ts';
import { serviceKey } from './services.ts';
import type { Protocol } from './services.ts';

/** The state of one export, for /status. */
export interface ExportStatus {
  name: string;
  namespace: string;
  port: number;
  protocol: Protocol;
  target: string;
  proxyName: string;
  /** Open connections; of UDP, users that were heard of lately. */
  connections: number;
  /** Connections that were refused because there were too many, or the target did not take them. */
  refused: number;
  /** Null without a health check. */
  health: { healthy: boolean; reason: string | null } | null;
  sealed: SealState;
  routers: { name: string; phase: ProxyHandle['phase']; error: string | undefined }[];
}

/** What the set of exports needs. */
export interface ExportsDeps {
  clock: Clock;
  log: Logger;
  identity: ExportIdentity;
  /** A connection ended. */
  onIdle?: () => void;
  /** The state of a service changed. */
  onChange?: () => void;
  /** Whether the service is mapped at this address here: a target that is never dialled. */
  isMappedAt?: (key: string, address: string) => boolean;
  /** Opens the target; for tests. */
  dial?: (target: HostPort) => Socket;
  /** Checks the health of a target; for tests. */
  probe?: Probe;
}

/** The set of exports. */
export interface Exports {
  /** Converges on these services at these Routers; what stays is not touched. */
  reconcile(definitions: readonly ExportDefinition[], clients: readonly RouterClient[]): void;
  status(): ExportStatus[];
  /** Open TCP connections. */
  readonly connections: number;
  /** Whether TCP connections run through this Router. */
  isBusy(router: string): boolean;
  /** Bytes over all ended connections and all datagrams: to the targets and from them. */
  readonly bytes: { in: number; out: number };
  /** Unregisters everything; open connections go on. */
  withdraw(): void;
  /** Aborts what is open. */
  destroy(): void;
}

/** Visitor connections of one UDP service at once; the oldest makes room. */
const MAX_VISITORS = 1024;

interface Registered {
  definition: ExportDefinition;
  handles: Map<string, { client: FrpClient; handle: ProxyHandle }>;
  connections: Set<OpenConnection>;
  refused: number;
  /** Carries the datagrams of a UDP service. */
  datagrams: UdpProvider | undefined;
  health: HealthMonitor | undefined;
  isLatestSealed: boolean | undefined;
  failureLoggedAt: number;
}

interface OpenConnection extends CarriedConnection {
  readonly router: string;
}

/** A target that is away is in the log once in this many milliseconds, not once a connection. */
const LOG_PERIOD_MS = 10_000;

/** Creates an empty set. */
export function createExports(deps: ExportsDeps): Exports {
  const registered = new Map<string, Registered>();
  const ended = { in: 0, out: 0 };
  /** Those of services that are withdrawn too, until the end. */
  const datagrams = new Set<UdpProvider>();
  const open = new Set<OpenConnection>();

  const targetFailed = (entry: Registered, err: Error): void => {
    entry.refused++;
    entry.health?.checkNow();
    const { definition } = entry;
    const fields = {
      service: serviceKey(definition),
      target: formatHostPort(definition.target.host, definition.target.port),
      error: errorMessage(err),
    };
    const now = deps.clock.now();
    const isNews = now - entry.failureLoggedAt >= LOG_PERIOD_MS;
    if (isNews) entry.failureLoggedAt = now;
    deps.log[isNews ? 'warn' : 'debug']('cannot reach an exported service', fields);
  };

  const accept = (entry: Registered, router: string, { stream, confirmation }: ProviderConnection): void => {
    const { target, connectTimeoutMs, idleTimeoutMs, maxConnections } = entry.definition;
    if (entry.connections.size >= maxConnections) {
      entry.refused++;
      if (confirmation === undefined)
        stream.destroy(new EdgeError('EDGE_ERR_SIDECAR_LIMIT', 'too many connections'));
      else confirmation.refuse();
      return;
    }
    const carried = carry(
      { stream, confirmation, target, connectTimeoutMs, idleTimeoutMs },
      {
        clock: deps.clock,
        dial: deps.dial ?? ((where) => dialTarget(where, isOwn(entry.definition))),
        onOpen: () => {},
        onFailure: (err) => targetFailed(entry, err),
        onDone: (stats) => {
          ended.in += stats?.bytesAToB ?? 0;
          ended.out += stats?.bytesBToA ?? 0;
          entry.connections.delete(connection);
          if (open.delete(connection)) deps.onIdle?.();
        },
      },
    );
    const connection: OpenConnection = { router, destroy: () => carried.destroy() };
    entry.connections.add(connection);
    open.add(connection);
  };

  const isOwn =
    (definition: ExportDefinition) =>
    (address: string): boolean =>
      deps.isMappedAt?.(serviceKey(definition), address) ?? false;

  const register = (entry: Registered, { name, client }: Pick<RouterClient, 'name' | 'client'>): void => {
    const handle = client.addProxy({
      ...proxyOf(entry.definition, entry.health, deps.identity),
      onConnection: (connection) => {
        if (entry.datagrams !== undefined) {
          entry.datagrams.serve(connection.stream, connection.wire);
          return;
        }
        entry.isLatestSealed = connection.isSealed ?? false;
        accept(entry, name, connection);
      },
    });
    entry.handles.set(name, { client, handle });
  };

  /** Tells all Routers how the service is now. Its open connections go on. */
  const healthChanged = (entry: Registered): void => {
    const { definition, health } = entry;
    const fields = { service: serviceKey(definition), proxy: definition.proxyName };
    if (health?.isHealthy === true) deps.log.info('exported service is healthy', fields);
    else deps.log.warn('exported service is not healthy', { ...fields, reason: health?.reason });
    for (const [name, { client, handle }] of entry.handles) {
      handle.close();
      register(entry, { name, client });
    }
    deps.onChange?.();
  };

  const createEntry = (definition: ExportDefinition): Registered => {
    const entry: Registered = {
      definition,
      handles: new Map(),
      connections: new Set(),
      refused: 0,
      datagrams: undefined,
      health: undefined,
      isLatestSealed: undefined,
      failureLoggedAt: -Infinity,
    };
    if (definition.healthCheck !== undefined) {
      entry.health = watchHealth(definition.healthCheck, {
        clock: deps.clock,
        probe: deps.probe ?? probe,
        target: () => entry.definition.target,
        onChange: () => healthChanged(entry),
      });
    }
    if (definition.protocol === 'TCP') return entry;
    entry.datagrams = new UdpProvider({
      clock: deps.clock,
      target: () => entry.definition.target,
      isOwn: isOwn(definition),
      maxLinks: MAX_VISITORS,
    });
    datagrams.add(entry.datagrams);
    return entry;
  };

  const forget = (provider: UdpProvider): void => {
    provider.close();
    ended.in += provider.counters.bytesIn;
    ended.out += provider.counters.bytesOut;
    datagrams.delete(provider);
  };

  const unregister = (entry: Registered): void => {
    entry.health?.stop();
    for (const { handle } of entry.handles.values()) handle.close();
    entry.handles.clear();
  };

  return {
    reconcile(definitions, clients) {
      const wanted = new Map(definitions.map((definition) => [definition.proxyName, definition]));
      for (const [name, entry] of registered) {
        const definition = wanted.get(name);
        if (definition !== undefined && isSameProxy(definition, entry.definition)) {
          entry.definition = definition; // the target may change under a registered proxy
          continue;
        }
        unregister(entry);
        registered.delete(name);
        if (entry.datagrams !== undefined) forget(entry.datagrams);
      }
      for (const definition of definitions) {
        const entry = registered.get(definition.proxyName) ?? createEntry(definition);
        registered.set(definition.proxyName, entry);
        const live = new Map(clients.map((router) => [router.name, router]));
        for (const [name, { client }] of entry.handles) {
          if (live.get(name)?.client !== client) entry.handles.delete(name); // that client is stopped, and its proxies with it
        }
        for (const router of clients) if (!entry.handles.has(router.name)) register(entry, router);
      }
    },
    status: () =>
      [...registered.values()].map(
        ({ definition, handles, connections, refused, health, datagrams: provider, isLatestSealed }) => ({
          name: definition.name,
          namespace: definition.namespace,
          port: definition.port,
          protocol: definition.protocol,
          target: formatHostPort(definition.target.host, definition.target.port),
          proxyName: definition.proxyName,
          connections: connections.size + (provider?.counters.flows ?? 0),
          refused,
          health: health === undefined ? null : { healthy: health.isHealthy, reason: health.reason ?? null },
          sealed: sealState(definition.seal, isLatestSealed),
          routers: [...handles].map(([name, { handle }]) => ({
            name,
            phase: handle.phase,
            error: handle.error,
          })),
        }),
      ),
    get connections() {
      return open.size;
    },
    isBusy(router) {
      for (const connection of open) if (connection.router === router) return true;
      return false;
    },
    get bytes() {
      const sum = { ...ended };
      for (const { counters } of datagrams) {
        sum.in += counters.bytesIn;
        sum.out += counters.bytesOut;
      }
      return sum;
    },
    withdraw() {
      for (const entry of registered.values()) unregister(entry);
      registered.clear();
    },
    destroy() {
      for (const connection of open) connection.destroy();
      for (const provider of datagrams) forget(provider);
    },
  };
}
