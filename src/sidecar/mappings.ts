/** Mapped services: their listeners on loopback and the connections that applications make to them. */
import type { Socket } from 'node:net';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { relay } from '../tunnel/relay.ts';
import type { RelayHandle } from '../tunnel/relay.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import { createBalancer } from './balancer.ts';
import type { Balancer, LbPolicy } from './balancer.ts';
import type { Connector, RouterChoice } from './connector.ts';
import { startListener } from './listener.ts';
import type { Listener, ListenerState } from './listener.ts';

/** A mapped service as it should be. */
export interface MappingDefinition {
  /** `NAME.NAMESPACE`. */
  key: string;
  address: string;
  /** Empty while no Router knows the service. */
  ports: readonly number[];
  policy: LbPolicy | 'inOrder';
  secretKey: string;
  parkTimeoutMs: number;
}

/** A mapped service as it is. */
export interface MappingStatus {
  key: string;
  address: string;
  ports: { port: number; state: ListenerState; error: string | undefined }[];
  connections: number;
  connectionsTotal: number;
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
  /** Whether the service listens on several ports, so that the port says which providers are meant. */
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
  /** Open and parked connections. */
  readonly connections: number;
  /** Whether connections run through the Router. */
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

interface Entry {
  definition: MappingDefinition;
  listeners: Map<string, { port: number; listener: Listener }>;
  balancer: Balancer;
  open: Set<OpenConnection>;
  byRouter: Map<string, number>;
  total: number;
  endedBytes: { in: number; out: number };
  loggedAt: number;
}

/** Creates an empty set. */
export function createMappings(deps: MappingsDeps): Mappings {
  const { clock } = deps;
  const entries = new Map<string, Entry>();
  const open = new Set<OpenConnection>();

  const end = (entry: Entry, connection: OpenConnection): void => {
    entry.open.delete(connection);
    const { router } = connection;
    if (router !== undefined) {
      const left = (entry.byRouter.get(router) ?? 1) - 1;
      if (left > 0) entry.byRouter.set(router, left);
      else entry.byRouter.delete(router);
    }
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

  const accept = (entry: Entry, port: number, socket: Socket): void => {
    const { key, address, policy, secretKey, parkTimeoutMs } = entry.definition;
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
    const sourceIp = socket.remoteAddress ?? '';
    const request = {
      service: key,
      choices: () =>
        deps.choices({ key, port, isExact: entry.listeners.size > 1, connections: entry.byRouter }),
      balancer: entry.balancer,
      policy,
      sourceIp,
      visitor: {
        secretKey,
        metas: {
          localAddr: formatHostPort(address, port),
          sourceAddr: formatHostPort(sourceIp, socket.remotePort ?? 0),
        },
      },
      parkTimeoutMs,
    };
    deps.connector.open(request, abort.signal).then(
      ({ stream, router }) => {
        socket.off('close', onSocketGone);
        connection.router = router;
        entry.byRouter.set(router, (entry.byRouter.get(router) ?? 0) + 1);
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
    const { address, ports, key } = entry.definition;
    const wanted = new Map(ports.map((port) => [formatHostPort(address, port), port]));
    for (const [where, { listener }] of entry.listeners) {
      if (wanted.has(where)) continue;
      listener.close();
      entry.listeners.delete(where);
    }
    for (const [where, port] of wanted) {
      if (entry.listeners.has(where)) continue;
      const listener = startListener(
        {
          host: address,
          port,
          onConnection: (socket) => accept(entry, port, socket),
          onChange: () => deps.onChange(),
        },
        { clock, log: deps.log.with({ service: key }) },
      );
      entry.listeners.set(where, { port, listener });
    }
  };

  const close = (entry: Entry): void => {
    for (const { listener } of entry.listeners.values()) listener.close();
    entry.listeners.clear();
  };

  return {
    reconcile(definitions) {
      const wanted = new Set(definitions.map((definition) => definition.key));
      for (const [key, entry] of entries) {
        if (wanted.has(key)) continue;
        close(entry);
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
      for (const entry of entries.values()) close(entry);
    },
    destroy() {
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
    loggedAt: -Infinity,
  };
}

function statusOf(entry: Entry): MappingStatus {
  let { in: bytesIn, out: bytesOut } = entry.endedBytes;
  for (const { running } of entry.open) {
    bytesIn += running?.bytesAToB ?? 0;
    bytesOut += running?.bytesBToA ?? 0;
  }
  return {
    key: entry.definition.key,
    address: entry.definition.address,
    ports: portsOf(entry),
    connections: entry.open.size,
    connectionsTotal: entry.total,
    bytesIn,
    bytesOut,
  };
}

function portsOf(entry: Entry): MappingStatus['ports'] {
  return [...entry.listeners.values()].map(({ port, listener }) => ({
    port,
    state: listener.state,
    error: listener.error,
  }));
}
