/** One login to a tunnel server, from Login to the loss of the control connection. */
import type { Clock, Timer } from '../../lib/clock.ts';
import { protocolVersion } from '../../lib/build-info.ts';
import type { Logger } from '../../lib/log.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { authKey } from '../frp/auth.ts';
import { deriveKey } from '../frp/cipher.ts';
import { message } from '../frp/message.ts';
import type { Message, MessageOf } from '../frp/message.ts';
import { MessageChannel } from '../frp/message-channel.ts';
import { wrapPayload } from '../frp/payload.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';
import { offeredMetas, openPayload } from '../seal/negotiation.ts';
import { WATCH_METAS } from '../yamux/silence-watch.ts';
import { createConnector } from './connector.ts';
import type { Connector } from './connector.ts';
import { describeServer } from './dial.ts';
import type { FrpClientConfig, VisitorRequest } from './types.ts';

/** Who the session tells. */
export interface SessionListener {
  onProxyAnswer(answer: MessageOf<'NewProxyResp'>['body']): void;
  /** A connection for one of the proxies; the listener owns the stream. */
  onWorkConnection(start: MessageOf<'StartWorkConn'>['body'], stream: ByteStream): void;
  /** The session is over; at most once. */
  onClose(err: Error): void;
}

/** What a session needs besides its configuration. */
export interface SessionDeps {
  clock: Clock;
  log: Logger;
  /** This machine, for the server's dashboard. */
  host: { name: string; os: string; arch: string };
}

/** Time for LoginResp and NewVisitorConnResp, as frp has it, milliseconds. */
const ANSWER_TIMEOUT_MS = 10_000;
/** frp's heartbeat. With a mux the server does not ask for it, but answers prove that it still works. */
const HEARTBEAT_MS = 30_000;
const HEARTBEAT_TIMEOUT_MS = 90_000;
/** Idle work connections kept at the server's request; one that asks for more is broken or hostile. */
const MAX_IDLE_WORK_CONNECTIONS = 1024;

/** As whom a client logs in. */
export interface LoginIdentity {
  /** Of the session before, whose place this one takes; empty for none. */
  previousRunId: string;
  /** Seconds since 1970. */
  timestamp: number;
}

/** A live login. */
export class ClientSession {
  readonly runId: string;
  readonly #config: FrpClientConfig;
  readonly #deps: SessionDeps;
  readonly #connector: Connector;
  readonly #control: MessageChannel;
  readonly #listener: SessionListener;
  readonly #tokenKey: Buffer;
  readonly #timers: Timer[] = [];
  readonly #idleWork = new Set<MessageChannel>();
  #lastPongAt: number;
  #isClosed = false;

  private constructor(
    runId: string,
    config: FrpClientConfig,
    deps: SessionDeps,
    connector: Connector,
    control: MessageChannel,
    listener: SessionListener,
  ) {
    this.runId = runId;
    this.#config = config;
    this.#deps = deps;
    this.#connector = connector;
    this.#control = control;
    this.#listener = listener;
    this.#tokenKey = deriveKey(config.token);
    this.#lastPongAt = deps.clock.now();
    control.encrypt(config.token);
    control.start({
      onMessage: (value) => this.#onMessage(value),
      onClose: (err) => this.close(err ?? new TunnelError('closed', 'control connection closed')),
    });
    this.#timers.push(deps.clock.every(HEARTBEAT_MS, () => this.#heartbeat()));
    // Shows at once what a login that was overheard and sent again cannot: that the client has the token.
    this.#heartbeat();
  }

  /** Connects and logs in. Rejects with TunnelError: offline, timeout, loginRefused, protocol, closed. */
  static async login(
    config: FrpClientConfig,
    identity: LoginIdentity,
    deps: SessionDeps,
    signal: AbortSignal,
    listener: SessionListener,
  ): Promise<ClientSession> {
    const where = describeServer(config.server);
    let session: ClientSession | undefined;
    let lost: Error | undefined;
    const { connector, first } = await createConnector(config, deps, signal, (err) => {
      const reason = err ?? new TunnelError('closed', `${where} closed the connection`);
      lost = reason;
      session?.close(reason);
    });
    const wire = config.wireProtocol ?? 'v1';
    const control = MessageChannel.open(first, deps.clock, wire);
    const onAbort = (): void => connector.close(new TunnelError('closed', 'stopped'));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (wire === 'v2') {
        const { transport = 'tcp', tls, tcpMux } = config;
        control.sendHello({ transport, tls: tls !== undefined, tcpMux });
      }
      control.send(
        message('Login', {
          version: protocolVersion,
          hostname: deps.host.name,
          os: deps.host.os,
          arch: deps.host.arch,
          user: config.user,
          privilege_key: authKey(config.token, identity.timestamp),
          timestamp: identity.timestamp,
          run_id: identity.previousRunId,
          client_id: config.clientId,
          metas:
            config.isWatched === true && config.tcpMux ? { ...config.metas, ...WATCH_METAS } : config.metas,
          pool_count: config.poolCount,
        }),
      );
      const { body } = await control.expect(['LoginResp'], ANSWER_TIMEOUT_MS);
      if (body.error !== '')
        throw new TunnelError('loginRefused', `login to ${where} refused: ${body.error}`);
      session = new ClientSession(body.run_id, config, deps, connector, control, listener);
      if (lost !== undefined) session.close(lost);
      return session;
    } catch (err) {
      control.close(err instanceof Error ? err : undefined);
      connector.close(err instanceof Error ? err : undefined);
      throw err;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Round trip to the server, milliseconds. */
  get roundTripMs(): number | undefined {
    return this.#connector.roundTripMs;
  }

  /** See FrpClient.probe(). */
  probe(): number {
    return this.#connector.probe();
  }

  /** Sends a control message. */
  send(value: Message): void {
    if (!this.#isClosed) this.#control.send(value);
  }

  /** Opens a visitor connection; see FrpClient.openVisitor for the errors. */
  async openVisitor(request: VisitorRequest, signal: AbortSignal | undefined): Promise<ByteStream> {
    const channel = await this.#openChannel();
    const onAbort = (): void => channel.close(new TunnelError('closed', 'visitor gave up'));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const timestamp = Math.floor(this.#deps.clock.wallNow().getTime() / 1000);
      const { useEncryption = false, useCompression = false } = request;
      channel.send(
        message('NewVisitorConn', {
          run_id: this.runId,
          proxy_name: request.proxyName,
          sign_key: authKey(request.secretKey, timestamp),
          timestamp,
          use_encryption: useEncryption,
          use_compression: useCompression,
          metas: { ...request.metas, ...offeredMetas(request.seal, request.confirm) },
        }),
      );
      const { body } = await channel.expect(['NewVisitorConnResp'], ANSWER_TIMEOUT_MS);
      if (body.error !== '') throw new TunnelError('visitorRefused', `${request.proxyName}: ${body.error}`);
      request.onAdmitted?.(body.metas['provider']);
      const key = useEncryption ? deriveKey(request.secretKey) : this.#tokenKey;
      const payload = wrapPayload(channel.release(), { useEncryption, useCompression, key });
      return await openPayload(payload, request, body.metas, this.#deps.clock);
    } catch (err) {
      channel.close(err instanceof Error ? err : undefined);
      throw err;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** How this session's connections frame their messages. */
  get wireProtocol(): WireProtocol {
    return this.#control.wireProtocol;
  }

  async #openChannel(): Promise<MessageChannel> {
    return MessageChannel.open(await this.#connector.open(), this.#deps.clock, this.wireProtocol);
  }

  /** Wraps a work connection's payload as the proxy was registered. */
  wrapWork(stream: ByteStream, useEncryption: boolean, useCompression: boolean): ByteStream {
    return wrapPayload(stream, { useEncryption, useCompression, key: this.#tokenKey });
  }

  /** Ends the session. Idempotent. */
  close(err: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    for (const channel of this.#idleWork) channel.close(err);
    this.#idleWork.clear();
    this.#control.close();
    this.#connector.close(err);
    this.#listener.onClose(err);
  }

  #onMessage(value: Message): void {
    if (value.name === 'ReqWorkConn') {
      this.#offerWorkConnection().catch((err: unknown) => {
        this.#deps.log.debug('work connection failed', { error: err });
      });
    } else if (value.name === 'NewProxyResp') this.#listener.onProxyAnswer(value.body);
    else if (value.name === 'Pong') {
      this.#lastPongAt = this.#deps.clock.now();
      if (value.body.error !== '')
        this.close(new TunnelError('loginRefused', `heartbeat refused: ${value.body.error}`));
    }
    // Other messages concern roles that this client does not have.
  }

  async #offerWorkConnection(): Promise<void> {
    if (this.#isClosed || this.#idleWork.size >= MAX_IDLE_WORK_CONNECTIONS) return;
    const channel = await this.#openChannel();
    if (this.#isClosed) {
      channel.close(new TunnelError('closed', 'session closed'));
      return;
    }
    this.#idleWork.add(channel);
    try {
      channel.send(message('NewWorkConn', { run_id: this.runId, ...this.#proof('NewWorkConns') }));
      const { body } = await channel.expect(['StartWorkConn'], Infinity);
      if (body.error !== '') throw new TunnelError('protocol', `work connection refused: ${body.error}`);
      this.#listener.onWorkConnection(body, channel.release());
    } catch (err) {
      channel.close(err instanceof Error ? err : undefined);
      throw err;
    } finally {
      this.#idleWork.delete(channel);
    }
  }

  #proof(scope: 'HeartBeats' | 'NewWorkConns'): { privilege_key: string; timestamp: number } | undefined {
    if (!this.#config.additionalScopes.includes(scope)) return undefined;
    const timestamp = Math.floor(this.#deps.clock.wallNow().getTime() / 1000);
    return { privilege_key: authKey(this.#config.token, timestamp), timestamp };
  }

  #heartbeat(): void {
    const silentMs = this.#deps.clock.now() - this.#lastPongAt;
    if (silentMs > HEARTBEAT_TIMEOUT_MS) {
      this.close(new TunnelError('timeout', `no heartbeat answer for ${Math.round(silentMs / 1000)} s`));
    } else this.send(message('Ping', this.#proof('HeartBeats') ?? {}));
  }
}
