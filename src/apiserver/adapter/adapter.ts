/** The Frp Adapter as a component: its listener, and the frps that it follows. Starts and ends with the API server. */
import { NODE_MAINTENANCES } from '../../api/edge.ts';
import { formatHostPort, isLoopbackHost } from '../../lib/address.ts';
import type { HostPort } from '../../lib/address.ts';
import type { Clock } from '../../lib/clock.ts';
import type { HttpListenOptions, HttpServer } from '../../lib/http.ts';
import type { Component } from '../../lib/lifecycle.ts';
import type { Logger } from '../../lib/log.ts';
import type { Registry } from '../../lib/metrics.ts';
import type { AuditLog } from '../audit.ts';
import type { Credentials } from '../auth/authenticator.ts';
import type { Identity } from '../auth/roles.ts';
import { resources } from '../registry/resources.ts';
import type { ObjectStore } from '../store/store.ts';
import { createAdapterApp } from './app.ts';
import { createFrpsGet } from './frps-client.ts';
import type { FrpsApi } from './frps-client.ts';
import { createFrpsFollower } from './frps-follower.ts';
import { createNodeWriter } from './node-writer.ts';

/** What the adapter does. */
export interface AdapterConfig {
  /** Where the endpoints are served, plain HTTP; undefined for nowhere. */
  listen: HostPort | undefined;
  /** The frps to follow; undefined for none. */
  frps: (FrpsApi & { address: string; intervalMs: number }) | undefined;
}

/** What it needs of the API server. */
export interface AdapterDeps {
  store: ObjectStore;
  clock: Clock;
  random: () => number;
  log: Logger;
  registry: Registry;
  audit: AuditLog | undefined;
  /** Throws a 401 Status. */
  authenticate: (credentials: Credentials) => Identity;
  notServing: () => string | undefined;
  /** Opens a listener that the API server closes. */
  listen: (options: HttpListenOptions) => Promise<HttpServer>;
}

/** Creates the adapter; undefined when it has nothing to do. */
export function createAdapter(config: AdapterConfig, deps: AdapterDeps): Component | undefined {
  const { clock, log, store } = deps;
  const resource = resources.get(NODE_MAINTENANCES.plural);
  if (resource === undefined || (config.listen === undefined && config.frps === undefined)) return undefined;
  const nodes = createNodeWriter({ store, resource, clock });
  const follower =
    config.frps === undefined
      ? undefined
      : createFrpsFollower(config.frps, { ...deps, nodes, get: createFrpsGet(config.frps) });
  return {
    async start() {
      const { listen: where } = config;
      if (where !== undefined) {
        const authenticate = isLoopbackHost(where.host) ? undefined : deps.authenticate;
        const app = createAdapterApp({ ...deps, nodes, authenticate });
        const { port } = await deps.listen({
          fetch: (request, env) => app.fetch(request, { ...(env as object), transport: 'http' }),
          ...where,
        });
        log.info('adapter listens', { address: `http://${formatHostPort(where.host, port)}` });
      }
      await follower?.start();
    },
    async stop() {
      await follower?.stop();
    },
  };
}
