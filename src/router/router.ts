/**
 * The router: keeps the tunnel server and the dashboard as its source says, and reports to it where there is somebody
 * to report to. A configuration that cannot be used never replaces one that works; an absent source changes nothing.
 */
import type { NetworkInterfaceInfo } from 'node:os';
import { CONDITION_READY } from '../api/edge.ts';
import type { RouterStatus, RouterStatusCondition } from '../api/gen/types.ts';
import { formatHostPort } from '../lib/address.ts';
import { Backoff } from '../lib/backoff.ts';
import { version } from '../lib/build-info.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { EdgeError, errorCode, errorMessage } from '../lib/errors.ts';
import type { Component, ReadinessCheck } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { ProxyInfo, SessionInfo } from '../tunnel/frps/types.ts';
import { routerAddresses } from './addresses.ts';
import type { DashboardConfig, RouterConfig } from './config.ts';
import { CONFIG_CODES } from './errors.ts';
import type { Maintenance } from './maintenance.ts';
import { StatusReporter } from './reporter.ts';
import type { ConfigSource, StatusTarget } from './source.ts';
import { buildStatus } from './status.ts';
import type { ReadyState, ServerView } from './status.ts';
import { Tunnel } from './tunnel.ts';
import type { CreateServer } from './tunnel.ts';

/** Settings of the process. */
export interface RouterOptions {
  /** The node; the name of the Router object, where one is followed. */
  node: string;
  /** Addresses for the status; empty to find one. */
  advertised: readonly string[];
  /** The unix socket that the tunnel accepts on, for the status. */
  socketPath: string | undefined;
  drainTimeoutMs: number;
}

/** The dashboard as the router drives it. */
export interface DashboardControl {
  /** A proxy closed; these are its last counts. */
  proxyClosed(proxy: ProxyInfo): void;
  /** A client is gone. */
  clientGone(session: SessionInfo): void;
  /** Serves this configuration, or nothing; retries by itself. Never throws. */
  apply(config: DashboardConfig | undefined): void;
  /** Why it is not served although it should be. */
  readonly problem: string | undefined;
  stop(): Promise<void>;
}

/** The router as the dashboard and the metrics see it. */
export interface RouterState {
  readonly node: string;
  /** The configuration in force; undefined while nothing is served. */
  readonly config: RouterConfig | undefined;
  readonly ready: ReadyState;
  readonly statusWrites: { writes: number; failures: number };
  view(): ServerView;
}

/** What the router needs. */
export interface RouterDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  source: ConfigSource;
  createServer: CreateServer;
  createDashboard: (state: RouterState, onChange: () => void) => DashboardControl;
  /** Reports maintainable nodes; absent where nobody is reported to. */
  createMaintenance?: (state: RouterState) => Maintenance;
  interfaces: () => Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;
}

/** The router as a component; `start()` resolves when the tunnel server serves for the first time. */
export interface RouterComponent extends Component, RouterState {
  readonly checks: readonly ReadinessCheck[];
  /** Reads the source and its files again; rejects when the result cannot be put in force. */
  reload(): Promise<void>;
}

/** Files are looked at this often: rotation is complete a second after one is replaced. */
const FILE_POLL_MS = 1000;
const RETRY = { initialMs: 250, maxMs: 10_000 };

/** Creates the router. */
export function createRouter(options: RouterOptions, deps: RouterDeps): RouterComponent {
  return new SourceDrivenRouter(options, deps);
}

class SourceDrivenRouter implements RouterComponent {
  readonly checks: readonly ReadinessCheck[];
  readonly #options: RouterOptions;
  readonly #deps: RouterDeps;
  readonly #backoff: Backoff;
  readonly #tunnel: Tunnel;
  readonly #reporter: StatusReporter | undefined;
  readonly #dashboard: DashboardControl;
  readonly #maintenance: Maintenance | undefined;
  readonly #startedAt: Date;
  #config: RouterConfig | undefined;
  #ready: ReadyState = {
    isReady: false,
    reason: 'Starting',
    message: 'the tunnel server has not started yet',
  };
  /** The Ready condition as last reported; the followed copy of the object lags behind it. */
  #reported: RouterStatusCondition | undefined;
  /** The reading that was last acted on, whatever came of it. */
  #seenKey = '';
  #generation: number | undefined;
  #uid: string | undefined;
  #toldWait: string | undefined;
  #poll: Timer | undefined;
  #retry: Timer | undefined;
  #isRetryDue = false;
  #reconciling: Promise<void> | undefined;
  #isDirty = false;
  #starting: Promise<void> | undefined;
  #onServing = (): void => {};
  #stopping: Promise<void> | undefined;

  constructor(options: RouterOptions, deps: RouterDeps) {
    this.#options = options;
    this.#deps = deps;
    const { clock, random, log, createServer, source } = deps;
    this.#startedAt = clock.wallNow();
    this.#backoff = new Backoff(RETRY, random);
    const onChange = (): void => this.#notify();
    this.#tunnel = new Tunnel({
      clock,
      random,
      log,
      createServer,
      onChange,
      onProxyClosed: (proxy) => this.#dashboard.proxyClosed(proxy),
      onClientGone: (session) => this.#dashboard.clientGone(session),
    });
    const target = source.status;
    this.#reporter =
      target === undefined
        ? undefined
        : new StatusReporter({
            clock,
            random,
            log,
            snapshot: () => this.#status(target),
            write: (status, signal) => target.write(status, signal),
          });
    target?.onReconnect(() => this.#reporter?.retryNow());
    this.#dashboard = deps.createDashboard(this, onChange);
    this.#maintenance = deps.createMaintenance?.(this);
    this.checks = [
      { name: source.name, problem: () => (this.#tunnel.isServing ? undefined : this.#waitReason()) },
      { name: 'tunnel-server', problem: () => this.#serverProblem() },
    ];
    source.onChange(() => this.#kick());
  }

  get node(): string {
    return this.#options.node;
  }

  get config(): RouterConfig | undefined {
    return this.#config;
  }

  get ready(): ReadyState {
    return this.#ready;
  }

  get statusWrites(): { writes: number; failures: number } {
    return this.#reporter?.counts ?? { writes: 0, failures: 0 };
  }

  view(): ServerView {
    return this.#tunnel.view();
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    if (this.#stopping !== undefined) return;
    const serving = new Promise<void>((resolve) => {
      this.#onServing = resolve;
    });
    await this.#deps.source.start();
    await this.#maintenance?.start();
    this.#poll = this.#deps.clock.every(FILE_POLL_MS, () => this.#kick());
    this.#kick();
    await serving;
  }

  async reload(): Promise<void> {
    this.#deps.source.refresh();
    this.#seenKey = '';
    this.#kick();
    await this.#reconciling;
    if (!this.#ready.isReady) throw new EdgeError('EDGE_ERR_ROUTER_RELOAD', this.#ready.message);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#poll?.cancel();
    this.#retry?.cancel();
    this.#onServing();
    await this.#reconciling;
    this.#retry?.cancel();
    this.#setReady({ isReady: false, reason: 'Stopped', message: 'the router was stopped' });
    this.#tunnel.retire(this.#options.drainTimeoutMs);
    // The status goes out while connections drain: sidecars turn to other Routers at once.
    await Promise.all([this.#reporter?.stop(), this.#maintenance?.stop(), this.#tunnel.drained()]);
    await this.#dashboard.stop();
    await this.#deps.source.stop();
  }

  /** Looks at the source and acts; once at a time, and again when something happened meanwhile. */
  #kick(): void {
    if (this.#stopping !== undefined) return;
    this.#isDirty = true;
    this.#reconciling ??= this.#reconcileAll().finally(() => {
      this.#reconciling = undefined;
    });
  }

  async #reconcileAll(): Promise<void> {
    while (this.#isDirty && this.#stopping === undefined) {
      this.#isDirty = false;
      await this.#reconcile();
    }
  }

  async #reconcile(): Promise<void> {
    const reading = this.#deps.source.read();
    if (reading.state !== 'present') {
      this.#withoutConfig(reading.reason, reading.state === 'absent');
      return;
    }
    this.#toldWait = undefined;
    const object = this.#deps.source.status?.object();
    if (object?.uid !== this.#uid && object !== undefined) {
      this.#uid = object.uid;
      this.#reported = undefined;
      this.#reporter?.rewrite();
    }
    const isNew = reading.key !== this.#seenKey || this.#isRetryDue;
    if (!isNew && object?.generation === this.#generation) return;
    if (isNew) {
      this.#seenKey = reading.key;
      this.#isRetryDue = false;
      this.#retry?.cancel();
      await this.#apply(reading.load);
    }
    this.#generation = object?.generation;
    this.#reporter?.notify();
  }

  /** Puts a configuration in force, or says why not. Never rejects. */
  async #apply(load: () => RouterConfig): Promise<void> {
    let config: RouterConfig;
    try {
      config = load();
      await this.#tunnel.apply(config.server);
    } catch (err) {
      if (err instanceof EdgeError && CONFIG_CODES.has(err.code)) {
        this.#backoff.reset(); // only a change of the source or its files can help
        this.#refuse('InvalidConfiguration', err);
      } else {
        this.#refuse(errorCode(err) === 'EDGE_ERR_LISTEN' ? 'BindFailed' : 'ServerFailed', err);
        this.#retryLater();
      }
      return;
    }
    this.#backoff.reset();
    this.#config = config;
    this.#tunnel.setPolicy(config.policy);
    this.#dashboard.apply(config.dashboard);
    this.#deps.source.accepted();
    const where = formatHostPort(config.server.bindAddr, this.#tunnel.port ?? config.server.bindPort);
    this.#setReady({ isReady: true, reason: 'Serving', message: `serving on ${where}` });
    this.#onServing();
  }

  /** There is nothing to serve by: removed, not made yet, or not seen because the API server is away. */
  #withoutConfig(reason: string, isAbsent: boolean): void {
    if (isAbsent) {
      this.#seenKey = '';
      this.#generation = undefined;
      this.#uid = undefined;
      this.#isRetryDue = false;
      this.#retry?.cancel();
      this.#backoff.reset();
      this.#config = undefined;
      this.#dashboard.apply(undefined);
      if (this.#tunnel.isServing)
        this.#deps.log.warn('the Router object was deleted, draining', { node: this.node });
      this.#tunnel.retire(this.#options.drainTimeoutMs);
      this.#setReady({ isReady: false, reason: 'NoObject', message: reason });
    }
    if (this.#toldWait !== reason) this.#deps.log.info(reason);
    this.#toldWait = reason;
  }

  #refuse(reason: string, err: unknown): void {
    const problem = errorMessage(err);
    const message = this.#tunnel.isServing
      ? `${problem}; the last good configuration stays in force`
      : problem;
    const isTold = this.#ready.reason === reason && this.#ready.message === message;
    if (!isTold) {
      const hint = err instanceof EdgeError ? err.hint : undefined;
      this.#deps.log.error('cannot apply the configuration', { reason, error: problem, hint });
    }
    this.#setReady({ isReady: false, reason, message });
  }

  #retryLater(): void {
    this.#retry?.cancel();
    this.#retry = this.#deps.clock.after(this.#backoff.next(), () => {
      this.#isRetryDue = true;
      this.#kick();
    });
  }

  #setReady(ready: ReadyState): void {
    this.#ready = ready;
    this.#notify();
  }

  #notify(): void {
    this.#reporter?.notify();
    this.#maintenance?.notify();
  }

  #waitReason(): string | undefined {
    const reading = this.#deps.source.read();
    return reading.state === 'present' ? undefined : reading.reason;
  }

  #serverProblem(): string | undefined {
    if (this.#stopping !== undefined) return 'stopping';
    return this.#tunnel.isServing ? undefined : this.#ready.message;
  }

  #status(target: StatusTarget): RouterStatus | undefined {
    const object = target.object();
    if (object === undefined) return undefined;
    const { problem } = this.#dashboard;
    const { conditions } = object;
    const status = buildStatus({
      generation: this.#generation,
      conditions:
        this.#reported === undefined
          ? conditions
          : [this.#reported, ...conditions.filter(({ type }) => type !== CONDITION_READY)],
      ready: this.#ready,
      notes: problem === undefined ? [] : [`dashboard: ${problem}`],
      addresses: routerAddresses({
        advertised: this.#options.advertised,
        bindAddr: this.#config?.server.bindAddr ?? '0.0.0.0',
        socketPath: this.#options.socketPath,
        interfaces: this.#deps.interfaces(),
      }),
      version,
      startedAt: this.#startedAt,
      now: this.#deps.clock.wallNow(),
      view: this.#tunnel.view(),
    });
    this.#reported = status.conditions?.[0];
    return status;
  }
}
