/** The connections of one mapped service: how each is opened and moved, how many there are, what they carried. */
import type { Socket } from 'node:net';
import { formatHostPort } from '../lib/address.ts';
import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { payloadOf } from '../tunnel/confirmation.ts';
import { relay } from '../tunnel/relay.ts';
import type { RelayHandle } from '../tunnel/relay.ts';
import { isSealed } from '../tunnel/seal/sealed-stream.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import type { ProviderWatch } from './attempt.ts';
import { createBalancer } from './balancer.ts';
import type { Balancer } from './balancer.ts';
import type { ConnectRequest, Connector, OpenedStream, RouterChoice } from './connector.ts';
import { createOutliers } from './outliers.ts';
import type { EjectionSettings, Outliers } from './outliers.ts';
import type { ConnectionSettings } from './overrides.ts';
import { ProviderLuck } from './provider-luck.ts';
import { retryingStream } from './retrying-stream.ts';
import type { ServiceSeal } from './sealing.ts';
import type { Protocol } from './services.ts';
import type { UdpUser } from './udp-listener.ts';

/** How connections to a service are made. */
export interface ServiceDefinition extends ConnectionSettings {
  /** `NAME.NAMESPACE`. */
  key: string;
  address: string;
  /** What Routers are shown. */
  secretKey: string;
  /** How TCP connections are sealed; absent without a secret. */
  seal?: ServiceSeal;
  /** The node whose providers are wanted first; empty for none. */
  preferNode: string;
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
  /** Providers that had better be left out. */
  avoided: ReadonlySet<string>;
  /** The node whose providers are wanted first; empty for none. */
  preferNode: string;
}

/** A local port of the service. */
export interface ServicePort {
  port: number;
  protocol: Protocol;
  /** See MappingRequest. */
  isExact: () => boolean;
}

/** What connections need. */
export interface ServiceConnectionsDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  connector: Connector;
  ejection(): EjectionSettings;
  /** The Routers that can carry a connection now. */
  choices(request: MappingRequest): RouterChoice[];
  onOpen(connection: OpenConnection): void;
  onEnd(connection: OpenConnection): void;
}

/** A connection that is open, or being opened. */
export interface OpenConnection {
  /** Undefined before the first Router took it. */
  readonly router: string | undefined;
  destroy(): void;
}

/** A service nobody provides is in the log once in this many milliseconds, not once a connection. */
const LOG_PERIOD_MS = 10_000;
/** Between the tries of a connection that providers refuse; the first comes at once. */
const REOPEN = { initialMs: 100, maxMs: 1000 };

interface Connection extends OpenConnection {
  router: string | undefined;
  running: RelayHandle | undefined;
}

/** See the file's first line. */
export class ServiceConnections {
  definition: ServiceDefinition;
  readonly outliers: Outliers;
  total = 0;
  /** Connections that were refused since there were too many. */
  rejected = 0;
  isLatestSealed: boolean | undefined;
  /** Bytes of connections that are over. */
  readonly endedBytes = { in: 0, out: 0 };
  readonly #deps: ServiceConnectionsDeps;
  readonly #balancer: Balancer;
  readonly #open = new Set<Connection>();
  readonly #byRouter = new Map<string, number>();
  #loggedAt = -Infinity;

  constructor(definition: ServiceDefinition, deps: ServiceConnectionsDeps) {
    this.definition = definition;
    this.#deps = deps;
    this.#balancer = createBalancer(deps.random);
    this.outliers = createOutliers(() => deps.ejection(), deps);
  }

  /** Open and parked. */
  get size(): number {
    return this.#open.size;
  }

  /** Bytes from applications and to them, so far. */
  get bytes(): { in: number; out: number } {
    const sum = { ...this.endedBytes };
    for (const { running } of this.#open) {
      sum.in += running?.bytesAToB ?? 0;
      sum.out += running?.bytesBToA ?? 0;
    }
    return sum;
  }

  /** Takes an application's socket, which is paused: nothing is read before there is a place to put it. */
  accept(at: ServicePort, socket: Socket): void {
    socket.on('error', () => {}); // the close that follows says enough
    const { maxConnections } = this.definition;
    if (this.#open.size >= maxConnections) {
      this.rejected++;
      this.#tell(new EdgeError('EDGE_ERR_SIDECAR_LIMIT', `${maxConnections} connections are open already`));
      socket.resetAndDestroy();
      return;
    }
    const abort = new AbortController();
    const connection: Connection = {
      router: undefined,
      running: undefined,
      destroy() {
        if (connection.running === undefined) abort.abort();
        else connection.running.destroy();
      },
    };
    const onSocketGone = (): void => abort.abort();
    socket.once('close', onSocketGone);
    this.#open.add(connection);
    this.#deps.onOpen(connection);
    this.total++;
    const user = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    this.#dial(at, user, connection, abort.signal).then(
      (stream) => {
        socket.off('close', onSocketGone);
        const { idleTimeoutMs } = this.definition;
        connection.running = relay(socketStream(socket), stream, {
          clock: this.#deps.clock,
          ...(idleTimeoutMs === 0 ? {} : { idleTimeoutMs }),
          onClose: (stats) => {
            this.endedBytes.in += stats.bytesAToB;
            this.endedBytes.out += stats.bytesBToA;
            this.#end(connection);
          },
        });
      },
      (err: unknown) => {
        if (!abort.signal.aborted) this.#tell(err);
        socket.resetAndDestroy(); // a plain end would look like an answer without content
        this.#end(connection);
      },
    );
  }

  /** Opens a connection for datagrams, which nobody confirms. */
  openDatagrams(at: ServicePort, user: UdpUser, signal: AbortSignal): Promise<OpenedStream> {
    return this.#deps.connector.open(this.#request(at, user), signal);
  }

  /** Notes a connection more or less through a Router. */
  count(router: string, change: 1 | -1): void {
    const now = (this.#byRouter.get(router) ?? 0) + change;
    if (now > 0) this.#byRouter.set(router, now);
    else this.#byRouter.delete(router);
  }

  /** A connection could not be opened. */
  failed(err: unknown): void {
    this.#tell(err);
  }

  async #dial(
    at: ServicePort,
    user: UdpUser,
    connection: Connection,
    signal: AbortSignal,
  ): Promise<ByteStream> {
    const { clock, random, connector } = this.#deps;
    const request = this.#request(at, user);
    const backoff = new Backoff(REOPEN, random);
    let deadline: number | undefined;
    const moved = ({ router, stream }: OpenedStream): void => {
      if (connection.router !== undefined) this.count(connection.router, -1);
      connection.router = router;
      this.count(router, 1);
      this.isLatestSealed = isSealed(payloadOf(stream));
    };
    const opened = await connector.open(request, signal);
    moved(opened);
    return retryingStream(opened, {
      clock,
      acceptTimeoutMs: this.definition.connectTimeoutMs,
      reopen: async (abandoned) => {
        const delayMs = deadline === undefined ? 0 : backoff.next();
        deadline ??= clock.now() + this.definition.parkTimeoutMs;
        try {
          return await connector.open(request, abandoned, { deadline, delayMs });
        } catch (err) {
          if (!abandoned.aborted) this.#tell(err);
          throw err;
        }
      },
      onMoved: moved,
      onAccepted: (provider) => this.outliers.succeeded(provider),
      watch: request.watch,
    });
  }

  #request(
    { port, protocol, isExact }: ServicePort,
    user: UdpUser,
  ): ConnectRequest & { watch: ProviderWatch } {
    const { key, address, policy, parkTimeoutMs, connectTimeoutMs, preferNode } = this.definition;
    // Asked for at each try: a secret that is exchanged while the connection waits lets it in.
    const secretKey = (): string => this.definition.secretKey;
    const seal = (): ServiceSeal | undefined => (protocol === 'UDP' ? undefined : this.definition.seal);
    let choices: RouterChoice[] = [];
    const luck = new ProviderLuck(this.outliers, () => choices.map(({ providers }) => providers));
    return {
      service: key,
      choices: () => {
        luck.draw();
        choices = this.#deps.choices({
          key,
          port,
          protocol,
          isExact: isExact(),
          connections: this.#byRouter,
          avoided: new Set(luck.avoided()),
          preferNode,
        });
        return choices;
      },
      avoid: () => luck.avoided(),
      watch: luck,
      balancer: this.#balancer,
      policy,
      sourceIp: user.address,
      visitor: {
        get secretKey() {
          return secretKey();
        },
        confirm: protocol === 'TCP',
        metas: {
          localAddr: formatHostPort(address, port),
          sourceAddr: formatHostPort(user.address, user.port),
          ...(preferNode === '' ? {} : { preferNode }),
        },
      },
      get seal() {
        return seal();
      },
      parkTimeoutMs,
      connectTimeoutMs,
    };
  }

  #end(connection: Connection): void {
    this.#open.delete(connection);
    if (connection.router !== undefined) this.count(connection.router, -1);
    this.#deps.onEnd(connection);
  }

  #tell(err: unknown): void {
    const fields = { service: this.definition.key, error: errorMessage(err) };
    const now = this.#deps.clock.now();
    const isNews = now - this.#loggedAt >= LOG_PERIOD_MS;
    if (isNews) this.#loggedAt = now;
    this.#deps.log[isNews ? 'warn' : 'debug']('connection to a mapped service failed', fields);
  }
}
