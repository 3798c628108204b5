/** A sidecar for one port of one service, without names and addresses of its own: for `edge ctl port-forward`. */
import type { HostPort } from '../lib/address.ts';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError } from '../lib/errors.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type { FrpClient, FrpClientConfig } from '../tunnel/frpc/types.ts';
import { createConnector } from './connector.ts';
import { clientTargets, mappingDefinitions, routerChoices } from './desired.ts';
import { createMappings } from './mappings.ts';
import type { SidecarConfig } from './options.ts';
import { createRouterClients } from './router-clients.ts';
import { selectRouters } from './routers.ts';
import type { RouterView } from './routers.ts';
import { createSealing } from './sealing.ts';
import { serviceKey } from './services.ts';
import type { RouterSource } from './sidecar.ts';

/** What is forwarded where. */
export interface ForwardRequest {
  /** Maps the one service, whatever its ports. */
  config: SidecarConfig;
  listen: HostPort;
  /** The service's port. */
  port: number;
}

/** What a forwarding needs. */
export interface ForwardDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  routers: RouterSource;
  createClient(config: FrpClientConfig, log: Logger): FrpClient;
}

/** The API server answers by then, or never, milliseconds. */
const SYNC_TIMEOUT_MS = 10_000;

/**
 * Creates it. start() resolves when it listens, and rejects when it cannot, when the API server does not answer, or when no
 * Router knows the service with that port: somebody waits in front of a terminal.
 */
export function createForward({ config, listen, port }: ForwardRequest, deps: ForwardDeps): Component {
  const { clock, log, random, routers } = deps;
  const [service] = config.mapped;
  const key = service === undefined ? '' : serviceKey(service);
  const sealing = createSealing();
  let views: readonly RouterView[] = [];
  let onUpdate = (): void => {};

  const connector = createConnector({ clock, random, maxParked: config.maxParked });
  const clients = createRouterClients({
    clock,
    random,
    log,
    createClient: (client, clientLog) => deps.createClient(client, clientLog),
    isBusy: (name) => mappings.isBusy(name),
    onChange: () => connector.wake(),
  });
  const mappings = createMappings({
    clock,
    random,
    log,
    connector,
    ejection: () => config.ejection,
    choices: (request) =>
      routerChoices({ ...request, port, isExact: true, isBlind: !routers.isConnected }, views, (name) =>
        clients.get(name),
      ),
    onChange: () => onUpdate(),
  });

  const reconcile = (): void => {
    if (!routers.hasSynced) return;
    views = selectRouters(routers.list(), { node: config.node, only: config.routers });
    clients.reconcile(clientTargets(config, views));
    connector.wake();
    onUpdate();
  };

  /** Waits for a condition that updates may bring; rejects with its problem when time is up, or it fails for good. */
  const until = (isMet: () => boolean, problem: () => EdgeError): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = clock.after(SYNC_TIMEOUT_MS, () => reject(problem()));
      const look = (): void => {
        if (mappings.ports(key)[0]?.state === 'failed') reject(problem());
        else if (!isMet()) return;
        else resolve();
        timer.cancel();
        onUpdate = () => {};
      };
      onUpdate = look;
      look();
    });

  return {
    async start() {
      routers.onChange(reconcile);
      await routers.start();
      reconcile();
      await until(
        () => routers.hasSynced,
        () => new EdgeError('EDGE_ERR_SIDECAR_FORWARD', 'the API server does not answer'),
      );
      const known = views.flatMap((view) => view.services.get(key) ?? []);
      const ports = [...new Set(known.flatMap((offered) => offered.ports))];
      if (!ports.includes(port)) throw notOffered(key, port, ports);
      const [definition] = sealing.mapped(
        mappingDefinitions(config, new Map([[key, listen.host]]), () => []),
        config,
      );
      if (definition !== undefined)
        mappings.reconcile([{ ...definition, ports: [listen.port], udpPorts: [] }]);
      const listener = (): string =>
        mappings.ports(key)[0]?.error ?? `cannot listen on ${formatHostPort(listen.host, listen.port)}`;
      await until(
        () => mappings.ports(key)[0]?.state === 'listening',
        () => new EdgeError('EDGE_ERR_LISTEN', listener()),
      );
    },
    async stop() {
      mappings.stopAccepting();
      mappings.destroy();
      await Promise.all([clients.stop(), routers.stop()]);
    },
  };
}

function notOffered(key: string, port: number, ports: readonly number[]): EdgeError {
  return ports.length === 0
    ? new EdgeError('EDGE_ERR_SIDECAR_FORWARD', `no Router knows service ${key}`, {
        hint: '"edge ctl services" lists those that are known',
      })
    : new EdgeError('EDGE_ERR_SIDECAR_FORWARD', `service ${key} has no TCP port ${port}`, {
        hint: `it has ${ports.join(', ')}`,
      });
}
