/** The configuration of a router as its Router object says, and as it last said while the API server is away. */
import type { Router, RouterSpec, RouterStatus } from '../api/gen/types.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import { buildConfig, configFiles } from './config.ts';
import type { RouterDefaults } from './config.ts';
import type { SecretReader } from './secrets.ts';
import type { ConfigSource, Reading } from './source.ts';
import type { SpecCache } from './spec-cache.ts';

/** A followed copy of the Router objects; an Informer is one. */
export interface RouterObjects extends Component {
  readonly hasSynced: boolean;
  readonly isConnected: boolean;
  get(name: string): Router | undefined;
  onChange(listener: (name: string) => void): void;
}

/** What the source needs. */
export interface ObjectSourceDeps {
  clock: Clock;
  log: Logger;
  objects: RouterObjects;
  secrets: SecretReader;
  cache: SpecCache;
  writeStatus: (node: string, status: RouterStatus, signal: AbortSignal) => Promise<void>;
}

/** An API server that is there answers within this time; a spec that is old by then would cause a change of ports. */
const CACHE_GRACE_MS = 1000;

/** Creates the source of the Router object called `node`. */
export function createObjectSource(
  node: string,
  defaults: RouterDefaults,
  deps: ObjectSourceDeps,
): ConfigSource {
  const { clock, log, objects, secrets, cache } = deps;
  let grace: Timer | undefined;
  let kept: RouterSpec | undefined;
  let isStopped = false;

  const present = (spec: RouterSpec): Reading => ({
    state: 'present',
    key: keyOf(spec, defaults, secrets),
    load: () => buildConfig(spec, defaults, secrets),
  });
  const changed = listenerSet();
  const reconnected = listenerSet();
  let wasConnected = false;
  objects.onChange((name) => {
    const { isConnected } = objects;
    if (isConnected && !wasConnected) reconnected.call();
    wasConnected = isConnected;
    if (name === '' || name === node) changed.call();
  });

  return {
    name: 'router-object',
    status: {
      object() {
        const object = objects.get(node);
        if (object === undefined) return undefined;
        const { uid, generation } = object.metadata;
        return { uid, generation, conditions: object.status?.conditions ?? [] };
      },
      write: (status, signal) => deps.writeStatus(node, status, signal),
      onReconnect: reconnected.add,
    },
    async start() {
      const found = await cache.load();
      if (isStopped) return;
      grace = clock.after(CACHE_GRACE_MS, () => {
        if (found === undefined || objects.hasSynced) return;
        kept = found;
        log.warn('the API server is away, serving with the last known spec', { node });
        changed.call();
      });
      await objects.start();
    },
    async stop() {
      isStopped = true;
      grace?.cancel();
      await objects.stop();
      await cache.settled();
    },
    read() {
      const object = objects.get(node);
      if (object !== undefined) return present(object.spec);
      if (objects.hasSynced) {
        kept = undefined;
        cache.drop();
        return { state: 'absent', reason: `waiting for the Router object "${node}"` };
      }
      return kept === undefined ? { state: 'waiting', reason: 'waiting for the API server' } : present(kept);
    },
    onChange: changed.add,
    accepted() {
      const spec = objects.get(node)?.spec;
      if (spec !== undefined) cache.save(spec);
    },
    refresh() {},
  };
}

/** Changes exactly when the configuration may have: the spec, or a file that it names. */
function keyOf({ frps, loadBalancing }: RouterSpec, defaults: RouterDefaults, secrets: SecretReader): string {
  const files = typeof frps === 'object' && frps !== null ? configFiles(frps, defaults) : [];
  return JSON.stringify([frps, loadBalancing, files.map((path) => secrets.stamp(path))]);
}

function listenerSet(): { add: (listener: () => void) => void; call: () => void } {
  const listeners: (() => void)[] = [];
  return {
    add: (listener) => void listeners.push(listener),
    call: () => {
      for (const listener of listeners) listener();
    },
  };
}
