/** The frp server: accepts connections, logs clients in, and routes work and visitor connections to their place. */
import type { Server, Socket } from 'node:net';
import { protocolVersion } from '../../lib/build-info.ts';
import { sleep } from '../../lib/clock.ts';
import type { Clock } from '../../lib/clock.ts';
import { LimitedLog } from '../../lib/limited-log.ts';
import type { Logger } from '../../lib/log.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { message } from '../frp/message.ts';
import type { MessageOf } from '../frp/message.ts';
import { MessageChannel } from '../frp/message-channel.ts';
import { Acceptor } from './acceptor.ts';
import type { Transport } from './acceptor.ts';
import { boundPort, listenOn } from './listener.ts';
import { LoginGate } from './login-gate.ts';
import { PortAllocator } from './ports.ts';
import { ProxyRegistry } from './proxy-registry.ts';
import { QueueGuard } from './queue-guard.ts';
import type { QueueHolder } from './queue-guard.ts';
import { ServerSession } from './session.ts';
import { TrafficCounter } from './traffic.ts';
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

class TunnelServer implements FrpServer {
  #config: FrpServerConfig;
  readonly #hooks: FrpServerHooks;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #sessions = new Map<string, ServerSession>();
  readonly #gate: LoginGate;
  readonly #acceptor: Acceptor;
  readonly #totals = new TrafficCounter();
  readonly #proxies: ProxyRegistry;
  readonly #visitors: Visitors;
  #tcp: Server | undefined;
  #unix: Server | undefined;
  readonly #refusals: LimitedLog;
  readonly #guard: QueueGuard;
  #refusedLogins = 0;
  #droppedConnections = 0;
  #isStopped = false;
  #isDraining = false;

  constructor(config: FrpServerConfig, hooks: FrpServerHooks, deps: FrpServerDeps) {
    this.#config = config;
    this.#hooks = hooks;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#acceptor = new Acceptor({
      clock: deps.clock,
      log: deps.log,
      config: () => this.#config,
      serve: (stream, transport) => this.#serve(stream, transport),
    });
    this.#refusals = new LimitedLog(deps.clock, deps.log);
    this.#guard = new QueueGuard({
      clock: deps.clock,
      maxBytes: () => this.#config.limits.maxQueuedBytes,
      holders: () => this.#holders(),
      onDropped: (connections, bytes) => {
        this.#droppedConnections += connections;
        this.#log.warn('dropped connections that take nothing', { connections, bytes });
      },
    });
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
    this.#guard.start();
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
    this.#guard.stop();
    const deadline = this.#clock.now() + drainMs;
    this.#isDraining = true;
    while (this.#isStopped && this.#totals.endingConnections > 0 && this.#clock.now() < deadline)
      await sleep(this.#clock, 50);
    if (!this.#isStopped) return; // resumed
    this.#isDraining = false;
    const reason = new TunnelError('closed', 'server is stopping');
    for (const session of this.#sessions.values()) session.close(reason);
    this.#totals.abortAll(reason);
    for (const mux of this.#acceptor.muxes) mux.close(reason);
    this.#tcp = undefined;
    this.#unix = undefined;
  }

  async resume(config: FrpServerConfig): Promise<boolean> {
    if (!this.#isDraining) return false;
    await this.#bind(config);
    if (!this.#isDraining) {
      closeListener(this.#tcp);
      closeListener(this.#unix);
      return false;
    }
    this.#isDraining = false;
    this.#isStopped = false;
    this.#config = config;
    this.#proxies.allowPorts(config.allowPorts);
    this.#guard.start();
    return true;
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
      queuedBytes: this.#guard.heldBytes,
      droppedConnections: this.#droppedConnections,
    };
  }

  /** Everybody for whom bytes may wait: users and their providers, and the connections that carry them. */
  *#holders(): Iterable<QueueHolder> {
    yield* this.#totals.open();
    yield* this.#acceptor.muxes;
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
    if (this.#isStopped) socket.destroy();
    else this.#acceptor.accept(socket);
  }

  /** Serves one logical connection by its first message. */
  #serve(stream: ByteStream, transport: Transport): void {
    const channel = new MessageChannel(stream, this.#clock, 'detect');
    transport.unidentified += 1;
    this.#dispatch(channel, transport).catch((err: unknown) => {
      channel.close(err instanceof Error ? err : undefined);
      if (!transport.origin.isMultiplexed) transport.settle();
      this.#log.debug('connection failed', { remoteAddr: transport.origin.remoteAddr, error: err });
    });
  }

  async #dispatch(channel: MessageChannel, transport: Transport): Promise<void> {
    const first = await channel
      .expect(['Login', 'NewWorkConn', 'NewVisitorConn'], this.#config.limits.loginTimeoutMs)
      .finally(() => {
        transport.unidentified -= 1;
      });
    const { origin } = transport;
    if (first.name === 'Login') {
      await this.#login(channel, first.body, transport);
      return;
    }
    if (!origin.isMultiplexed) transport.settle();
    const isVisitor = first.name === 'NewVisitorConn';
    // Visitors before 0.50 do not say who they are, but the connection that they logged in over does.
    const runId = first.body.run_id === '' && isVisitor ? (transport.runId ?? '') : first.body.run_id;
    const session = this.#sessions.get(runId);
    // A run id is no secret: who says it must come the way that its client came.
    const isOwner = session?.owns(origin) === true;
    if (isVisitor) {
      const isAdmissible = isOwner || runId === '';
      await this.#serveVisitor(channel, { ...first.body, run_id: runId }, origin.remoteAddr, isAdmissible);
    } else if (isOwner) session.addWork(channel, first.body);
    else {
      channel.send(message('StartWorkConn', { error: 'no client with this run id' }));
      channel.close();
    }
  }

  async #serveVisitor(
    channel: MessageChannel,
    request: MessageOf<'NewVisitorConn'>['body'],
    remoteAddr: string,
    isAdmissible: boolean,
  ): Promise<void> {
    try {
      await this.#visitors.serve(channel, request, remoteAddr, isAdmissible);
      this.#sessions.get(request.run_id)?.proven();
    } catch (err) {
      this.#log.debug('visitor refused', { target: request.proxy_name, remoteAddr, error: err });
    }
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
      this.#refusals.write('warn', 'login refused', { remoteAddr, user: login.user, reason: problem });
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
      refusals: this.#refusals,
      config: () => this.#config,
      openProxy: (request, owner) => this.#proxies.open(request, owner),
      closedProxy: (proxy) => {
        this.#proxies.remove(proxy);
        this.#hooks.onProxyClosed?.(proxy.info());
      },
      onChange: () => this.#changed(),
      onClose: (closed) => this.#closed(closed),
    });
    transport.know(runId);
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
