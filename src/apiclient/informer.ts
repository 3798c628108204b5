/**
 * A local copy of a resource that follows the API server: list, then watch from there; the watch resumes where it
 * ended, and a lost connection or an expired version starts over with a list. The copy survives breaks; listeners learn which names changed, also what vanished meanwhile.
 */
import type { KubeObject, ResourceRef } from '../api/meta.ts';
import { Backoff } from '../lib/backoff.ts';
import { sleep } from '../lib/clock.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorCode, errorMessage } from '../lib/errors.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { ApiClient } from './client.ts';
import { ApiError, isDenied, isExpired } from './errors.ts';
import { keepProbing, reach } from './liveness.ts';

/** What to follow. */
export interface InformerConfig {
  client: ApiClient;
  resource: ResourceRef;
  fieldSelector?: string;
  labelSelector?: string;
  /** Objects it refuses are not kept, whatever the server sends; a server that ignores the selectors costs no memory. */
  isWanted?: (object: KubeObject) => boolean;
  /** Called with each failure, many times during an outage. */
  onError?: (err: unknown) => void;
  /** The most objects kept; further ones are left out and counted. No limit when absent. */
  maxObjects?: number;
  /** False where the owner learns in another way that the path is gone, and stops this. */
  isProbing?: boolean;
}

/** What an informer needs from around it. */
export interface InformerDeps {
  clock: Clock;
  random?: () => number;
  log: Logger;
}

/** A local copy of some objects. `start()` returns at once; wait with whenSynced. */
export interface Informer<T extends KubeObject> extends Component {
  /** Whether the copy was complete at least once. */
  readonly hasSynced: boolean;
  /** False while the API server does not answer, or refuses. */
  readonly isConnected: boolean;
  /** clock.now() of the last sign of life of the server. */
  readonly lastContactAt: number | undefined;
  /** How often an object was left out since the last list because the copy was full. */
  readonly leftOut: number;
  get(name: string): T | undefined;
  list(): T[];
  /** Calls the listener after the copy changed; with '' after a new list and when the connection comes or goes. */
  onChange(listener: (name: string) => void): void;
  /** Resolves when the copy is complete; also when the signal aborts or the informer stops. */
  whenSynced(signal?: AbortSignal): Promise<void>;
}

/** A failed try: the first retry comes within a quarter of a second, later ones about once a second. */
const RETRY = { initialMs: 200, maxMs: 1000 };
/** Refused credentials do not heal by themselves; asking more often only fills the server's log. */
const DENIED_RETRY_MS = 3000;
/** How long after the end that was asked for a watch is ended here: a server that never ends one may have forgotten it. */
const WATCH_OVERTIME_MS = 60_000;
/** A watch shorter than this that brought nothing counts as failed, lest a broken server be asked in a tight loop. */
const SHORT_WATCH_MS = 1000;

/** Creates an informer. */
export function createInformer<T extends KubeObject>(
  config: InformerConfig,
  deps: InformerDeps,
): Informer<T> {
  const { client, resource } = config;
  const { clock } = deps;
  const random = deps.random ?? Math.random;
  const log = deps.log.with({ resource: resource.plural });
  const selectors = { fieldSelector: config.fieldSelector, labelSelector: config.labelSelector };
  const cache = new Map<string, T>();
  const listeners: ((name: string) => void)[] = [];
  const waiting = new Set<() => void>();
  const backoff = new Backoff(RETRY, random);
  let resourceVersion: string | undefined;
  let hasSynced = false;
  let isConnected = false;
  let lastContactAt: number | undefined;
  let lastProblem = '';
  let leftOut = 0;
  let listedAt = Number.NEGATIVE_INFINITY;
  let stopping: AbortController | undefined;
  let running: Promise<void> | undefined;

  const isWanted = config.isWanted ?? (() => true);
  const maxObjects = config.maxObjects ?? Infinity;

  /** Keeps an object, unless it is a new one and the copy is full. */
  const keep = (into: Map<string, T>, name: string, object: T): boolean => {
    if (into.size >= maxObjects && !into.has(name)) {
      leftOut++;
      return false;
    }
    into.set(name, object);
    return true;
  };

  const notify = (name: string): void => {
    for (const listener of listeners) {
      try {
        listener(name);
      } catch (err) {
        log.error('change listener failed', { error: err });
      }
    }
  };

  const contact = (): void => {
    lastContactAt = clock.now();
  };

  const setConnected = (value: boolean): void => {
    if (isConnected === value) return;
    isConnected = value;
    notify('');
  };

  const failed = (err: unknown): void => {
    config.onError?.(err);
    const problem = `${errorCode(err) ?? ''} ${errorMessage(err)}`;
    const fields = { error: errorMessage(err), hint: err instanceof EdgeError ? err.hint : undefined };
    // an outage is told once, not once a second
    if (problem === lastProblem) log.debug('API server still failing', fields);
    else log.warn('lost the API server, retrying', fields);
    lastProblem = problem;
    setConnected(false);
  };

  const relist = async (signal: AbortSignal): Promise<void> => {
    const list = await client.list<T>(resource, { ...selectors, signal });
    contact();
    listedAt = clock.now();
    const next = new Map<string, T>();
    leftOut = 0;
    for (const item of list.items) {
      const name = nameOf(item);
      if (name !== undefined && isWanted(item)) keep(next, name, item);
    }
    const changed: string[] = [];
    for (const [name, object] of next) {
      const known = cache.get(name)?.metadata;
      if (known?.resourceVersion !== object.metadata.resourceVersion || known?.uid !== object.metadata.uid)
        changed.push(name);
    }
    for (const name of cache.keys()) if (!next.has(name)) changed.push(name);
    cache.clear();
    for (const [name, object] of next) cache.set(name, object);
    resourceVersion = list.metadata.resourceVersion;
    hasSynced = true;
    isConnected = true;
    for (const wake of waiting) wake();
    waiting.clear();
    for (const name of changed) notify(name);
    notify('');
  };

  const follow = async (signal: AbortSignal): Promise<void> => {
    const openedAt = clock.now();
    let events = 0;
    const timeoutSeconds = 300 + Math.floor(random() * 300); // spread as client-go does, so that watches do not end together
    const tooLong = new AbortController();
    const limit = clock.after(timeoutSeconds * 1000 + WATCH_OVERTIME_MS, () => tooLong.abort());
    const watch = client.watch<T>(resource, {
      ...selectors,
      resourceVersion,
      allowWatchBookmarks: true,
      timeoutSeconds,
      signal: AbortSignal.any([signal, tooLong.signal]),
      onOpen: () => {
        contact();
        lastProblem = '';
        setConnected(true);
      },
    });
    try {
      for await (const event of watch) {
        events++;
        contact();
        backoff.reset();
        const version = event.object.metadata?.resourceVersion;
        if (version !== undefined) resourceVersion = version;
        const name = nameOf(event.object);
        if (event.type === 'BOOKMARK' || name === undefined || !isWanted(event.object)) continue;
        if (event.type === 'DELETED') cache.delete(name);
        else if (!keep(cache, name, event.object)) continue;
        notify(name);
      }
    } finally {
      limit.cancel();
    }
    if (events === 0 && clock.now() - openedAt < SHORT_WATCH_MS && !signal.aborted) {
      throw new EdgeError('EDGE_ERR_API_WATCH_ENDED', 'the API server ended the watch at once', {
        retryable: true,
      });
    }
    backoff.reset();
  };

  /** One stretch of contact: ends with an error when the server fails or goes silent. */
  const session = async (signal: AbortSignal): Promise<void> => {
    const guard = new AbortController();
    const onStop = (): void => guard.abort();
    signal.addEventListener('abort', onStop, { once: true });
    let silence: unknown;
    const probe =
      config.isProbing === false
        ? undefined
        : keepProbing(client, clock, {
            onAlive: contact,
            onDead(err) {
              silence = err;
              guard.abort();
            },
          });
    try {
      while (!guard.signal.aborted) {
        if (resourceVersion === undefined) await relist(guard.signal);
        if (!guard.signal.aborted) await follow(guard.signal);
      }
    } catch (err) {
      throw silence ?? err;
    } finally {
      probe?.cancel();
      guard.abort();
      signal.removeEventListener('abort', onStop);
    }
    if (silence !== undefined) throw silence;
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        await session(signal);
      } catch (err) {
        if (signal.aborted) return;
        if (isExpired(err)) {
          resourceVersion = undefined; // changes were compacted away: only a new list is complete
          log.debug('watch expired, listing again');
          if (clock.now() - listedAt < SHORT_WATCH_MS) await sleep(clock, backoff.next(), signal);
          continue;
        }
        // What comes back may be another store that counts from the start: its versions say nothing about ours.
        resourceVersion = undefined;
        failed(err);
        if (!(err instanceof ApiError)) client.dropConnections();
        await sleep(clock, isDenied(err) ? DENIED_RETRY_MS * (1 - random() / 2) : backoff.next(), signal);
        if (!isDenied(err)) await reach(client, clock, random, signal);
      }
    }
  };

  return {
    get hasSynced() {
      return hasSynced;
    },
    get isConnected() {
      return isConnected;
    },
    get lastContactAt() {
      return lastContactAt;
    },
    get leftOut() {
      return leftOut;
    },
    get: (name) => cache.get(name),
    list: () => [...cache.values()],
    onChange(listener) {
      listeners.push(listener);
    },
    whenSynced: (signal) =>
      new Promise((resolve) => {
        if (hasSynced || signal?.aborted === true || stopping?.signal.aborted === true) {
          resolve();
          return;
        }
        const wake = (): void => {
          waiting.delete(wake);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        waiting.add(wake);
        signal?.addEventListener('abort', wake, { once: true });
      }),
    start() {
      if (running === undefined) {
        stopping = new AbortController();
        running = run(stopping.signal);
      }
      return Promise.resolve();
    },
    async stop() {
      stopping?.abort();
      for (const wake of waiting) wake();
      await running;
      running = undefined;
      isConnected = false;
      resourceVersion = undefined; // whoever starts it again may find another store
    },
  };
}

/** What a server says is an object need not have a name, or metadata at all. */
function nameOf(object: Partial<KubeObject> | null): string | undefined {
  const name: unknown = object?.metadata?.name;
  return typeof name === 'string' ? name : undefined;
}
