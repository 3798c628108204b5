/** Exported services: registers their proxies at every Router that has a client and carries connections to the target. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { HostPort } from '../lib/address.ts';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { FrpClient, ProxyHandle } from '../tunnel/frpc/types.ts';
import { UdpProvider } from '../tunnel/frpc/udp-provider.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { relay } from '../tunnel/relay.ts';
import type { RelayHandle } from '../tunnel/relay.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import type { RouterClient } from './router-clients.ts';
import { sealState } from './sealing.ts';
import type { SealState, ServiceSeal } from './sealing.ts';
import { serviceKey } from './services.ts';
import type { ExportedService, Protocol } from './services.ts';

/** An exported service with what its proxy is registered as. */
export interface ExportDefinition extends ExportedService {
  proxyName: string;
  /** What Routers are told. */
  secretKey: string;
  /** How connections are sealed; absent without a secret, and for UDP. */
  seal?: ServiceSeal;
}

/** Who publishes. */
export interface ExportIdentity {
  pod: string;
  node: string;
}

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
  /** Opens the target; for tests. */
  dial?: (target: HostPort) => Socket;
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

/** A target that does not answer in this time is as good as refused. */
const DIAL_TIMEOUT_MS = 10_000;
/** Visitor connections of one UDP service at once; the oldest makes room. */
const MAX_VISITORS = 1024;

/**
 * Names the proxies: the first port of a service is `SERVICE.NAMESPACE.POD`, further ones end in `-PORT`, and in
 * `-PORT-udp` for UDP, since a service may have both on one port.
 */
export function defineExports(
  services: readonly ExportedService[],
  pod: string,
  secretFor: (key: string) => string,
): ExportDefinition[] {
  const seen = new Set<string>();
  return services.map((service) => {
    const key = serviceKey(service);
    const base = `${key}.${pod}`;
    const suffix = `-${service.port}${service.protocol === 'UDP' ? '-udp' : ''}`;
    const proxyName = seen.has(key) ? `${base}${suffix}` : base;
    seen.add(key);
    return { ...service, proxyName, secretKey: secretFor(key) };
  });
}

interface Registered {
  definition: ExportDefinition;
  handles: Map<string, { client: FrpClient; handle: ProxyHandle }>;
  connections: Set<OpenConnection>;
  /** Carries the datagrams of a UDP service. */
  datagrams: UdpProvider | undefined;
  isLatestSealed: boolean | undefined;
}

interface OpenConnection {
  readonly router: string;
  destroy(): void;
}

/** Creates an empty set. */
export function createExports(deps: ExportsDeps): Exports {
  const registered = new Map<string, Registered>();
  const ended = { in: 0, out: 0 };
  /** Those of services that are withdrawn too, until the end. */
  const datagrams = new Set<UdpProvider>();
  const open = new Set<OpenConnection>();
  const dial = deps.dial ?? dialTarget;

  const carry = (entry: Registered, router: string, stream: ByteStream): void => {
    const { target } = entry.definition;
    const socket = dial(target);
    let running: RelayHandle | undefined;
    const connection: OpenConnection = {
      router,
      destroy() {
        if (running === undefined) give(new EdgeError('EDGE_ERR_SIDECAR_STOPPED', 'sidecar stopped'));
        else running.destroy();
      },
    };
    const done = (): void => {
      timer.cancel();
      entry.connections.delete(connection);
      if (open.delete(connection)) deps.onIdle?.();
    };
    const give = (err: Error): void => {
      socket.destroy();
      stream.destroy(err);
      done();
    };
    const failed = (err: Error): void => {
      deps.log.warn('cannot reach an exported service', {
        service: serviceKey(entry.definition),
        target: formatHostPort(target.host, target.port),
        error: errorMessage(err),
      });
      give(err);
    };
    const timer = deps.clock.after(DIAL_TIMEOUT_MS, () =>
      failed(new EdgeError('EDGE_ERR_SIDECAR_DIAL', `connect: no answer in ${DIAL_TIMEOUT_MS / 1000}s`)),
    );
    entry.connections.add(connection);
    open.add(connection);
    // Until the target has answered the visitor's stream stays paused, so nothing is read that could get lost.
    stream.setHandler({
      onData: () => {},
      onEnd: () => {},
      onDrain: () => {},
      onClose: () => {
        socket.destroy();
        done();
      },
    });
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      timer.cancel();
      running = relay(stream, socketStream(socket), {
        clock: deps.clock,
        onClose: (stats) => {
          ended.in += stats.bytesAToB;
          ended.out += stats.bytesBToA;
          done();
        },
      });
    });
  };

  const register = (entry: Registered, { name, client }: RouterClient): void => {
    const { definition } = entry;
    const handle = client.addProxy({
      name: definition.proxyName,
      type: definition.protocol === 'UDP' ? 'sudp' : 'stcp',
      secretKey: definition.secretKey,
      ...(definition.seal === undefined ? {} : { seal: { ...definition.seal, port: definition.port } }),
      allowUsers: ['*'],
      ...(definition.proxyProtocol === undefined ? {} : { proxyProtocol: definition.proxyProtocol }),
      metas: {
        ...definition.metas,
        service: definition.name,
        namespace: definition.namespace,
        port: String(definition.port),
        protocol: definition.protocol,
        node: deps.identity.node,
        pod: deps.identity.pod,
      },
      onConnection: ({ stream, wire, isSealed = false }) => {
        if (entry.datagrams !== undefined) {
          entry.datagrams.serve(stream, wire);
          return;
        }
        entry.isLatestSealed = isSealed;
        carry(entry, name, stream);
      },
    });
    entry.handles.set(name, { client, handle });
  };

  const createEntry = (definition: ExportDefinition): Registered => {
    const entry: Registered = {
      definition,
      handles: new Map(),
      connections: new Set(),
      datagrams: undefined,
      isLatestSealed: undefined,
    };
    if (definition.protocol === 'TCP') return entry;
    entry.datagrams = new UdpProvider({
      clock: deps.clock,
      target: () => entry.definition.target,
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
        ({ definition, handles, connections, datagrams: provider, isLatestSealed }) => ({
          name: definition.name,
          namespace: definition.namespace,
          port: definition.port,
          protocol: definition.protocol,
          target: formatHostPort(definition.target.host, definition.target.port),
          proxyName: definition.proxyName,
          connections: connections.size + (provider?.counters.flows ?? 0),
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

function dialTarget(target: HostPort): Socket {
  return connect({ host: target.host, port: target.port, allowHalfOpen: true, noDelay: true });
}

function isSameProxy(a: ExportDefinition, b: ExportDefinition): boolean {
  return (
    a.name === b.name &&
    a.namespace === b.namespace &&
    a.port === b.port &&
    a.protocol === b.protocol &&
    a.secretKey === b.secretKey &&
    a.proxyProtocol === b.proxyProtocol &&
    a.seal?.isRequired === b.seal?.isRequired &&
    isDeepStrictEqual(a.metas, b.metas)
  );
}
