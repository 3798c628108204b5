/** What a sidecar needs to know of each Router: where it is, how far it can be trusted, which services it offers. Pure. */
import { CONDITION_READY, CONDITION_SYNCED, ORIGIN_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatusAddress } from '../api/gen/types.ts';
import { transportOf } from '../api/router-transport.ts';
import type { RouterTransport } from '../api/router-transport.ts';
import { formatHostPort } from '../lib/address.ts';
import type { ServerAddress } from '../tunnel/frpc/types.ts';
import type { Protocol } from './services.ts';

/** One instance of a service behind a Router. */
export interface Provider {
  /** The name of its proxy. */
  id: string;
  /** The port consumers see; undefined where the Router does not know it. */
  port: number | undefined;
  protocol: Protocol;
  /** Where it runs; empty when it did not say. */
  node: string;
  isReady: boolean;
  /** Why it is not ready, in its own words; empty when it did not say. */
  message: string;
}

/** A service as one Router offers it. */
export interface OfferedService {
  /** TCP ports that consumers connect to, ascending. */
  ports: readonly number[];
  /** UDP ports, ascending. */
  udpPorts: readonly number[];
  providers: readonly Provider[];
}

/** One Router as a sidecar sees it. */
export interface RouterView {
  name: string;
  /** Whether it is this node's. */
  isOwn: boolean;
  /** Whether its state is old news or it says that it is not ready: used when nothing better is there. */
  isStale: boolean;
  /** Where to dial it, best first; empty while it has not said. */
  addresses: readonly ServerAddress[];
  /** What the tunnel server asks of its clients. */
  transport: RouterTransport;
  /** By `NAME.NAMESPACE`. */
  services: ReadonlyMap<string, OfferedService>;
}

/** How Routers are picked and ordered. */
export interface RouterSelection {
  /** The node this sidecar runs on; its Router has the same name. */
  node: string;
  /** Only these, in this order; empty for all. */
  only: readonly string[];
}

/** The Routers to use, best first: the own node's, then fresh mirrors, then stale ones; or in the order of `only`. */
export function selectRouters(routers: readonly Router[], selection: RouterSelection): RouterView[] {
  const own = ownRouterName(routers, selection.node);
  const views = routers.map((router) => viewOf(router, own));
  if (selection.only.length > 0) {
    return selection.only.flatMap((name) => views.find((view) => view.name === name) ?? []);
  }
  const rank = (view: RouterView): number => (view.isOwn ? 0 : view.isStale ? 2 : 1);
  return views.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

/** The Router named like the node, else the only one that is no mirror: a pod's host name need not be its node's. */
function ownRouterName(routers: readonly Router[], node: string): string | undefined {
  if (routers.some((router) => router.metadata.name === node)) return node;
  const originals = routers.filter(
    (router) => router.metadata.annotations?.[ORIGIN_ANNOTATION] === undefined,
  );
  return originals.length === 1 ? originals[0]?.metadata.name : undefined;
}

/** Objects are replaced when they change, so a view is built once a change and not once a reconcile. */
const views = new WeakMap<Router, RouterView>();

function viewOf(router: Router, own: string | undefined): RouterView {
  const isOwn = router.metadata.name === own;
  const known = views.get(router);
  if (known?.isOwn === isOwn) return known;
  const { frps } = router.spec;
  const hasCondition = (type: string, status: string): boolean =>
    (router.status?.conditions ?? []).some(
      (condition) => condition.type === type && condition.status === status,
    );
  const isMirror = router.metadata.annotations?.[ORIGIN_ANNOTATION] !== undefined;
  const view: RouterView = {
    name: router.metadata.name ?? '',
    isOwn,
    isStale: hasCondition(CONDITION_READY, 'False') || (isMirror && !hasCondition(CONDITION_SYNCED, 'True')),
    addresses: addressesOf(router.status?.addresses ?? [], frps.bindPort, isOwn),
    transport: transportOf(router.spec),
    services: servicesOf(router),
  };
  views.set(router, view);
  return view;
}

const ADDRESS_RANK: Readonly<Record<RouterStatusAddress['type'], number>> = {
  Socket: 0,
  InternalIP: 1,
  ExternalIP: 2,
  Hostname: 3,
};

function addressesOf(
  addresses: readonly RouterStatusAddress[],
  port: number,
  isOwn: boolean,
): ServerAddress[] {
  return addresses
    .filter(({ type, address }) => address !== '' && type in ADDRESS_RANK && (isOwn || type !== 'Socket')) // another node's path means nothing here
    .toSorted((a, b) => ADDRESS_RANK[a.type] - ADDRESS_RANK[b.type])
    .map(({ type, address }) => (type === 'Socket' ? { path: address } : { host: address, port }));
}

function servicesOf(router: Router): Map<string, OfferedService> {
  const found = new Map<string, { ports: Record<Protocol, Set<number>>; providers: Provider[] }>();
  const entry = (key: string) => {
    const known = found.get(key) ?? {
      ports: { TCP: new Set<number>(), UDP: new Set<number>() },
      providers: [],
    };
    found.set(key, known);
    return known;
  };
  for (const service of router.status?.activeServices ?? []) {
    const { protocol, targetPort } = service;
    if (protocol !== 'TCP' && protocol !== 'UDP') continue;
    const { ports, providers } = entry(`${service.name}.${service.namespace}`);
    if (targetPort !== undefined) ports[protocol].add(targetPort);
    for (const { id, node = '', ready = true, message = '' } of service.providers ?? []) {
      providers.push({ id, port: targetPort, protocol, node, isReady: ready, message });
    }
  }
  for (const { name, namespace, port, protocol } of router.spec.advertisedServices ?? []) {
    entry(`${name}.${namespace ?? 'default'}`).ports[protocol ?? 'TCP'].add(port);
  }
  return new Map(
    [...found].map(([key, { ports, providers }]) => [
      key,
      { ports: ascending(ports.TCP), udpPorts: ascending(ports.UDP), providers },
    ]),
  );
}

/** The ports of a service over all Routers, ascending; for mappings that name none. */
export function knownPorts(routers: readonly RouterView[], key: string, protocol: Protocol): number[] {
  const list = protocol === 'TCP' ? 'ports' : 'udpPorts';
  return ascending(new Set(routers.flatMap((router) => router.services.get(key)?.[list] ?? [])));
}

/** Whether some Router has a provider of the service that is ready. */
export function hasReadyProvider(routers: readonly RouterView[], key: string): boolean {
  return routers.some(
    (router) => router.services.get(key)?.providers.some(({ isReady }) => isReady) ?? false,
  );
}

function ascending(ports: ReadonlySet<number>): number[] {
  return [...ports].sort((a, b) => a - b);
}

/**
 * The Routers that need a client: all of them for a sidecar that publishes something, else the own node's and
 * those that offer a mapped service, or are said to.
 */
export function neededRouters(
  routers: readonly RouterView[],
  hasExports: boolean,
  mapped: readonly string[],
): Set<string> {
  const needed = routers.filter(
    (router) =>
      hasExports || (mapped.length > 0 && (router.isOwn || mapped.some((key) => router.services.has(key)))),
  );
  return new Set(needed.map((router) => router.name));
}

/** An address for people. */
export function formatServerAddress(address: ServerAddress): string {
  return 'path' in address ? `unix://${address.path}` : formatHostPort(address.host, address.port);
}
