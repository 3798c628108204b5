/** The API server as a component: recovers the store, then listens; stops by ending watches, then saves everything. */
import { randomInt } from 'node:crypto';
import { chmod, mkdir, readFile, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { formatHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import { systemClock } from '../lib/clock.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { EdgeError, errorCode, errorMessage, UsageError } from '../lib/errors.ts';
import { listenError, listenHttp } from '../lib/http.ts';
import type { HttpListenOptions, HttpServer } from '../lib/http.ts';
import type { Component, ReadinessCheck } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { Registry } from '../lib/metrics.ts';
import type { AdapterConfig } from './adapter/adapter.ts';
import { createApp } from './app.ts';
import { AuditLog } from './audit.ts';
import { createAuthenticator } from './auth/authenticator.ts';
import type { Credentials, Transport } from './auth/authenticator.ts';
import type { Identity } from './auth/roles.ts';
import { parseTokenFile } from './auth/tokens.ts';
import { createNodeErrorResponder } from './node-errors.ts';
import { DEFAULT_LIMITS, RequestLimits } from './limits.ts';
import { IssuedCertificates } from './node/issued.ts';
import { JoinTokens } from './node/join-tokens.ts';
import { WatchRegistry } from './handlers/watch-stream.ts';
import { createApiMetrics } from './metrics.ts';
import { ensureKubeconfigs } from './pki/kubeconfig.ts';
import { ServingCertificates } from './pki/serving.ts';
import type { ServingMaterial } from './pki/serving.ts';
import { resources } from './registry/resources.ts';
import { DEFAULT_HISTORY } from './store/history.ts';
import { openStore } from './store/durable-store.ts';
import type { DurableStore } from './store/durable-store.ts';
import { systemFiles } from './store/files.ts';

/** Settings of an API server. */
export interface ApiServerConfig {
  dataDir: string;
  node: string;
  listen: readonly HostPort[];
  isInsecure: boolean;
  socket: string | undefined;
  /** Own certificates, as file names; made on first start when absent. */
  tls: { certFile: string; keyFile: string } | undefined;
  clientCaFile: string | undefined;
  tokenAuthFile: string | undefined;
  auditLog: string | undefined;
  adapter: AdapterConfig;
  journalBytes: number;
  drainTimeoutMs: number;
}

/** What an API server needs. */
export interface ApiServerDeps {
  log: Logger;
  registry: Registry;
  clock?: Clock;
  random?: () => number;
}

/** Open watches; each holds one connection. */
const MAX_WATCHES = 10_000;
/** Connections beyond these watches, for requests. */
const MAX_CONNECTIONS = MAX_WATCHES + 2000;
/** How often certificates are looked at: changed files are read again, those that expire soon are replaced. */
const RENEWAL_MS = 10_000;
/** How often the kubeconfigs are looked at; their certificates are replaced months before they expire. */
const KUBECONFIG_CHECK_MS = 60 * 60_000;
const TLS_SETTINGS = { minVersion: 'TLSv1.2', handshakeTimeout: 10_000 } as const;

/** An API server. */
export interface ApiServer extends Component {
  readonly checks: readonly ReadinessCheck[];
  /** Re-reads the token file and own certificates, and opens the audit log again. */
  reload(): Promise<void>;
  /** The TCP ports that were bound, in the order of `listen`. */
  readonly ports: readonly number[];
}

/** Creates an API server. */
export function createApiServer(config: ApiServerConfig, deps: ApiServerDeps): ApiServer {
  return new Server(config, deps);
}

class Server implements ApiServer {
  readonly #config: ApiServerConfig;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #registry: Registry;
  readonly #watches = new WatchRegistry(MAX_WATCHES);
  readonly #certificates: ServingCertificates | undefined;
  #store: DurableStore | undefined;
  #audit: AuditLog | undefined;
  #servers: HttpServer[] = [];
  #adapter: Component | undefined;
  #renewal: Timer | undefined;
  #authenticate: ReturnType<typeof createAuthenticator> | undefined;
  #tls: ServingMaterial | undefined;
  #kubeconfigsAt = 0;
  #renewalProblem: string | undefined;
  #problem: string | undefined = 'starting';
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  readonly checks: readonly ReadinessCheck[] = [{ name: 'serving', problem: () => this.#problem }];

  constructor(config: ApiServerConfig, deps: ApiServerDeps) {
    this.#config = config;
    this.#log = deps.log;
    this.#clock = deps.clock ?? systemClock;
    this.#random = deps.random ?? (() => randomInt(2 ** 32) / 2 ** 32);
    this.#registry = deps.registry;
    if (!config.isInsecure) {
      this.#certificates = new ServingCertificates(
        { ...config, hosts: config.listen.map(({ host }) => host), hostname: hostname() },
        { clock: this.#clock, log: this.#log },
      );
    }
  }

  get ports(): readonly number[] {
    return this.#servers.map((server) => server.port).filter((port) => port !== 0);
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { dataDir, auditLog, journalBytes } = this.#config;
    await makeDataDirectory(dataDir);
    await this.#loadTokens();
    const metrics = createApiMetrics(this.#registry, () => this.#store);
    this.#problem = 'recovering the store';
    this.#store = await openStore(
      { dir: join(dataDir, 'store'), journalBytes, history: DEFAULT_HISTORY },
      {
        files: systemFiles,
        clock: this.#clock,
        log: this.#log,
        onSync: (seconds) => metrics.syncSeconds.observe(seconds),
      },
    );
    if (auditLog !== undefined) this.#audit = new AuditLog(auditLog, this.#log, this.#clock);
    const app = createApp({
      store: this.#store,
      resources,
      node: this.#config.node,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      metrics,
      watches: this.#watches,
      authenticate: (credentials) => this.#identify(credentials),
      audit: this.#audit,
      limits: new RequestLimits(DEFAULT_LIMITS),
      nodeApi: {
        store: this.#store,
        tokens: new JoinTokens(join(dataDir, 'join-tokens.json'), this.#clock),
        issued: new IssuedCertificates(
          join(dataDir, 'pki', 'issued.json'),
          this.#clock,
          () => this.#certificates?.authority,
        ),
        authority: () => this.#certificates?.authority,
        sshAuthority: () => this.#certificates?.sshAuthority,
        trust: () => this.#certificates?.trust,
      },
      notServing: () => this.#problem,
    });
    const fetch = (transport: Transport) => (request: Request, env: unknown) =>
      app.fetch(request, Object.assign(env as object, { transport })); // made for this request alone
    this.#problem = 'opening listeners';
    const tls = await this.#certificates?.load();
    this.#tls = tls;
    for (const { host, port } of this.#config.listen) {
      await this.#listen(
        tls === undefined
          ? { fetch: fetch('http'), host, port }
          : {
              fetch: fetch('https'),
              host,
              port,
              tls: { ...TLS_SETTINGS, ...tls, requestCert: true, rejectUnauthorized: false },
            },
      );
      const bound = this.#servers.at(-1)?.port ?? port;
      this.#log.info('listening', {
        address: `${tls === undefined ? 'http' : 'https'}://${formatHostPort(host, bound)}`,
      });
    }
    const { socket } = this.#config;
    if (socket !== undefined) {
      await removeStaleSocket(socket);
      await this.#listen({ fetch: fetch('socket'), path: socket });
      await chmod(socket, 0o660);
      this.#log.info('listening', { socket });
    }
    await this.#startAdapter(this.#store);
    await this.#writeKubeconfigs();
    this.#kubeconfigsAt = this.#clock.now();
    this.#renewal = this.#clock.every(RENEWAL_MS, () => {
      this.#renew().catch((err: unknown) => {
        const error = errorMessage(err);
        if (error !== this.#renewalProblem)
          this.#log.error('certificates cannot be loaded, the old ones stay', { error });
        this.#renewalProblem = error;
      });
    });
    this.#problem = undefined;
  }

  async #startAdapter(store: DurableStore): Promise<void> {
    const { adapter } = this.#config;
    if (adapter.listen === undefined && adapter.frps === undefined) return;
    const { createAdapter } = await import('./adapter/adapter.ts'); // with the page, a third of this program
    const tls = this.#tls;
    this.#adapter = createAdapter(adapter, {
      store,
      dataDir: this.#config.dataDir,
      tls: tls === undefined ? undefined : { ...TLS_SETTINGS, ...tls },
      sshAuthority: () => this.#certificates?.sshAuthority,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      registry: this.#registry,
      audit: this.#audit,
      authenticate: (credentials) => this.#identify(credentials),
      notServing: () => this.#problem,
      listen: (options) => this.#listen(options),
    });
    await this.#adapter.start();
  }

  /** By the tokens of now: they may be loaded anew while it serves. */
  #identify(credentials: Credentials): Identity {
    if (this.#authenticate === undefined) throw new Error('requests before the start');
    return this.#authenticate(credentials);
  }

  async #listen(options: HttpListenOptions): Promise<HttpServer> {
    const server = await listenHttp(options);
    server.server.maxConnections = MAX_CONNECTIONS;
    server.server.on('clientError', createNodeErrorResponder());
    this.#servers.push(server);
    return server;
  }

  async #loadTokens(): Promise<void> {
    const { tokenAuthFile, isInsecure } = this.#config;
    let text: string | undefined;
    if (tokenAuthFile !== undefined) {
      try {
        text = await readFile(tokenAuthFile, 'utf8');
      } catch (err) {
        throw new UsageError(
          `--token-auth-file: cannot read ${tokenAuthFile}: ${errorMessage(err).replace(`${tokenAuthFile}: `, '')}`,
        );
      }
    }
    const tokens = text === undefined ? undefined : parseTokenFile(text, tokenAuthFile ?? '');
    this.#authenticate = createAuthenticator(tokens);
    if (isInsecure) this.#log.warn('plain HTTP: every local user is admin');
  }

  async #writeKubeconfigs(): Promise<void> {
    const [first] = this.#config.listen;
    const port = this.#servers[0]?.port;
    if (first === undefined || port === undefined) return;
    const host = first.host === '0.0.0.0' || first.host === '::' ? '127.0.0.1' : first.host;
    const scheme = this.#certificates === undefined ? 'http' : 'https';
    await ensureKubeconfigs(
      {
        dataDir: this.#config.dataDir,
        node: this.#config.node,
        server: `${scheme}://${formatHostPort(host, port)}`,
        authority: this.#certificates?.authority,
        trust: this.#certificates?.trust,
      },
      { clock: this.#clock, log: this.#log },
    );
  }

  /** Loads certificates anew when one of their files has changed, or one of ours must be replaced. */
  async #renew(): Promise<void> {
    const loaded = this.#tls;
    const tls = await this.#certificates?.load();
    this.#renewalProblem = undefined;
    const now = this.#clock.now();
    if (now - this.#kubeconfigsAt >= KUBECONFIG_CHECK_MS) {
      this.#kubeconfigsAt = now;
      await this.#writeKubeconfigs();
    }
    if (tls === undefined || isDeepStrictEqual(tls, loaded)) return;
    createSecureContext(tls); // throws for a certificate and a key that do not fit, before anything is replaced
    this.#tls = tls;
    for (const { server } of this.#servers) {
      if ('setSecureContext' in server && typeof server.setSecureContext === 'function') {
        server.setSecureContext({ ...TLS_SETTINGS, ...tls });
      }
    }
    await this.#writeKubeconfigs();
    if (loaded !== undefined) this.#log.info('certificates loaded');
  }

  async reload(): Promise<void> {
    this.#audit?.reopen(); // first: a mistake in another file must not keep log rotation from working
    await this.#loadTokens();
    await this.#renew();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => {}); // its error is the caller's of start()
    this.#problem = 'the server is stopping';
    this.#renewal?.cancel();
    await this.#adapter?.stop();
    const closing = this.#servers.map((server) => server.close(this.#config.drainTimeoutMs));
    this.#watches.endAll();
    await Promise.all(closing);
    await this.#store?.close();
    await this.#audit?.close();
  }
}

async function makeDataDirectory(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (err) {
    throw new EdgeError('EDGE_ERR_APISERVER_DATA_DIR', `data directory ${errorMessage(err)}`, {
      cause: err,
      hint: 'choose another one with --data-dir',
    });
  }
}

/** Removes a socket file that no process listens on; another kind of file is left to fail the listen. */
async function removeStaleSocket(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve('EADDRINUSE');
    });
    socket.once('error', (err) => resolve(errorCode(err)));
  });
  if (code === 'ECONNREFUSED') await unlink(path);
  else if (code === 'EADDRINUSE') throw listenError(path, Object.assign(new Error('in use'), { code }));
}
