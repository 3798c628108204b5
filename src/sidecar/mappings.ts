/** Mapped services: their listeners on loopback and the connections that applications make to them. */
import type { Socket } from 'node:net';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { relay } from '../tunnel/relay.ts';
import type { RelayHandle } from '../tunnel/relay.ts';
import { isSealed } from '../tunnel/seal/sealed-stream.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import { createBalancer } from './balancer.ts';
import type { Balancer, LbPolicy } from './balancer.ts';
import type { Connector, RouterChoice } from './connector.ts';
import { startListener } from './listener.ts';
import type { Listener, ListenerState } from './listener.ts';
import { sealState } from './sealing.ts';
import type { SealState, ServiceSeal } from './sealing.ts';
import type { Protocol } from './services.ts';
import { startUdpListener } from './udp-listener.ts';
import type { UdpListener, UdpListenerCounters, UdpUser } from './udp-listener.ts';

/** A mapped service as it should be. */
export interface MappingDefinition {
  /** `NAME.NAMESPACE`. */
  key: string;
  address: string;
  /** TCP; empty while no Router knows the service. */
  ports: readonly number[];
  /** UDP. */
  udpPorts: readonly number[];
  policy: LbPolicy | 'inOrder';
  /** What Routers are shown. */
  secretKey: string;
  /** How TCP connections are sealed; absent without a secret. */
  seal?: ServiceSeal;
  parkTimeoutMs: number;
}

/** A mapped service as it is. */
export interface MappingStatus {
  key: string;
  address: string;
  ports: { port: number; protocol: Protocol; state: ListenerState; error: string | undefined }[];
  /** Of TCP; UDP has flows. */
  connections: number;
  connectionsTotal: number;
  sealed: SealState;
  /** Applications' sockets that sent datagrams lately, and what became of others. */
  udp: Pick<UdpListenerCounters, 'flows' | 'flowsTotal' | 'evicted' | 'dropped'>;
  /** From the application. */
  bytesIn: number;
  /** To the application. */
  bytesOut: number;
}

/** A connection to a mapped service. */
export interface MappingRequest {
  key: string;
  /** The local port it came in on. */
  port: number;
  protocol: Protocol;
  /** Whether the service listens on several ports of the protocol, so that the port says which providers are meant. */
  isExact: boolean;
  /** Open connections of the service by Router. */
  connections: ReadonlyMap<string, number>;
}

/** What mappings need. */
export interface MappingsDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  connector: Connector;
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

/** A service nobody provides is in the log once in this many milliseconds, not once a connection. */
const LOG_PERIOD_MS = 10_000;

interface OpenConnection {
  router: string | undefined;
  running: RelayHandle | undefined;
  destroy(): void;
}

type PortListener =
  | { port: number; protocol: 'TCP'; listener: Listener }
  | { port: number; protocol: 'UDP'; listener: UdpListener };

interface Entry {
  definition: MappingDefinition;
  listeners: Map<string, PortListener>;
  balancer: Balancer;
  open: Set<OpenConnection>;
  byRouter: Map<string, number>;
  total: number;
  endedBytes: { in: number; out: number };
  /** What closed UDP listeners had counted. */
  endedUdp: { flowsTotal: number; evicted: number; dropped: number };
  loggedAt: number;
  isLatestSealed: boolean | undefined;
}

/** Creates an empty set. */
export function createMappings(deps: MappingsDeps): Mappings {
  const { clock } = deps;
  const entries = new Map<string, Entry>();
  const open = new Set<OpenConnection>();

  const end = (entry: Entry, connection: OpenConnection): void => {
    entry.open.delete(connection);
    if (connection.router !== undefined) count(entry, connection.router, -1);
    if (open.delete(connection)) deps.onIdle?.();
  };

  const failed = (entry: Entry, err: unknown): void => {
    const fields = { service: entry.definition.key, error: errorMessage(err) };
    const now = clock.now();
    if (now - entry.loggedAt < LOG_PERIOD_MS) {
      deps.log.debug('connection to a mapped service failed', fields);
      return;
    }
    entry.loggedAt = now;
    deps.log.warn('connection to a mapped service failed', fields);
  };

  const connect = (
    entry: Entry,
    { port, protocol }: { port: number; protocol: Protocol },
    user: UdpUser,
    signal: AbortSignal,
  ): Promise<{ stream: ByteStream; router: string }> => {
    const { key, address, policy, secretKey, seal, parkTimeoutMs } = entry.definition;
    const isExact = (): boolean => portsOf(entry).filter((each) => each.protocol === protocol).length > 1;
    return deps.connector.open(
      {
        service: key,
        choices: () => deps.choices({ key, port, protocol, isExact: isExact(), connections: entry.byRouter }),
        balancer: entry.balancer,
        policy,
        sourceIp: user.address,
        visitor: {
          secretKey,
          metas: {
            localAddr: formatHostPort(address, port),
            sourceAddr: formatHostPort(user.address, user.port),
          },
        },
        ...(seal === undefined || protocol === 'UDP' ? {} : { seal }),
        parkTimeoutMs,
      },
      signal,
    );
  };

  const accept = (entry: Entry, port: number, socket: Socket): void => {
    const abort = new AbortController();
    const connection: OpenConnection = {
      router: undefined,
      running: undefined,
      destroy() {
        if (connection.running === undefined) abort.abort();
        else connection.running.destroy();
      },
    };
    const onSocketGone = (): void => abort.abort();
    socket.once('close', onSocketGone);
    socket.on('error', () => {}); // the close that follows says enough
    entry.open.add(connection);
    open.add(connection);
    entry.total++;
    const user = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    connect(entry, { port, protocol: 'TCP' }, user, abort.signal).then(
      ({ stream, router }) => {
        socket.off('close', onSocketGone);
        connection.router = router;
        entry.isLatestSealed = isSealed(stream);
        count(entry, router, 1);
        connection.running = relay(socketStream(socket), stream, {
          clock,
          onClose: (stats) => {
            entry.endedBytes.in += stats.bytesAToB;
            entry.endedBytes.out += stats.bytesBToA;
            end(entry, connection);
          },
        });
      },
      (err: unknown) => {
        if (!abort.signal.aborted) failed(entry, err);
        socket.resetAndDestroy(); // a plain end would look like an answer without content
        end(entry, connection);
      },
    );
  };

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
    const listenerDeps = { clock, log: deps.log.with({ service: key }) };
    const where = { host, port, onChange: () => deps.onChange() };
    if (protocol === 'TCP') {
      const onConnection = (socket: Socket): void => accept(entry, port, socket);
      return { port, protocol, listener: startListener({ ...where, onConnection }, listenerDeps) };
    }
    const listener = startUdpListener(
      {
        ...where,
        open: (user, signal) => connect(entry, { port, protocol }, user, signal),
        onCarrier: (router, isOpen) => count(entry, router, isOpen ? 1 : -1),
        onFailure: (err) => failed(entry, err),
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
        const entry = entries.get(definition.key) ?? newEntry(definition, deps.random);
        entry.definition = definition;
        entries.set(definition.key, entry);
        reconcileListeners(entry);
      }
    },
    status: () => [...entries.values()].map(statusOf),
    ports(key) {
      const entry = entries.get(key);
      return entry === undefined ? [] : portsOf(entry);
    },
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

function newEntry(definition: MappingDefinition, random: () => number): Entry {
  return {
    definition,
    listeners: new Map(),
    balancer: createBalancer(random),
    open: new Set(),
    byRouter: new Map(),
    total: 0,
    endedBytes: { in: 0, out: 0 },
    endedUdp: { flowsTotal: 0, evicted: 0, dropped: 0 },
    loggedAt: -Infinity,
    isLatestSealed: undefined,
  };
}

/** Notes a connection more or less through a Router. */
function count(entry: Entry, router: string, change: 1 | -1): void {
  const now = (entry.byRouter.get(router) ?? 0) + change;
  if (now > 0) entry.byRouter.set(router, now);
  else entry.byRouter.delete(router);
}

function closeListener(entry: Entry, { protocol, listener }: PortListener): void {
  listener.close();
  if (protocol === 'TCP') return;
  const { flowsTotal, evicted, dropped, bytesIn, bytesOut } = listener.counters;
  entry.endedBytes.in += bytesIn;
  entry.endedBytes.out += bytesOut;
  entry.endedUdp.flowsTotal += flowsTotal;
  entry.endedUdp.evicted += evicted;
  entry.endedUdp.dropped += dropped;
}

function statusOf(entry: Entry): MappingStatus {
  let { in: bytesIn, out: bytesOut } = entry.endedBytes;
  for (const { running } of entry.open) {
    bytesIn += running?.bytesAToB ?? 0;
    bytesOut += running?.bytesBToA ?? 0;
  }
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
    connections: entry.open.size,
    connectionsTotal: entry.total,
    sealed: sealState(entry.definition.seal, entry.isLatestSealed),
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
