/** Holds the one tunnel server of a router with its balancer, and adds up the traffic of servers that ended. */
import { isDeepStrictEqual } from 'node:util';
import { isLoopbackHost } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type {
  FrpServer,
  FrpServerConfig,
  FrpServerHooks,
  ProxyInfo,
  SessionInfo,
} from '../tunnel/frps/types.ts';
import { Balancer } from './balancer.ts';
import type { BalancingPolicy } from './config.ts';
import type { ServerView } from './status.ts';

/** Makes a tunnel server that does not listen yet. */
export type CreateServer = (
  config: FrpServerConfig,
  hooks: FrpServerHooks,
  deps: { clock: Clock; random: () => number; log: Logger },
) => FrpServer;

/** What the holder needs. */
export interface TunnelDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  createServer: CreateServer;
  /** Called when what the server reports may have changed; often. */
  onChange: () => void;
  /** Called with the last counts of a proxy that closed, and with a client that is gone. */
  onProxyClosed: (proxy: ProxyInfo) => void;
  onClientGone: (session: SessionInfo) => void;
}

/** What a server that has carried nothing counts. */
export const EMPTY_TOTALS = {
  bytesIn: 0,
  bytesOut: 0,
  connections: 0,
  openConnections: 0,
  refusedLogins: 0,
  queuedBytes: 0,
  droppedConnections: 0,
};

/** The tunnel server as the router drives it. */
export class Tunnel {
  readonly #deps: TunnelDeps;
  readonly #balancer: Balancer;
  readonly #draining = new Set<Promise<void>>();
  #server: FrpServer | undefined;
  #config: FrpServerConfig | undefined;
  #past = EMPTY_TOTALS;
  /** The one that drains and may be taken up again, and what was counted before it. */
  #retired: { server: FrpServer; past: typeof EMPTY_TOTALS } | undefined;

  constructor(deps: TunnelDeps) {
    this.#deps = deps;
    this.#balancer = new Balancer({
      proxies: () => this.#server?.proxies() ?? [],
      now: () => deps.clock.now(),
      random: deps.random,
    });
  }

  /** Whether a server listens. */
  get isServing(): boolean {
    return this.#server !== undefined;
  }

  /** The bound port. */
  get port(): number | undefined {
    return this.#server?.port;
  }

  /** How connections spread over providers from now on. */
  setPolicy(policy: BalancingPolicy): void {
    this.#balancer.policy = policy;
  }

  /** What the server reports now; empty while none serves. Traffic counts since the router started. */
  view(): ServerView {
    const server = this.#server;
    const totals = server?.totals() ?? EMPTY_TOTALS;
    return {
      port: server?.port,
      sessions: server?.sessions() ?? [],
      proxies: server?.proxies() ?? [],
      visitors: server?.visitors() ?? [],
      totals: {
        bytesIn: this.#past.bytesIn + totals.bytesIn,
        bytesOut: this.#past.bytesOut + totals.bytesOut,
        connections: this.#past.connections + totals.connections,
        openConnections: totals.openConnections,
        refusedLogins: this.#past.refusedLogins + totals.refusedLogins,
        queuedBytes: totals.queuedBytes,
        droppedConnections: this.#past.droppedConnections + totals.droppedConnections,
      },
    };
  }

  /** Starts or reconfigures the server. When it rejects, what served before serves on. */
  async apply(config: FrpServerConfig): Promise<void> {
    if (this.#server === undefined) {
      this.#server = (await this.#takeUp(config)) ?? (await this.#create(config));
      this.#balancer.invalidate();
      this.#deps.log.info('tunnel server listens', { addr: config.bindAddr, port: this.#server.port });
    } else if (!isDeepStrictEqual(config, this.#config)) {
      await this.#server.reconfigure(config);
      this.#deps.log.info('tunnel server reconfigured', { addr: config.bindAddr, port: this.#server.port });
    }
    if (config.token === '' && config.token !== this.#config?.token && !isLoopbackHost(config.bindAddr)) {
      this.#deps.log.warn('clients need no token; set one, or give --token-file');
    }
    this.#config = config;
  }

  /** An object that is removed and made anew, as `kubectl replace --force` does, costs no connection. */
  async #takeUp(config: FrpServerConfig): Promise<FrpServer | undefined> {
    const retired = this.#retired;
    if (retired === undefined || !(await retired.server.resume(config))) return undefined;
    this.#retired = undefined;
    this.#past = retired.past;
    return retired.server;
  }

  async #create(config: FrpServerConfig): Promise<FrpServer> {
    const { clock, random, log, createServer, onChange, onProxyClosed, onClientGone } = this.#deps;
    const hooks: FrpServerHooks = {
      pickProvider: (request) => this.#balancer.pick(request),
      onChange: () => {
        this.#balancer.invalidate();
        onChange();
      },
      onProxyClosed,
      onSessionClosed: onClientGone,
    };
    const server = createServer(config, hooks, { clock, random, log });
    try {
      await server.start();
    } catch (err) {
      await this.#end(server, 0); // it may hold one of several listeners
      throw err;
    }
    return server;
  }

  /** Stops accepting at once and drains behind the scenes; until that is done apply() takes the server up again. */
  retire(drainMs: number): void {
    const server = this.#server;
    if (server === undefined) return;
    const retired = { server, past: this.#past };
    this.#past = this.view().totals;
    this.#retired = retired;
    this.#server = undefined;
    this.#config = undefined;
    this.#balancer.invalidate();
    const drain = this.#end(server, drainMs).finally(() => {
      this.#draining.delete(drain);
      if (this.#retired === retired) this.#retired = undefined;
    });
    this.#draining.add(drain);
  }

  /** Resolves when every retired server is closed. Never rejects. */
  async drained(): Promise<void> {
    await Promise.all(this.#draining);
  }

  async #end(server: FrpServer, drainMs: number): Promise<void> {
    try {
      await server.stop(drainMs);
    } catch (err) {
      this.#deps.log.error('tunnel server did not stop cleanly', { error: errorMessage(err) });
    }
  }
}
