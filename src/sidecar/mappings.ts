/** Mapped services: their listeners on loopback, and the connections that applications make to them. */
import type { Socket } from 'node:net';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Connector, RouterChoice } from './connector.ts';
import { startListener } from './listener.ts';
import type { Listener, ListenerState } from './listener.ts';
import type { EjectionSettings } from './outliers.ts';
import { sealState } from './sealing.ts';
import type { SealState } from './sealing.ts';
import { ServiceConnections } from './service-connections.ts';
import type {
  MappingRequest,
  OpenConnection,
  ServiceDefinition,
  ServicePort,
} from './service-connections.ts';
import type { Protocol } from './services.ts';
import { startUdpListener } from './udp-listener.ts';
import type { UdpListener, UdpListenerCounters } from './udp-listener.ts';

/** A mapped service as it should be. */
export interface MappingDefinition extends ServiceDefinition {
  /** TCP; empty while no Router knows the service. */
  ports: readonly number[];
  /** UDP. */
  udpPorts: readonly number[];
}

/** A mapped service as it is. */
export interface MappingStatus {
  key: string;
  address: string;
  ports: { port: number; protocol: Protocol; state: ListenerState; error: string | undefined }[];
  /** Of TCP; UDP has flows. */
  connections: number;
  connectionsTotal: number;
  /** Connections that were refused since there were too many. */
  rejected: number;
  /** Providers that are left out after failures: now, and how often one was. */
  ejected: number;
  ejections: number;
  sealed: SealState;
  /** Applications' sockets that sent datagrams lately, and what became of others. */
  udp: Pick<UdpListenerCounters, 'flows' | 'flowsTotal' | 'evicted' | 'dropped'>;
  /** From the application. */
  bytesIn: number;
  /** To the application. */
  bytesOut: number;
}

/** What mappings need. */
export interface MappingsDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  connector: Connector;
  /** When providers that fail are left out. */
  ejection(): EjectionSettings;
  /** The Routers that can carry a connection now. */
  choices(request: MappingRequest): RouterChoice[];
  /** A listener changed its state. */
  onChange(): void;
  /** A connection ended. */
  onIdle?: () => void;
}

/** The set of mapped services. */
export interface Mappings {
  /** Converges on these; services and ports that stay are not touched, nor are open connections of any. */
  reconcile(definitions: readonly MappingDefinition[]): void;
  status(): MappingStatus[];
  /** The listeners of one service; cheap however many connections are open. */
  ports(key: string): MappingStatus['ports'];
  /** One service as it should be. */
  definition(key: string): MappingDefinition | undefined;
  /** Whether a listener is still coming up. */
  readonly isStarting: boolean;
  /** Open and parked TCP connections: those that end by themselves. */
  readonly connections: number;
  /** Whether TCP connections run through the Router. */
  isBusy(router: string): boolean;
  /** Stops accepting; what is open goes on. */
  stopAccepting(): void;
  /** Aborts what is open. */
  destroy(): void;
}

type PortListener =
  | { port: number; protocol: 'TCP'; listener: Listener }
  | { port: number; protocol: 'UDP'; listener: UdpListener };

interface Entry {
  definition: MappingDefinition;
  listeners: Map<string, PortListener>;
  connections: ServiceConnections;
  /** What closed UDP listeners had counted. */
  endedUdp: { flowsTotal: number; evicted: number; dropped: number };
}

/** Creates an empty set. */
export function createMappings(deps: MappingsDeps): Mappings {
  const { clock } = deps;
  const entries = new Map<string, Entry>();
  const open = new Set<OpenConnection>();

  const newEntry = (definition: MappingDefinition): Entry => ({
    definition,
    listeners: new Map(),
    connections: new ServiceConnections(definition, {
      clock,
      random: deps.random,
      log: deps.log,
      connector: deps.connector,
      ejection: () => deps.ejection(),
      choices: (request) => deps.choices(request),
      onOpen: (connection) => open.add(connection),
      onEnd: (connection) => {
        if (open.delete(connection)) deps.onIdle?.();
      },
    }),
    endedUdp: { flowsTotal: 0, evicted: 0, dropped: 0 },
  });

  const reconcileListeners = (entry: Entry): void => {
    const { address, ports, udpPorts } = entry.definition;
    const wanted = new Map<string, { port: number; protocol: Protocol }>();
    for (const port of ports) wanted.set(`${formatHostPort(address, port)}/TCP`, { port, protocol: 'TCP' });
    for (const port of udpPorts)
      wanted.set(`${formatHostPort(address, port)}/UDP`, { port, protocol: 'UDP' });
    for (const [where, listening] of entry.listeners) {
      if (wanted.has(where)) continue;
      closeListener(entry, listening);
      entry.listeners.delete(where);
    }
    for (const [where, { port, protocol }] of wanted)
      if (!entry.listeners.has(where)) entry.listeners.set(where, listen(entry, port, protocol));
  };

  const listen = (entry: Entry, port: number, protocol: Protocol): PortListener => {
    const { address: host, key } = entry.definition;
    const { connections } = entry;
    const listenerDeps = { clock, log: deps.log.with({ service: key }) };
    const where = { host, port, onChange: () => deps.onChange() };
    const at: ServicePort = {
      port,
      protocol,
      isExact: () => portsOf(entry).filter((each) => each.protocol === protocol).length > 1,
    };
    if (protocol === 'TCP') {
      const onConnection = (socket: Socket): void => connections.accept(at, socket);
      return { port, protocol, listener: startListener({ ...where, onConnection }, listenerDeps) };
    }
    const listener = startUdpListener(
      {
        ...where,
        open: (user, signal) => connections.openDatagrams(at, user, signal),
        onCarrier: (router, isOpen) => connections.count(router, isOpen ? 1 : -1),
        onFailure: (err) => connections.failed(err),
      },
      listenerDeps,
    );
    return { port, protocol, listener };
  };

  return {
    reconcile(definitions) {
      const wanted = new Set(definitions.map((definition) => definition.key));
      for (const [key, entry] of entries) {
        if (wanted.has(key)) continue;
        for (const listening of entry.listeners.values()) closeListener(entry, listening);
        entries.delete(key);
      }
      for (const definition of definitions) {
        const entry = entries.get(definition.key) ?? newEntry(definition);
        entry.definition = definition;
        entry.connections.definition = definition;
        entries.set(definition.key, entry);
        reconcileListeners(entry);
      }
    },
    status: () => [...entries.values()].map(statusOf),
    ports(key) {
      const entry = entries.get(key);
      return entry === undefined ? [] : portsOf(entry);
    },
    definition: (key) => entries.get(key)?.definition,
    get isStarting() {
      for (const entry of entries.values()) {
        for (const { listener } of entry.listeners.values()) if (listener.state === 'starting') return true;
      }
      return false;
    },
    get connections() {
      return open.size;
    },
    isBusy(router) {
      for (const connection of open) if (connection.router === router) return true;
      return false;
    },
    stopAccepting() {
      for (const entry of entries.values()) {
        for (const { protocol, listener } of entry.listeners.values()) {
          if (protocol === 'UDP') listener.stopAccepting();
          else listener.close();
        }
      }
    },
    destroy() {
      for (const entry of entries.values()) {
        for (const listening of entry.listeners.values()) closeListener(entry, listening);
        entry.listeners.clear();
      }
      for (const connection of open) connection.destroy();
    },
  };
}

function closeListener(entry: Entry, { protocol, listener }: PortListener): void {
  listener.close();
  if (protocol === 'TCP') return;
  const { flowsTotal, evicted, dropped, bytesIn, bytesOut } = listener.counters;
  entry.connections.endedBytes.in += bytesIn;
  entry.connections.endedBytes.out += bytesOut;
  entry.endedUdp.flowsTotal += flowsTotal;
  entry.endedUdp.evicted += evicted;
  entry.endedUdp.dropped += dropped;
}

function statusOf(entry: Entry): MappingStatus {
  const { connections } = entry;
  let { in: bytesIn, out: bytesOut } = connections.bytes;
  const udp = { flows: 0, ...entry.endedUdp };
  for (const { protocol, listener } of entry.listeners.values()) {
    if (protocol === 'TCP') continue;
    const { counters } = listener;
    bytesIn += counters.bytesIn;
    bytesOut += counters.bytesOut;
    udp.flows += counters.flows;
    udp.flowsTotal += counters.flowsTotal;
    udp.evicted += counters.evicted;
    udp.dropped += counters.dropped;
  }
  return {
    key: entry.definition.key,
    address: entry.definition.address,
    ports: portsOf(entry),
    connections: connections.size,
    connectionsTotal: connections.total,
    rejected: connections.rejected,
    ejected: connections.outliers.ejected,
    ejections: connections.outliers.ejections,
    sealed: sealState(entry.definition.seal, connections.isLatestSealed),
    udp,
    bytesIn,
    bytesOut,
  };
}

function portsOf(entry: Entry): MappingStatus['ports'] {
  return [...entry.listeners.values()].map(({ port, protocol, listener }) => ({
    port,
    protocol,
    state: listener.state,
    error: listener.error,
  }));
}
