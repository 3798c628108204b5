/** The sidecar: follows Routers and configuration, and keeps clients, exports, listeners and names converged on them. */
import type { Router } from '../api/gen/types.ts';
import { createAdminApp } from '../lib/admin.ts';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { sleep } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import { createFileWatch } from '../lib/file-watch.ts';
import { listenHttp } from '../lib/http.ts';
import type { HttpServer } from '../lib/http.ts';
import type { Component, ReadinessCheck } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { Registry } from '../lib/metrics.ts';
import type { FrpClient, FrpClientConfig } from '../tunnel/frpc/types.ts';
import { AddressBook } from './addresses.ts';
import { createStateCache } from './cache.ts';
import type { ChildCommand } from './child.ts';
import { createConnector } from './connector.ts';
import { clientTargets, exportSettings, mappingDefinitions, routerChoices, zoneEntries } from './desired.ts';
import { defineExports } from './export-definition.ts';
import { createExports } from './exports.ts';
import { createMappings } from './mappings.ts';
import { registerMetrics } from './metrics.ts';
import type { NameService } from './names.ts';
import { restartNeeds } from './options.ts';
import type { SidecarConfig } from './options.ts';
import { createPortMemory } from './port-memory.ts';
import { createRouterClients } from './router-clients.ts';
import { hasReadyProvider, knownPorts, selectRouters } from './routers.ts';
import type { RouterView } from './routers.ts';
import { createSealing } from './sealing.ts';
import { serviceKey } from './services.ts';
import type { Protocol } from './services.ts';
import { reportRouter, reportServices } from './status.ts';
import type { SidecarStatus } from './status.ts';
import { createTracer } from './trace.ts';

/** Where Routers come from: an informer. */
export interface RouterSource extends Component {
  readonly hasSynced: boolean;
  readonly isConnected: boolean;
  list(): Router[];
  onChange(listener: () => void): void;
}

/** What a sidecar needs. */
export interface SidecarDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  registry: Registry;
  drainTimeoutMs: number;
  routers: RouterSource;
  /** Reads the configuration as it is now; throws when it is wrong. */
  readConfig(): SidecarConfig;
  createClient(config: FrpClientConfig, log: Logger): FrpClient;
  /** Undefined when DNS is off. */
  names: NameService | undefined;
  /** A command to run once ready. */
  child?: ChildCommand | undefined;
}

/** A sidecar. */
export interface Sidecar extends Component {
  readonly checks: readonly ReadinessCheck[];
  /** Reads the configuration again; rejects, with the old one in force, when it is wrong. */
  reload(): Promise<void>;
  /** Is not ready from now on and unregisters its exports; names and connections go on. For a child that is ending. */
  announceEnd(): void;
  status(): SidecarStatus;
  /** The bound port of the admin surface. */
  readonly adminPort: number | undefined;
}

/** Time that a scrape or status request under way gets at the end, milliseconds. */
const ADMIN_GRACE_MS = 500;

/** A reconcile with thousands of services takes milliseconds: it is followed by this many times as much rest. */
const REST_RATIO = 4;
/** The longest rest, milliseconds: a process that was stopped meanwhile seems to have worked all that time. */
const MAX_REST_MS = 1000;

/** Creates a sidecar; throws UsageError when the configuration is wrong, before anything is opened. */
export function createSidecar(deps: SidecarDeps): Sidecar {
  const { clock, log, routers } = deps;
  let config = deps.readConfig();
  const first = config; // what needs a restart to change is read from here
  const book = new AddressBook(first.range);
  new AddressBook(first.range).assign(config.mapped.map(serviceKey)); // too many services: say so before anything is opened
  let addresses: ReadonlyMap<string, string> = new Map();
  const ports = createPortMemory(clock);
  const sealing = createSealing();
  const cache = createStateCache(first.cacheDir, { clock, log });
  let cached: readonly Router[] | undefined;
  let views: readonly RouterView[] = [];
  let phase: SidecarStatus['phase'] = 'starting';
  let isScheduled = false;
  let isEnding = false;
  let restUntil = -Infinity;
  let isDnsUp = deps.names === undefined;
  let admin: HttpServer | undefined;
  const readyWaiters = new Set<() => void>();
  let onIdle = (): void => {};

  const connector = createConnector({ clock, random: deps.random, maxParked: first.maxParked });
  const clients = createRouterClients({
    clock,
    random: deps.random,
    log,
    createClient: (client, clientLog) => deps.createClient(client, clientLog),
    isBusy: (name) => mappings.isBusy(name) || exports.isBusy(name),
    onChange: () => schedule(),
  });
  const exports = createExports({
    clock,
    log,
    identity: { pod: first.pod, node: first.node },
    isMappedAt: (key, address) => addresses.get(key) === address,
    onIdle: () => onIdle(),
    onChange: () => schedule(),
  });
  const mappings = createMappings({
    clock,
    random: deps.random,
    log,
    connector,
    ejection: () => config.ejection,
    choices: (request) =>
      routerChoices({ ...request, isBlind: !routers.isConnected }, views, (name) => clients.get(name)),
    onChange: () => schedule(),
    onIdle: () => onIdle(),
  });

  const tracer = createTracer({
    clock,
    definition: (key) => mappings.definition(key),
    ports: (key) => mappings.ports(key),
    views: () => views,
    clientOf: (name) => clients.get(name),
    isBlind: () => !routers.isConnected,
  });

  const checks: ReadinessCheck[] = [
    { name: 'draining', problem: () => (isEnding ? 'the sidecar is stopping' : undefined) },
    { name: 'dns', problem: () => (isDnsUp ? undefined : 'the responder does not listen yet') },
    {
      name: 'routers',
      problem: () =>
        routers.hasSynced || cached !== undefined || config.mapped.length + config.exported.length === 0
          ? undefined
          : 'no Router was seen yet: the API server does not answer and there is no cache',
    },
    {
      name: 'listeners',
      // Once it is ready a service that is added does not take the pod out of service.
      problem: () => (phase === 'starting' && mappings.isStarting ? 'listeners are coming up' : undefined),
    },
  ];
  const problems = (): string[] => checks.flatMap((check) => check.problem() ?? []);

  const reconcile = (): void => {
    const keys = config.mapped.map(serviceKey);
    const known = routers.hasSynced ? routers.list() : (cached ?? []);
    views = selectRouters(known, { node: first.node, only: config.routers });
    clients.reconcile(clientTargets(config, views));
    if (!isEnding) {
      const definitions = defineExports(config.exported, first.pod, (key) => exportSettings(config, key));
      exports.reconcile(sealing.exported(definitions, config), clients.list());
    }
    ports.retain(new Set(keys.flatMap((key) => [portKey(key, 'TCP'), portKey(key, 'UDP')])));
    mappings.reconcile(
      sealing.mapped(
        mappingDefinitions(config, addresses, (key, protocol) =>
          ports.update(portKey(key, protocol), knownPorts(views, key, protocol)),
        ),
        config,
      ),
    );
    deps.names?.replace(
      zoneEntries(
        config,
        addresses,
        (key) => mappings.ports(key),
        (key) => hasReadyProvider(views, key),
      ),
    );
    connector.wake();
    // Who has seen no Router yet has nothing to remember: after the next start it would pass for all that is known.
    if (routers.hasSynced || cached !== undefined)
      cache.save(() => ({
        addresses: book.snapshot(),
        ports: ports.snapshot(),
        routers: routers.hasSynced ? routers.list() : (cached ?? []),
      }));
    if (problems().length === 0) {
      phase = 'ready';
      for (const wake of readyWaiters) wake();
      readyWaiters.clear();
    }
  };

  const runScheduled = (): void => {
    if (!isScheduled) return; // done already for who asked for the status
    isScheduled = false;
    if (phase === 'draining') return;
    const startedAt = clock.now();
    try {
      reconcile();
    } catch (err) {
      log.error('cannot apply the current state', { error: errorMessage(err) });
    }
    const endedAt = clock.now();
    restUntil = endedAt + Math.min(REST_RATIO * (endedAt - startedAt), MAX_REST_MS);
  };

  /** Many changes of one moment cost one reconcile, and changes that never end a fifth of the time at most. */
  const schedule = (): void => {
    if (isScheduled || phase === 'draining') return;
    isScheduled = true;
    const delayMs = restUntil - clock.now();
    if (delayMs < 1) setImmediate(runScheduled);
    else clock.after(delayMs, runScheduled);
  };

  const reload = async (): Promise<void> => {
    // Which files there are is known by reading them; what counts is read after they are watched, so that no change is missed.
    await files.watch(deps.readConfig().files);
    if (phase === 'draining') throw new EdgeError('EDGE_ERR_SIDECAR_STOPPED', 'the sidecar is stopping');
    const next = deps.readConfig();
    addresses = book.assign(next.mapped.map(serviceKey));
    const fixed = restartNeeds(first, next);
    if (fixed.length > 0) log.warn('these settings need a restart to change', { settings: fixed.join(', ') });
    config = next;
    deps.names?.setUpstreams(next.dnsUpstreams);
    schedule();
  };
  const keepOld = (err: unknown): void => {
    if (phase !== 'draining')
      log.error('configuration changed but is wrong, keeping the old one', { error: errorMessage(err) });
  };
  const files = createFileWatch(clock, () => {
    reload().then(() => log.info('configuration changed, applied'), keepOld);
  });

  /** What it tells is in force: the name of a service that listens answers. */
  const status = (): SidecarStatus => {
    runScheduled();
    return currentStatus();
  };
  const currentStatus = (): SidecarStatus => ({
    phase,
    problems: problems(),
    node: first.node,
    pod: first.pod,
    namespace: first.namespace,
    apiserver: {
      synced: routers.hasSynced,
      connected: routers.isConnected,
      fromCache: !routers.hasSynced && cached !== undefined,
    },
    dns: deps.names === undefined ? null : { address: deps.names.address },
    services: reportServices(config, mappings.status(), views),
    exports: exports.status(),
    routers: views.map((view) => reportRouter(view, clients.get(view.name))),
    parked: { ...connector.counters },
  });

  const startAdmin = async (): Promise<void> => {
    if (first.admin === undefined) return;
    const app = createAdminApp({ registry: deps.registry, checks });
    app.get('/status', (c) => c.json(status()));
    app.get('/trace/:service', async (c) => {
      const port = Number(c.req.query('port') ?? 0);
      const { status: code, body } = await tracer.trace(c.req.param('service'), port);
      return c.json(body, code);
    });
    admin = await listenHttp({ fetch: (request, env) => app.fetch(request, env), ...first.admin });
    log.info('admin surface listens', { address: formatHostPort(first.admin.host, admin.port) });
  };

  const restore = async (): Promise<void> => {
    const state = await cache.load();
    if (state !== undefined) {
      book.restore(state.addresses);
      ports.restore(state.ports);
      cached = state.routers;
    }
    addresses = book.assign(config.mapped.map(serviceKey));
  };

  const whenReady = (): Promise<void> =>
    new Promise((resolve) => {
      if (phase === 'starting') readyWaiters.add(resolve);
      else resolve();
    });

  let starting: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;

  const start = async (): Promise<void> => {
    registerMetrics(deps.registry, {
      mappings: () => mappings.status(),
      routers: () => clients.list().map(({ name, client }) => ({ name, phase: client.phase })),
      exports: () => exports,
      connector: () => connector.counters,
    });
    await restore();
    await startAdmin();
    await deps.names?.start();
    isDnsUp = true;
    if (phase === 'draining') return; // stopped meanwhile; stop() takes down what came up
    routers.onChange(schedule);
    await files.watch(config.files);
    await reload().catch((err: unknown) => keepOld(err)); // the files may have changed since they were read first
    await routers.start();
    schedule();
    const slow = clock.after(10_000, () => log.warn('still not ready', { problems: problems().join('; ') }));
    await whenReady();
    slow.cancel();
    if (phase === 'ready') deps.child?.start();
  };

  const drain = async (): Promise<void> => {
    const open = (): number => mappings.connections + exports.connections;
    if (open() === 0) return;
    log.info('draining', { connections: open() });
    const drained = new AbortController();
    onIdle = () => {
      if (open() === 0) drained.abort();
    };
    await sleep(clock, deps.drainTimeoutMs, drained.signal);
    if (open() > 0) log.warn('closing connections that did not end in time', { connections: open() });
  };

  const announceEnd = (): void => {
    isEnding = true;
    exports.withdraw();
  };

  const stop = async (): Promise<void> => {
    phase = 'draining';
    isEnding = true;
    for (const wake of readyWaiters) wake();
    readyWaiters.clear();
    await starting?.catch(() => {}); // start() has told its caller
    files.stop();
    mappings.stopAccepting();
    exports.withdraw();
    await drain();
    mappings.destroy();
    exports.destroy();
    deps.child?.kill();
    await Promise.all([clients.stop(), routers.stop(), deps.names?.stop()]);
    await cache.flush();
    await admin?.close(ADMIN_GRACE_MS);
  };

  return {
    checks,
    start: () => (starting ??= start()),
    stop: () => (stopping ??= stop()),
    reload,
    announceEnd,
    status,
    get adminPort() {
      return admin?.port;
    },
  };
}

/** What the ports of a service are remembered under. */
function portKey(key: string, protocol: Protocol): string {
  return protocol === 'UDP' ? `${key}/udp` : key;
}
