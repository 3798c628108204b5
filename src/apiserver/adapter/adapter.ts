/** The Frp Adapter as a component: its listener, and the frps that it follows. Starts and ends with the API server. */
import type { ServerOptions } from 'node:https';
import { join } from 'node:path';
import { NODE_MAINTENANCES } from '../../api/edge.ts';
import { formatHostPort, isLoopbackHost } from '../../lib/address.ts';
import type { HostPort } from '../../lib/address.ts';
import type { Clock } from '../../lib/clock.ts';
import type { HttpListenOptions, HttpServer } from '../../lib/http.ts';
import type { Component } from '../../lib/lifecycle.ts';
import type { Logger } from '../../lib/log.ts';
import type { Registry } from '../../lib/metrics.ts';
import type { TunnelCredentials } from '../../ssh/node-connection.ts';
import type { AuditLog } from '../audit.ts';
import type { Credentials } from '../auth/authenticator.ts';
import type { Identity } from '../auth/roles.ts';
import type { SshAuthority } from '../pki/ssh-authority.ts';
import { resources } from '../registry/resources.ts';
import type { ObjectStore } from '../store/store.ts';
import { TerminalGateway } from '../terminal/gateway.ts';
import { createNodeSessions } from '../terminal/node-sessions.ts';
import { Recordings } from '../terminal/recordings.ts';
import { createAdapterApp } from './app.ts';
import { createFrpsGet } from './frps-client.ts';
import type { FrpsApi } from './frps-client.ts';
import { createFrpsFollower } from './frps-follower.ts';
import { createNodeWriter } from './node-writer.ts';

/** What the adapter does. */
export interface AdapterConfig {
  /** Where the endpoints are served; undefined for nowhere. */
  listen: HostPort | undefined;
  /** Whether by HTTPS with the API server's certificate. */
  isTls: boolean;
  /** Whether a token is asked for on loopback addresses too. */
  isTokenRequired: boolean;
  /** Origins of web pages that may use it beside its own, where a proxy serves it under another name. */
  origins: readonly string[];
  terminals: {
    credentials: TunnelCredentials;
    idleTimeoutMs: number;
    /** Where terminals are recorded; undefined for nowhere. */
    recordingsDir: string | undefined;
    /** Whether administrators may log in to nodes with certificates issued on the spot. */
    isIssuing: boolean;
  };
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
  /** What HTTPS listeners present; undefined on plain HTTP. */
  tls: ServerOptions | undefined;
  sshAuthority: () => SshAuthority | undefined;
  dataDir: string;
  /** Opens a listener that the API server closes. */
  listen: (options: HttpListenOptions) => Promise<HttpServer>;
}

const EXPOSED =
  'not over plain HTTP from other machines: passwords would pass in the clear (--adapter-tls, or a TLS proxy on this machine in front of a loopback address with --adapter-require-token)';

/** Creates the adapter. */
export function createAdapter(config: AdapterConfig, deps: AdapterDeps): Component {
  const { clock, log, store } = deps;
  const resource = resources.get(NODE_MAINTENANCES.plural);
  if (resource === undefined) throw new Error('the API server does not know NodeMaintenances');
  const nodes = createNodeWriter({ store, resource, clock });
  const follower =
    config.frps === undefined
      ? undefined
      : createFrpsFollower(config.frps, { ...deps, nodes, get: createFrpsGet(config.frps) });
  let gateway: TerminalGateway | undefined;

  const serve = async (where: HostPort): Promise<void> => {
    const { isTls, isTokenRequired, origins, terminals } = config;
    const isLocal = isLoopbackHost(where.host);
    const rules = { authenticate: deps.authenticate, isOpen: isLocal && !isTokenRequired, origins };
    const { recordingsDir, isIssuing, idleTimeoutMs } = terminals;
    const recordings =
      recordingsDir === undefined ? undefined : new Recordings(recordingsDir, { clock, log });
    const sessions = createNodeSessions({
      ...deps,
      credentials: terminals.credentials,
      knownHosts: join(deps.dataDir, 'known_hosts'),
      sshAuthority: () => (isIssuing ? deps.sshAuthority() : undefined),
    });
    const exposure = isLocal || isTls ? undefined : EXPOSED;
    gateway = new TerminalGateway({ ...deps, nodes, sessions, recordings, rules, exposure, idleTimeoutMs });
    const canIssue = isIssuing && deps.sshAuthority() !== undefined;
    const app = createAdapterApp({ ...deps, nodes, rules, terminals: { gateway, recordings, canIssue } });
    const http = await deps.listen({
      fetch: (request, env) => app.fetch(request, { ...(env as object), transport: 'http' }),
      ...where,
      ...(isTls && deps.tls !== undefined ? { tls: deps.tls } : {}),
    });
    const upgrades = gateway;
    http.server.on('upgrade', (request, socket, head) => upgrades.upgrade(request, socket, head));
    const scheme = isTls ? 'https' : 'http';
    log.info('adapter listens', { address: `${scheme}://${formatHostPort(where.host, http.port)}` });
  };

  return {
    async start() {
      if (config.listen !== undefined) await serve(config.listen);
      await follower?.start();
    },
    async stop() {
      await Promise.all([gateway?.stop(), follower?.stop()]);
    },
  };
}
