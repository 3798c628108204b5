/** The frp server: accepts connections, logs clients in, and routes work and visitor connections to their place. */
import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { formatHostPort } from '../../lib/address.ts';
import { protocolVersion } from '../../lib/build-info.ts';
import { sleep } from '../../lib/clock.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { message } from '../frp/message.ts';
import type { MessageOf } from '../frp/message.ts';
import { MessageChannel } from '../frp/message-channel.ts';
import { WebSocketUpgrades } from '../websocket/upgrade.ts';
import { YamuxSession } from '../yamux/session.ts';
import { boundPort, listenOn } from './listener.ts';
import { LoginGate } from './login-gate.ts';
import { PortAllocator } from './ports.ts';
import { ProxyRegistry } from './proxy-registry.ts';
import { ServerSession } from './session.ts';
import type { SessionOrigin } from './session.ts';
import { TlsContext } from './tls-context.ts';
import { TrafficCounter } from './traffic.ts';
import { acceptTransport } from './transport.ts';
import type {
  FrpServer,
  FrpServerConfig,
  FrpServerHooks,
  FrpServerTotals,
  ProxyInfo,
  SessionInfo,
  VisitorInfo,
} from './types.ts';
import { Visitors } from './visitors.ts';

/** What a server needs. */
export interface FrpServerDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
}

/** Creates a server; nothing happens before start(). */
export function createFrpServer(
  config: FrpServerConfig,
  hooks: FrpServerHooks,
  deps: FrpServerDeps,
): FrpServer {
  return new TunnelServer(config, hooks, deps);
}

/** One accepted connection or mux session, as long as it lives. */
interface Transport {
  origin: SessionOrigin;
  /** Set once a client logged in over it, or named the run id of one that did. */
  isKnown: boolean;
  /** The client that logged in over it. */
  runId: string | undefined;
  /** It counts as pending no longer. Idempotent. */
  settle(): void;
}

/** Streams that a mux session may have open before its login: frp opens one. */
const MAX_STREAMS_BEFORE_LOGIN = 8;

class TunnelServer implements FrpServer {
  #config: FrpServerConfig;
  readonly #hooks: FrpServerHooks;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #sessions = new Map<string, ServerSession>();
  readonly #gate: LoginGate;
  readonly #tlsContext: TlsContext;
  readonly #transports = new Set<Transport>();
  readonly #totals = new TrafficCounter();
  readonly #proxies: ProxyRegistry;
  readonly #visitors: Visitors;
  readonly #upgrades = new WebSocketUpgrades();
  #tcp: Server | undefined;
  #unix: Server | undefined;
  #pending = 0;
  #refusedLogins = 0;
  #isStopped = false;

  constructor(config: FrpServerConfig, hooks: FrpServerHooks, deps: FrpServerDeps) {
    this.#config = config;
    this.#hooks = hooks;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#tlsContext = new TlsContext(deps.clock);
    this.#gate = new LoginGate({
      config: () => this.#config,
      sessions: this.#sessions,
      isStopped: () => this.#isStopped,
    });
    const ports = new PortAllocator(config.allowPorts, deps);
    const udpPorts = new PortAllocator(config.allowPorts, deps);
    const shared = {
      clock: deps.clock,
      log: deps.log,
      config: () => this.#config,
      totals: this.#totals,
      userConnTimeoutMs: () => this.#config.userConnTimeoutMs,
      onChange: () => this.#changed(),
    };
    this.#proxies = new ProxyRegistry({ ...shared, ports, udpPorts });
    this.#visitors = new Visitors({
      ...shared,
      proxy: (name) => this.#proxies.get(name),
      session: (runId) => this.#sessions.get(runId),
      pickProvider: (request) => hooks.pickProvider?.(request),
    });
  }

  get port(): number | undefined {
    return this.#tcp === undefined ? undefined : boundPort(this.#tcp);
  }

  async start(): Promise<void> {
    if (this.#tcp !== undefined) return;
    await this.#bind(this.#config);
  }

  async reconfigure(config: FrpServerConfig): Promise<void> {
    const old = this.#config;
    await this.#bind(config, old);
    this.#config = config;
    this.#proxies.allowPorts(config.allowPorts);
    if (config.token !== old.token) this.#log.info('token changed', { sessions: this.#sessions.size });
  }

  async stop(drainMs: number): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    closeListener(this.#tcp);
    closeListener(this.#unix);
    const deadline = this.#clock.now() + drainMs;
    while (this.#totals.endingConnections > 0 && this.#clock.now() < deadline) await sleep(this.#clock, 50);
    const reason = new TunnelError('closed', 'server is stopping');
    for (const session of this.#sessions.values()) session.close(reason);
    this.#totals.abortAll(reason);
    for (const transport of this.#transports) transport.origin.cut(reason);
    this.#tcp = undefined;
    this.#unix = undefined;
  }

  sessions(): SessionInfo[] {
    return [...this.#sessions.values()].map((session) => session.info());
  }

  proxies(): ProxyInfo[] {
    return this.#proxies.list();
  }

  visitors(): VisitorInfo[] {
    return this.#visitors.list();
  }

  totals(): FrpServerTotals {
    const { bytesIn, bytesOut, connections, totalConnections } = this.#totals.snapshot();
    return {
      bytesIn,
      bytesOut,
      connections: totalConnections,
      openConnections: connections,
      refusedLogins: this.#refusedLogins,
    };
  }

  /** Binds what differs from the old configuration, then releases what it replaced. */
  async #bind(config: FrpServerConfig, old?: FrpServerConfig): Promise<void> {
    const onSocket = (socket: Socket): void => this.#onSocket(socket);
    const isTcpNew =
      old === undefined || old.bindAddr !== config.bindAddr || old.bindPort !== config.bindPort;
    const isUnixNew = old?.socketPath !== config.socketPath;
    const tcp = isTcpNew
      ? await listenOn({ host: config.bindAddr, port: config.bindPort }, onSocket)
      : this.#tcp;
    let unix = this.#unix;
    try {
      if (isUnixNew)
        unix =
          config.socketPath === undefined ? undefined : await listenOn({ path: config.socketPath }, onSocket);
    } catch (err) {
      if (isTcpNew) closeListener(tcp);
      throw err;
    }
    if (isTcpNew) closeListener(this.#tcp);
    if (isUnixNew) closeListener(this.#unix);
    this.#tcp = tcp;
    this.#unix = unix;
  }

  #onSocket(socket: Socket): void {
    const remoteAddr =
      socket.remoteAddress === undefined
        ? 'unix'
        : formatHostPort(socket.remoteAddress, socket.remotePort ?? 0);
    if (this.#pending >= this.#config.limits.maxPendingConnections || this.#isStopped) {
      socket.destroy();
      return;
    }
    this.#pending += 1;
    let isPending = true;
    const settle = (): void => {
      if (isPending) this.#pending -= 1;
      isPending = false;
    };
    const { tls, limits } = this.#config;
    const options = {
      upgrade: (connection: Duplex) => this.#upgrades.accept(connection),
      context: () => this.#tlsContext.get(this.#config.tls),
      wantsClientCertificate: tls.clientCa !== undefined,
      isForced: tls.force || tls.clientCa !== undefined,
    };
    acceptTransport(socket, options, limits.loginTimeoutMs, this.#clock)
      .then(({ kind, stream }) =>
        kind === 'mux'
          ? this.#serveMux(stream, remoteAddr, settle)
          : this.#serveSingle(stream, remoteAddr, settle),
      )
      .catch((err: unknown) => {
        settle();
        this.#log.debug('connection refused', { remoteAddr, error: err });
      });
  }

  #serveMux(stream: ByteStream, remoteAddr: string, settle: () => void): void {
    const { limits, keepaliveMs } = this.#config;
    let timer: Timer | undefined;
    const transport: Transport = {
      isKnown: false,
      runId: undefined,
      settle,
      origin: {
        remoteAddr,
        isMultiplexed: true,
        get mux() {
          return session;
        },
        cut: (err) => session.close(err),
      },
    };
    const session: YamuxSession = new YamuxSession(
      stream,
      'server',
      {
        onStream: (opened) => {
          if (transport.isKnown || session.streamCount <= MAX_STREAMS_BEFORE_LOGIN)
            this.#serve(opened, transport);
          else opened.destroy();
        },
        onClose: () => {
          timer?.cancel();
          settle();
          this.#transports.delete(transport);
        },
      },
      { clock: this.#clock },
      { keepaliveMs, maxStreams: limits.maxStreamsPerSession },
    );
    this.#transports.add(transport);
    timer = this.#clock.after(limits.loginTimeoutMs, () => {
      if (!transport.isKnown) session.close(new TunnelError('timeout', 'no login over the mux session'));
    });
  }

  #serveSingle(stream: ByteStream, remoteAddr: string, settle: () => void): void {
    const cut = (err: Error): void => stream.destroy(err);
    const origin = { remoteAddr, isMultiplexed: false, mux: undefined, cut };
    this.#serve(stream, { isKnown: false, runId: undefined, settle, origin });
  }

  /** Serves one logical connection by its first message. */
  #serve(stream: ByteStream, transport: Transport): void {
    const channel = new MessageChannel(stream, this.#clock, 'detect');
    this.#dispatch(channel, transport).catch((err: unknown) => {
      channel.close(err instanceof Error ? err : undefined);
      if (!transport.origin.isMultiplexed) transport.settle();
      this.#log.debug('connection failed', { remoteAddr: transport.origin.remoteAddr, error: err });
    });
  }

  async #dispatch(channel: MessageChannel, transport: Transport): Promise<void> {
    const first = await channel.expect(
      ['Login', 'NewWorkConn', 'NewVisitorConn'],
      this.#config.limits.loginTimeoutMs,
    );
    if (first.name === 'Login') {
      await this.#login(channel, first.body, transport);
      return;
    }
    if (this.#sessions.has(first.body.run_id)) this.#know(transport);
    if (!transport.origin.isMultiplexed) transport.settle();
    if (first.name === 'NewVisitorConn') {
      // Clients before 0.50 do not say who they are, but the connection they logged in over does.
      const { body } = first;
      const request = body.run_id === '' ? { ...body, run_id: transport.runId ?? '' } : body;
      await this.#visitors.serve(channel, request, transport.origin.remoteAddr).catch((err: unknown) => {
        this.#log.debug('visitor refused', {
          target: request.proxy_name,
          remoteAddr: transport.origin.remoteAddr,
          error: err,
        });
      });
      return;
    }
    const session = this.#sessions.get(first.body.run_id);
    if (session !== undefined) session.addWork(channel, first.body);
    else {
      channel.send(message('StartWorkConn', { error: 'no client with this run id' }));
      channel.close();
    }
  }

  /** A client shows itself on this transport. */
  #know(transport: Transport): void {
    transport.isKnown = true;
    transport.settle();
  }

  async #login(
    channel: MessageChannel,
    login: MessageOf<'Login'>['body'],
    transport: Transport,
  ): Promise<void> {
    const { remoteAddr } = transport.origin;
    const admission = await this.#gate.admit(login, channel.canEncrypt);
    if ('problem' in admission) {
      const { problem } = admission;
      this.#refusedLogins += 1;
      this.#log.warn('login refused', { remoteAddr, user: login.user, reason: problem });
      const error = (this.#config.detailedErrorsToClient ?? true) ? problem : 'register control error';
      channel.send(message('LoginResp', { version: protocolVersion, error }));
      channel.close();
      if (!transport.origin.isMultiplexed) transport.settle();
      return;
    }
    const { runId, token } = admission;
    const session = new ServerSession(runId, login, channel, transport.origin, {
      token,
      clock: this.#clock,
      log: this.#log.with({ runId }),
      config: () => this.#config,
      openProxy: (request, owner) => this.#proxies.open(request, owner),
      closedProxy: (proxy) => {
        this.#proxies.remove(proxy);
        this.#hooks.onProxyClosed?.(proxy.info());
      },
      onChange: () => this.#changed(),
      onClose: (closed) => this.#closed(closed),
    });
    this.#know(transport);
    transport.runId = runId;
    this.#sessions.set(runId, session);
    channel.send(message('LoginResp', { version: protocolVersion, run_id: runId }));
    session.start();
    this.#log.info('client logged in', {
      runId,
      remoteAddr,
      hostname: login.hostname,
      version: login.version,
    });
    this.#changed();
  }

  #closed(session: ServerSession): void {
    if (this.#sessions.get(session.runId) === session) this.#sessions.delete(session.runId);
    this.#visitors.forget(session.runId);
    this.#hooks.onSessionClosed?.(session.info());
    this.#log.info('client gone', { runId: session.runId, remoteAddr: session.remoteAddr });
    this.#changed();
  }

  #changed(): void {
    this.#hooks.onChange?.();
  }
}

function closeListener(server: Server | undefined): void {
  server?.close();
}
