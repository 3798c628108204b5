/** The API server as a component: recovers the store, then listens; stops by ending watches, then saves everything. */
import { randomInt } from 'node:crypto';
import { chmod, mkdir, readFile, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
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
import { createApp } from './app.ts';
import { AuditLog } from './audit.ts';
import { createAuthenticator } from './auth/authenticator.ts';
import type { Transport } from './auth/authenticator.ts';
import { parseTokenFile } from './auth/tokens.ts';
import { createNodeErrorResponder } from './node-errors.ts';
import { WatchRegistry } from './handlers/watch-stream.ts';
import { createApiMetrics } from './metrics.ts';
import { ensureKubeconfigs } from './pki/kubeconfig.ts';
import { ServingCertificates } from './pki/serving.ts';
import { resources } from './registry/resources.ts';
import { DEFAULT_HISTORY } from './store/compactor.ts';
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
const RENEWAL_MS = 24 * 60 * 60_000;

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
  #renewal: Timer | undefined;
  #authenticate: ReturnType<typeof createAuthenticator> | undefined;
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
    if (auditLog !== undefined) this.#audit = new AuditLog(auditLog, this.#log);
    const app = createApp({
      store: this.#store,
      resources,
      node: this.#config.node,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      metrics,
      watches: this.#watches,
      authenticate: (credentials) => {
        if (this.#authenticate === undefined) throw new Error('requests before the start');
        return this.#authenticate(credentials);
      },
      audit: this.#audit,
      notServing: () => this.#problem,
    });
    const fetch = (transport: Transport) => (request: Request, env: unknown) =>
      app.fetch(request, { ...(env as object), transport });
    this.#problem = 'opening listeners';
    const tls = await this.#certificates?.load();
    for (const { host, port } of this.#config.listen) {
      await this.#listen(
        tls === undefined
          ? { fetch: fetch('http'), host, port }
          : {
              fetch: fetch('https'),
              host,
              port,
              tls: { ...tls, requestCert: true, rejectUnauthorized: false },
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
    await this.#writeKubeconfigs();
    this.#renewal = this.#clock.every(RENEWAL_MS, () => {
      this.#renew().catch((err: unknown) =>
        this.#log.error('renew certificates', { error: errorMessage(err) }),
      );
    });
    this.#problem = undefined;
  }

  async #listen(options: HttpListenOptions): Promise<void> {
    // a watch is one request that lasts for up to an hour
    const server = await listenHttp({ ...options, http: { requestTimeout: 0 } });
    server.server.on('clientError', createNodeErrorResponder());
    this.#servers.push(server);
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

  async #renew(): Promise<void> {
    const tls = await this.#certificates?.load();
    if (tls === undefined) return;
    for (const { server } of this.#servers) {
      if ('setSecureContext' in server && typeof server.setSecureContext === 'function') {
        server.setSecureContext({ ...tls });
      }
    }
    await this.#writeKubeconfigs();
  }

  async reload(): Promise<void> {
    await this.#loadTokens();
    await this.#renew();
    this.#audit?.reopen();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => {}); // its error is the caller's of start()
    this.#problem = 'the server is stopping';
    this.#renewal?.cancel();
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
