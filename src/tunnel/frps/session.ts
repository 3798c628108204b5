/** One logged-in client: its control connection, its proxies and its pool of work connections. */
import { errorMessage } from '../../lib/errors.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { LimitedLog } from '../../lib/limited-log.ts';
import type { Logger } from '../../lib/log.ts';
import { TunnelError } from '../errors.ts';
import { isAuthKey } from '../frp/auth.ts';
import { deriveKey } from '../frp/cipher.ts';
import { message } from '../frp/message.ts';
import type { Message, MessageOf } from '../frp/message.ts';
import type { MessageChannel } from '../frp/message-channel.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';
import type { ProxyRequest, ServerProxy } from './proxy.ts';
import { isWatched, SilenceWatch } from '../yamux/silence-watch.ts';
import type { WatchedMux } from '../yamux/silence-watch.ts';
import { givesSignOfLife } from '../yamux/sign-of-life.ts';
import type { AskedMux } from '../yamux/sign-of-life.ts';
import { WorkConnPool } from './work-conns.ts';
import type { FrpServerConfig, SessionInfo } from './types.ts';

/** What a session needs of the server. */
export interface SessionDeps {
  /** The token that the client proved. */
  token: string;
  clock: Clock;
  log: Logger;
  /** For what a client can cause at will. */
  refusals: LimitedLog;
  config(): FrpServerConfig;
  /** Creates and opens a proxy. Rejects with TunnelError (proxyRefused), whose message goes to the client. */
  openProxy(request: ProxyRequest, session: ServerSession): Promise<ServerProxy>;
  /** A proxy is gone. */
  closedProxy(proxy: ServerProxy): void;
  onChange(): void;
  /** The session is over; its proxies are closed. */
  onClose(session: ServerSession): void;
}

/** What is known of a client's way in. */
export interface SessionOrigin {
  remoteAddr: string;
  /** Whether the client's connections share one transport. */
  isMultiplexed: boolean;
  /** What that transport tells of the path to the client; undefined without one. */
  readonly mux: (WatchedMux & AskedMux) | undefined;
  /** Cuts that transport. */
  cut(err: Error): void;
}

/** frp's default for clients without a mux, milliseconds. */
const PLAIN_HEARTBEAT_TIMEOUT_MS = 90_000;
/** Idle work connections accepted beyond what the client announced. */
const POOL_SLACK = 10;
/** Work connections that user connections of one client may wait for. */
const MAX_WAITING_FOR_WORK = 4096;
/**
 * A client that has owed a sign of life for so long is asked after all others, milliseconds. Its path may be gone, as a
 * radio link's is, long before the mux gives up; less than the 2 s that a sidecar waits before it tries another Router.
 */
const SILENT_MS = 1000;
/** How often a client is looked at for whose work connection somebody waits, milliseconds. */
const SILENCE_CHECK_MS = 250;
/** A client that does not read its control connection is dropped when this much is queued, bytes. */
const MAX_CONTROL_QUEUE_BYTES = 1024 * 1024;

/** See the file's first line. */
export class ServerSession {
  readonly runId: string;
  readonly login: MessageOf<'Login'>['body'];
  readonly remoteAddr: string;
  readonly tokenKey: Buffer;
  readonly work: WorkConnPool;
  readonly #token: string;
  readonly #control: MessageChannel;
  readonly #deps: SessionDeps;
  readonly #origin: SessionOrigin;
  readonly #proxies = new Map<string, ServerProxy>();
  readonly #poolCount: number;
  readonly #connectedAt: Date;
  readonly #timers: Timer[] = [];
  #pendingProxies = new Set<string>();
  readonly #opening = new Set<Promise<void>>();
  #lastSeenAt: Date;
  #lastPingAt: number;
  #silenceCheck: Timer | undefined;
  #watch: SilenceWatch | undefined;
  #hasProven = false;
  #isClosed = false;

  constructor(
    runId: string,
    login: MessageOf<'Login'>['body'],
    control: MessageChannel,
    origin: SessionOrigin,
    deps: SessionDeps,
  ) {
    const config = deps.config();
    this.runId = runId;
    this.login = login;
    this.remoteAddr = origin.remoteAddr;
    this.#token = deps.token;
    this.tokenKey = deriveKey(deps.token);
    this.#control = control;
    this.#origin = origin;
    this.#deps = deps;
    this.#connectedAt = deps.clock.wallNow();
    this.#lastSeenAt = this.#connectedAt;
    this.#lastPingAt = deps.clock.now();
    this.#poolCount = Math.max(0, Math.min(login.pool_count, config.maxPoolCount));
    this.work = new WorkConnPool({
      clock: deps.clock,
      request: () => this.#requestWork(),
      isSilent: () => this.isSilent,
      capacity: this.#poolCount + POOL_SLACK,
      maxWaiting: MAX_WAITING_FOR_WORK,
    });
  }

  /** The wire protocol of the client's control connection. */
  get wireProtocol(): WireProtocol {
    return this.#control.wireProtocol;
  }

  /** Whether the client has done anything that needs more than a login, which can be a copy of an earlier one. */
  get hasProven(): boolean {
    return this.#hasProven;
  }

  /** One of its visitors was admitted, which needs a secret. */
  proven(): void {
    this.#hasProven = true;
  }

  /** Whether a connection came the way that this client's connections come. */
  owns({ isMultiplexed, mux }: SessionOrigin): boolean {
    return isMultiplexed === this.#origin.isMultiplexed && mux === this.#origin.mux;
  }

  /** Whether the client gives a sign of life within `limitMs`; one that cannot be asked is believed to. Never rejects. */
  async isAlive(limitMs: number): Promise<boolean> {
    const { mux } = this.#origin;
    const isMuxAlive = mux === undefined || (await givesSignOfLife(mux, limitMs, this.#deps.clock));
    return isMuxAlive && !this.#isClosed;
  }

  /** Last measured round trip to the client, milliseconds. */
  get roundTripMs(): number | undefined {
    return this.#origin.mux?.roundTripMs;
  }

  /** Whether the client has given no sign of life for so long that others are better asked first. */
  get isSilent(): boolean {
    return (this.#origin.mux?.silentMs ?? 0) >= SILENT_MS;
  }

  /** Whether nothing has come for seconds from a client that asked to be watched. */
  get isLost(): boolean {
    return this.#watch?.isSilent ?? false;
  }

  /** The login is answered: encrypts the control connection and serves it. */
  start(): void {
    this.#control.encrypt(this.#token);
    this.#control.start({
      onMessage: (value) => this.#onMessage(value),
      onClose: (err) => this.close(err ?? new TunnelError('closed', 'control connection closed')),
    });
    for (let count = 0; count < this.#poolCount; count++) this.#send(message('ReqWorkConn'));
    this.#timers.push(this.#deps.clock.every(1000, () => this.#checkHeartbeat()));
    this.#startWatch();
  }

  /** Takes a work connection that the client opened; false when it is refused, with the reason sent. */
  addWork(channel: MessageChannel, proof: MessageOf<'NewWorkConn'>['body']): boolean {
    const problem = this.#mayProve('NewWorkConns', proof)
      ? 'too many idle work connections'
      : 'invalid NewWorkConn';
    if (problem !== 'invalid NewWorkConn' && this.work.add(channel)) return true;
    channel.send(message('StartWorkConn', { error: problem }));
    channel.close();
    return false;
  }

  /** Proxies registered now. */
  get proxies(): Iterable<ServerProxy> {
    return this.#proxies.values();
  }

  /** Ends the session: proxies and idle connections go; connections that are relayed live on while their transport does. */
  close(err: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#silenceCheck?.cancel();
    this.#watch?.stop();
    this.work.close(err);
    for (const proxy of this.#proxies.values()) {
      proxy.close();
      this.#deps.closedProxy(proxy);
    }
    this.#proxies.clear();
    this.#control.close();
    this.#deps.onClose(this);
  }

  /** Resolves when no proxy is being opened any more: after close(), when names and ports are free. Never rejects. */
  async settled(): Promise<void> {
    await Promise.all(this.#opening);
  }

  /** Ends the session and cuts its transport at once: a successor must not wait for a dead connection. */
  cut(err: Error): void {
    this.close(err);
    this.#origin.cut(err);
  }

  /** What the dashboard reports. */
  info(): SessionInfo {
    const { login } = this;
    return {
      runId: this.runId,
      user: login.user,
      clientId: login.client_id,
      version: login.version,
      hostname: login.hostname,
      os: login.os,
      arch: login.arch,
      remoteAddr: this.remoteAddr,
      metas: login.metas,
      poolCount: this.#poolCount,
      wireProtocol: this.wireProtocol,
      connectedAt: this.#connectedAt,
      lastSeenAt: this.#lastSeenAt,
    };
  }

  #send(value: Message): void {
    if (this.#isClosed) return;
    this.#control.send(value);
    if (this.#control.queuedBytes > MAX_CONTROL_QUEUE_BYTES) {
      process.nextTick(() =>
        this.cut(new TunnelError('limit', 'client does not read its control connection')),
      );
    }
  }

  #startWatch(): void {
    const { clock, log } = this.#deps;
    const mux = this.#origin.mux;
    if (mux === undefined || !isWatched(this.login.metas)) return;
    this.#watch = new SilenceWatch(mux, {
      clock,
      onChange: (isSilent) => {
        log.info(isSilent ? 'client is silent' : 'client is back', { remoteAddr: this.remoteAddr });
        this.#deps.onChange();
      },
    });
  }

  /** Asks for a work connection, and whether the client is still there: silence is noticed with the first use. */
  #requestWork(): void {
    this.#send(message('ReqWorkConn'));
    this.#origin.mux?.probe();
    if (this.#silenceCheck === undefined) this.#watchSilence();
  }

  /** Looks after a moment, and on while somebody waits, whether those who can should go elsewhere. */
  #watchSilence(): void {
    const { clock } = this.#deps;
    const due = clock.now() + SILENCE_CHECK_MS;
    this.#silenceCheck = clock.after(SILENCE_CHECK_MS, () => {
      this.#silenceCheck = undefined;
      // After a pause of this process an answer may have come that it has not read yet.
      const isLate = clock.now() - due > SILENCE_CHECK_MS;
      if (this.isSilent && !isLate) this.work.release(new TunnelError('timeout', 'client is silent'));
      if (this.work.waiting === 0) return;
      this.#origin.mux?.probe();
      this.#watchSilence();
    });
  }

  #onMessage(value: Message): void {
    this.#lastSeenAt = this.#deps.clock.wallNow();
    this.#hasProven = true;
    if (value.name === 'Ping') this.#onPing(value.body);
    else if (value.name === 'NewProxy') {
      const opening = this.#openProxy(value.body)
        .catch((err: unknown) => this.#deps.log.error('cannot answer NewProxy', { error: err }))
        .finally(() => this.#opening.delete(opening));
      this.#opening.add(opening);
    } else if (value.name === 'CloseProxy') this.#closeProxy(value.body.proxy_name);
    else if (value.name === 'NatHoleVisitor') {
      const { transaction_id } = value.body;
      this.#send(message('NatHoleResp', { transaction_id, error: 'xtcp is not supported' }));
    }
    // Messages that a server does not expect are ignored, as frps does.
  }

  #onPing(proof: MessageOf<'Ping'>['body']): void {
    if (!this.#mayProve('HeartBeats', proof)) {
      this.#send(message('Pong', { error: 'invalid heartbeat' }));
      this.close(new TunnelError('loginRefused', 'heartbeat without proof of the token'));
      return;
    }
    this.#lastPingAt = this.#deps.clock.now();
    this.#send(message('Pong'));
  }

  #mayProve(
    scope: 'HeartBeats' | 'NewWorkConns',
    proof: { privilege_key: string; timestamp: number },
  ): boolean {
    if (!this.#deps.config().additionalScopes.includes(scope)) return true;
    return isAuthKey(proof.privilege_key, this.#token, proof.timestamp);
  }

  async #openProxy(request: ProxyRequest): Promise<void> {
    const name = request.proxy_name;
    let answer: Partial<MessageOf<'NewProxyResp'>['body']>;
    try {
      if (this.#proxies.has(name) || this.#pendingProxies.has(name)) {
        throw new TunnelError('proxyRefused', `proxy name ${name} is already in use`);
      }
      if (this.#proxies.size + this.#pendingProxies.size >= this.#deps.config().limits.maxProxiesPerSession) {
        throw new TunnelError('proxyRefused', 'too many proxies');
      }
      this.#pendingProxies.add(name);
      const proxy = await this.#deps.openProxy(request, this);
      if (this.#isClosed || !this.#pendingProxies.has(name)) {
        proxy.close();
        this.#deps.closedProxy(proxy);
        return;
      }
      this.#proxies.set(name, proxy);
      answer = proxy.remotePort === undefined ? {} : { remote_addr: `:${proxy.remotePort}` };
      this.#deps.log.info('proxy registered', { proxy: name, type: proxy.type, remoteAddr: this.remoteAddr });
    } catch (err) {
      const isDetailed = this.#deps.config().detailedErrorsToClient ?? true;
      answer = { error: isDetailed ? errorMessage(err) : `new proxy [${name}] error` };
      this.#deps.refusals.write('info', 'proxy refused', {
        runId: this.runId,
        proxy: name,
        error: errorMessage(err),
      });
    } finally {
      this.#pendingProxies.delete(name);
    }
    this.#send(message('NewProxyResp', { proxy_name: name, ...answer }));
    this.#deps.onChange();
  }

  #closeProxy(name: string): void {
    this.#pendingProxies.delete(name);
    const proxy = this.#proxies.get(name);
    if (proxy === undefined) return;
    this.#proxies.delete(name);
    proxy.close();
    this.#deps.closedProxy(proxy);
    this.#deps.log.info('proxy closed', { proxy: name });
    this.#deps.onChange();
  }

  #checkHeartbeat(): void {
    const { heartbeatTimeoutMs } = this.#deps.config();
    const limitMs =
      heartbeatTimeoutMs > 0
        ? heartbeatTimeoutMs
        : this.#origin.isMultiplexed
          ? Infinity
          : PLAIN_HEARTBEAT_TIMEOUT_MS;
    const silentMs = this.#deps.clock.now() - this.#lastPingAt;
    if (silentMs > limitMs)
      this.cut(new TunnelError('timeout', `no heartbeat for ${Math.round(silentMs / 1000)} s`));
  }
}
