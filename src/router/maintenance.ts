/**
 * Keeps the NodeMaintenance objects of the nodes whose sshd is registered here. Level-triggered: it compares what is
 * registered with what the objects say, so after an outage or a restart nothing stays online that is not.
 */
import { NODE_MAINTENANCES } from '../api/edge.ts';
import type { NodeMaintenance } from '../api/gen/types.ts';
import type { ApiClient } from '../apiclient/client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../apiclient/errors.ts';
import { Backoff } from '../lib/backoff.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Component } from '../lib/lifecycle.ts';
import { within } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { ProxyInfo } from '../tunnel/frps/types.ts';
import { isOwn, planOffline, planOnline, registrations } from './maintenance-object.ts';
import type { Endpoint, Plan, RegisteredNode } from './maintenance-object.ts';

/** A followed copy of all NodeMaintenance objects; an Informer is one. */
export interface MaintenanceObjects extends Component {
  readonly hasSynced: boolean;
  get(name: string): NodeMaintenance | undefined;
  list(): NodeMaintenance[];
  onChange(listener: () => void): void;
}

/** What it needs. */
export interface MaintenanceDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  objects: MaintenanceObjects;
  client: Pick<ApiClient, 'get' | 'create' | 'update' | 'updateStatus'>;
  /** The proxies registered now. */
  proxies: () => readonly ProxyInfo[];
  /** Where operators reach them; undefined while nothing is served. `router` names this one even then. */
  endpoint: () => { router: string; address: string; port: number | undefined };
}

/** The reporter of maintainable nodes. */
export interface Maintenance extends Component {
  /** Notes that something may have changed. Cheap; call it as often as it is true. */
  notify(): void;
}

/** Changes within this time are looked at together, milliseconds. */
const COALESCE_MS = 50;
/** How long a stopping Router tries to say that its nodes are offline. */
const LAST_WRITES_MS = 1000;
const WRITE_TIMEOUT_MS = 10_000;
const RETRY = { initialMs: 200, maxMs: 10_000 };

/** Creates a reporter that does nothing before start(). */
export function createMaintenance(deps: MaintenanceDeps): Maintenance {
  const { clock, log, objects, client } = deps;
  const backoff = new Backoff(RETRY, deps.random);
  const abort = new AbortController();
  let timer: Timer | undefined;
  let retryAt = 0;
  let running: Promise<void> | undefined;
  let isStarted = false;
  let isStopped = false;
  let isFailing = false;

  const schedule = (): void => {
    if (!isStarted || isStopped || timer !== undefined || running !== undefined) return;
    timer = clock.after(Math.max(COALESCE_MS, retryAt - clock.now()), () => {
      timer = undefined;
      isDirty = false;
      running = reconcile().finally(() => {
        running = undefined;
        if (isDirty) schedule();
      });
    });
  };
  let isDirty = false;
  const notify = (): void => {
    isDirty = true;
    schedule();
  };

  const plan = (object: NodeMaintenance | undefined, registration: RegisteredNode | undefined): Plan => {
    const { router, address, port } = deps.endpoint();
    const now = clock.wallNow();
    const isServed = registration !== undefined && port !== undefined;
    if (isServed && !registration.isLost) {
      const endpoint: Endpoint = { router, address, port };
      return planOnline(object, registration, endpoint, now);
    }
    return object === undefined ? {} : planOffline(object, router, now, isServed);
  };

  const fetchNow = async (name: string, signal: AbortSignal): Promise<NodeMaintenance | undefined> => {
    try {
      return await client.get<NodeMaintenance>(NODE_MAINTENANCES, name, { signal });
    } catch (err) {
      if (isNotFound(err)) return undefined;
      throw err;
    }
  };

  /** Decides on the newest state: the followed copy may lag behind our own last write. */
  const write = async (name: string, registration: RegisteredNode | undefined): Promise<void> => {
    const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(WRITE_TIMEOUT_MS)]);
    const current = await fetchNow(name, signal);
    const { main, status } = plan(current, registration);
    let latest = current;
    if (main !== undefined) {
      latest =
        current === undefined
          ? await client.create(NODE_MAINTENANCES, main, { signal })
          : await client.update(NODE_MAINTENANCES, main, { signal });
    }
    if (status === undefined || latest === undefined) return;
    await client.updateStatus(NODE_MAINTENANCES, { ...latest, status }, { signal });
    const state = status.services?.[0]?.status;
    log.info('maintenance of a node', { node: latest.spec.nodeName, object: name, state });
  };

  /** Never rejects: what failed is tried again after a while, with the state of then. */
  const reconcile = async (): Promise<void> => {
    if (!objects.hasSynced) return; // its first list notifies
    const { router } = deps.endpoint();
    const online = registrations(deps.proxies());
    const own = objects.list().filter((object) => isOwn(object, router));
    const names = new Set([...online.keys(), ...own.flatMap(({ metadata }) => metadata.name ?? [])]);
    let problem: unknown;
    for (const name of names) {
      const registration = online.get(name);
      const { main, status } = plan(objects.get(name), registration);
      if (main === undefined && status === undefined) continue;
      try {
        await write(name, registration);
      } catch (err) {
        if (isConflict(err) || isAlreadyExists(err) || isNotFound(err))
          isDirty = true; // somebody was faster
        else problem = err;
      }
    }
    if (problem === undefined) {
      isFailing = false;
      backoff.reset();
      retryAt = 0;
      return;
    }
    const fields = { error: errorMessage(problem) };
    if (isFailing) log.debug('cannot write a NodeMaintenance', fields);
    else log.warn('cannot write a NodeMaintenance, retrying', fields);
    isFailing = true;
    isDirty = true;
    retryAt = clock.now() + backoff.next();
  };

  objects.onChange(notify);
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    isStopped = true;
    timer?.cancel();
    if (isStarted) {
      const last = async (): Promise<void> => {
        await running;
        await reconcile();
      };
      await within(last(), LAST_WRITES_MS);
    }
    abort.abort();
    await objects.stop();
  };
  return {
    notify,
    async start() {
      if (isStarted || isStopped) return;
      isStarted = true;
      await objects.start();
      notify();
    },
    stop: () => (stopping ??= stop()),
  };
}
