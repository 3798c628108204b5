/** The DNS server that a sidecar embeds: listeners in front of the zone, the cache and the upstreams. */
import { once } from 'node:events';
import { isIP } from 'node:net';
import { formatHostPort } from '../lib/address.ts';
import { sleep } from '../lib/clock.ts';
import { EdgeError, errorCode, errorMessage } from '../lib/errors.ts';
import { within } from '../lib/lifecycle.ts';
import { AnswerCache } from './answer-cache.ts';
import { FailureMemory } from './failure-memory.ts';
import { createChain } from './chain.ts';
import { DEFAULT_DNS_LIMITS } from './config.ts';
import { Counters } from './counters.ts';
import { createCacheHandler } from './handlers/cache.ts';
import { createForwardHandler } from './handlers/forward.ts';
import { createReservedHandler } from './handlers/reserved.ts';
import { createZoneHandler } from './handlers/zone.ts';
import { PacketMemory } from './packet-memory.ts';
import { withoutOwn } from './resolv-conf.ts';
import { createResponder } from './responder.ts';
import { listenTcp } from './tcp.ts';
import { listenUdp } from './udp.ts';
import { UpstreamPool } from './upstream.ts';
import type { Server } from 'node:net';
import type { HostPort } from '../lib/address.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { DnsLimits, DnsServerConfig } from './config.ts';
import type { QueryCount } from './counters.ts';
import type { Responder } from './responder.ts';
import type { TcpConnection } from './tcp.ts';
import type { UdpListener } from './udp.ts';
import type { UpstreamStatus } from './upstream.ts';

export type { DnsLimits, DnsServerConfig } from './config.ts';

/** What a server needs. */
export interface DnsServerDeps {
  clock: Clock;
  /** 0 to 1, unpredictable: ids of upstream queries are drawn from it. */
  random: () => number;
  log: Logger;
}

/** Counters since the start, and how things stand. */
export interface DnsStats {
  queries: QueryCount[];
  dropped: number;
  pending: number;
  overflows: number;
  loops: number;
  mismatches: number;
  internalErrors: number;
  upstreamQueries: number;
  upstreamFailures: number;
  upstreams: UpstreamStatus[];
  cacheHits: number;
  cacheMisses: number;
  cacheEntries: number;
  cacheBytes: number;
  staleAnswers: number;
  tcpConnections: number;
  tcpConnectionsRefused: number;
  zoneEntries: number;
}

/** A running DNS server. start() rejects with EDGE_ERR_DNS_LISTEN, or EDGE_ERR_DNS_ADDRESS for a host name. */
export interface DnsServer extends Component {
  /** Where it listens, in the order of `listen`, with the real ports; empty while it does not run. */
  readonly addresses: HostPort[];
  /** Uses other upstreams from now on and forgets what the former ones answered. EDGE_ERR_DNS_ADDRESS for a host name. */
  reconfigure(change: { upstreams: readonly HostPort[] }): void;
  /** For metrics and status pages. */
  stats(): DnsStats;
}

interface Listener {
  address: HostPort;
  udp: UdpListener;
  tcp: Server;
  /** Resolves once the TCP side and its connections are gone. */
  tcpClosed: Promise<unknown>;
}

/** How often a stopping server looks whether all answers are out, milliseconds. */
const DRAIN_POLL_MS = 5;
/** How often a free UDP port is looked for whose TCP twin is free too. */
const FREE_PORT_TRIES = 20;

/** Creates a server; start() opens its listeners. */
export function createDnsServer(config: DnsServerConfig, deps: DnsServerDeps): DnsServer {
  return new EmbeddedDnsServer(config, deps);
}

class EmbeddedDnsServer implements DnsServer {
  readonly #config: DnsServerConfig;
  readonly #deps: DnsServerDeps;
  readonly #limits: DnsLimits;
  readonly #counters = new Counters();
  readonly #cache: AnswerCache;
  readonly #failures: FailureMemory;
  readonly #memory: PacketMemory;
  readonly #connections = new Set<TcpConnection>();
  #upstreams: readonly HostPort[];
  #pool: UpstreamPool;
  #responder: Responder;
  #listeners: Listener[] = [];
  #idleSweep: Timer | undefined;
  #hasWarnedOfRemote = false;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(config: DnsServerConfig, deps: DnsServerDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#limits = { ...DEFAULT_DNS_LIMITS, ...config.limits };
    this.#cache = new AnswerCache(this.#limits.maxCacheEntries, this.#limits.maxCacheBytes);
    this.#failures = new FailureMemory(this.#limits);
    const { maxRemembered, maxRememberedBytes } = this.#limits;
    this.#memory = new PacketMemory({ maxEntries: maxRemembered, maxBytes: maxRememberedBytes });
    this.#upstreams = config.upstreams;
    this.#pool = this.#createPool();
    this.#responder = this.#createResponder();
  }

  get addresses(): HostPort[] {
    return this.#listeners.map(({ address }) => address);
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  stop(): Promise<void> {
    if (this.#starting === undefined) return Promise.resolve();
    this.#stopping ??= this.#stop(this.#starting).finally(() => {
      this.#starting = undefined;
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  reconfigure({ upstreams }: { upstreams: readonly HostPort[] }): void {
    for (const address of upstreams) requireAddress(address, 'upstream');
    this.#upstreams = upstreams;
    this.#pool.replace(withoutOwn(upstreams, this.#ownAddresses()));
    this.#cache.clear();
    this.#failures.clear();
    this.#memory.clear();
  }

  stats(): DnsStats {
    const counters = this.#counters;
    return {
      queries: counters.queries(),
      dropped: counters.dropped,
      pending: this.#responder.pending,
      overflows: counters.overflows,
      loops: counters.loops,
      mismatches: counters.mismatches,
      internalErrors: counters.internalErrors,
      upstreamQueries: counters.upstreamQueries,
      upstreamFailures: counters.upstreamFailures,
      upstreams: this.#pool.status(),
      cacheHits: counters.cacheHits,
      cacheMisses: counters.cacheMisses,
      cacheEntries: this.#cache.size,
      cacheBytes: this.#cache.bytes,
      staleAnswers: counters.staleAnswers,
      tcpConnections: this.#connections.size,
      tcpConnectionsRefused: counters.connectionsRefused,
      zoneEntries: this.#config.zone.size,
    };
  }

  async #start(): Promise<void> {
    try {
      for (const address of this.#config.listen) requireAddress(address, 'listen');
      for (const address of this.#upstreams) requireAddress(address, 'upstream');
      for (const address of this.#config.listen) this.#listeners.push(await this.#listen(address));
    } catch (err) {
      await this.#closeListeners();
      this.#starting = undefined;
      throw err;
    }
    this.#pool.replace(withoutOwn(this.#upstreams, this.#ownAddresses()));
    this.#idleSweep = this.#deps.clock.every(this.#limits.idleTimeoutMs / 4, () => {
      const now = this.#deps.clock.now();
      for (const connection of this.#connections) connection.closeIfIdle(now);
    });
    this.#deps.log.info('dns server listens', {
      addresses: this.addresses.map(({ host, port }) => formatHostPort(host, port)).join(','),
      upstreams: this.#pool.size,
    });
  }

  // New connections end first, then answers under way get their time, then everything else goes.
  async #stop(starting: Promise<void>): Promise<void> {
    await starting.catch(() => {}); // start() reported it
    for (const { tcp } of this.#listeners) tcp.close();
    await within(this.#drained(), this.#limits.drainTimeoutMs);
    this.#idleSweep?.cancel();
    this.#pool.close();
    await within(this.#drained(), this.#limits.drainTimeoutMs); // what the pool gave up is answered SERVFAIL
    for (const connection of this.#connections) connection.destroy();
    await this.#closeListeners();
    this.#cache.clear();
    this.#failures.clear();
    this.#memory.clear();
    this.#pool = this.#createPool();
    this.#responder = this.#createResponder();
  }

  async #drained(): Promise<void> {
    const { clock } = this.#deps;
    const deadline = clock.now() + this.#limits.drainTimeoutMs;
    while (this.#responder.pending > 0 && clock.now() < deadline) await sleep(clock, DRAIN_POLL_MS);
  }

  async #closeListeners(): Promise<void> {
    const listeners = this.#listeners;
    this.#listeners = [];
    await Promise.all(listeners.map((listener) => closeListener(listener)));
  }

  async #listen(wanted: HostPort): Promise<Listener> {
    const options = {
      responder: this.#responder,
      counters: this.#counters,
      log: this.#deps.log,
      allowRemoteClients: this.#config.allowRemoteClients ?? false,
      onRemote: (client: string) => this.#warnOfRemote(client),
      clock: this.#deps.clock,
      limits: this.#limits,
      connections: this.#connections,
    };
    for (let attempt = 1; ; attempt += 1) {
      let udp: UdpListener | undefined;
      try {
        udp = await listenUdp(wanted, options);
        const address = { host: wanted.host, port: udp.port };
        const tcp = await listenTcp(address, options);
        return { address, udp, tcp, tcpClosed: once(tcp, 'close') };
      } catch (err) {
        await udp?.close();
        const mayRetry = wanted.port === 0 && errorCode(err) === 'EADDRINUSE' && attempt < FREE_PORT_TRIES;
        if (!mayRetry) throw listenError(wanted, err);
      }
    }
  }

  // Once: whoever floods us must not flood the log too.
  #warnOfRemote(client: string): void {
    if (this.#hasWarnedOfRemote) return;
    this.#hasWarnedOfRemote = true;
    this.#deps.log.warn('dns client on another machine is not answered; further ones are only counted', {
      client,
      hint: 'allow them with SIDECAR_DNS_ALLOW_REMOTE if they are meant to ask here',
    });
  }

  // Before start() nothing is known but the configured ports.
  #ownAddresses(): readonly HostPort[] {
    return this.#listeners.length > 0 ? this.addresses : this.#config.listen;
  }

  #createPool(): UpstreamPool {
    const pool = new UpstreamPool({
      ...this.#deps,
      limits: this.#limits,
      counters: this.#counters,
      onBack: () => this.#failures.relent(),
    });
    pool.replace(withoutOwn(this.#upstreams, this.#ownAddresses()));
    return pool;
  }

  #createResponder(): Responder {
    const { zone } = this.#config;
    const { clock, log } = this.#deps;
    const counters = this.#counters;
    const limits = this.#limits;
    const chain = createChain([
      createZoneHandler(zone),
      createReservedHandler(),
      createCacheHandler({ cache: this.#cache, failures: this.#failures, counters, clock, limits }),
      createForwardHandler({ pool: this.#pool, counters, maxOutstanding: limits.maxOutstanding }),
      (query) => zone.outside(query),
    ]);
    return createResponder({
      chain,
      counters,
      log,
      memory: this.#memory,
      maxPending: limits.maxPending,
      now: () => clock.now(),
      version: () => zone.version,
    });
  }
}

function requireAddress({ host, port }: HostPort, what: string): void {
  if (isIP(host) !== 0) return;
  throw new EdgeError('EDGE_ERR_DNS_ADDRESS', `dns ${what} ${host}:${port}: "${host}" is not an IP address`);
}

function listenError(address: HostPort, err: unknown): EdgeError {
  const hint =
    errorCode(err) === 'EACCES'
      ? 'ports below 1024 need CAP_NET_BIND_SERVICE or the sysctl net.ipv4.ip_unprivileged_port_start=0'
      : undefined;
  const text = `listen for dns on ${formatHostPort(address.host, address.port)}: ${errorMessage(err)}`;
  return new EdgeError('EDGE_ERR_DNS_LISTEN', text, { cause: err, ...(hint === undefined ? {} : { hint }) });
}

async function closeListener({ udp, tcp, tcpClosed }: Listener): Promise<void> {
  if (tcp.listening) tcp.close();
  await Promise.all([udp.close(), tcpClosed]);
}
