/** What a configuration and the Routers as they are ask for: clients, listeners, names, the choices of a connection. Pure. */
import { tokenFor } from '../api/router-tokens.ts';
import { isLoopbackHost } from '../lib/address.ts';
import type { ZoneEntry } from '../dns/zone.ts';
import type { FrpClientConfig, ServerAddress } from '../tunnel/frpc/types.ts';
import type { RouterChoice } from './connector.ts';
import type { ExportLimits } from './export-definition.ts';
import type { MappingDefinition, MappingStatus } from './mappings.ts';
import type { SidecarConfig } from './options.ts';
import type { ClientSettings, ClientTarget, RouterClient } from './router-clients.ts';
import { neededRouters } from './routers.ts';
import type { Provider, RouterView } from './routers.ts';
import { serviceKey } from './services.ts';
import type { MappedService, Protocol } from './services.ts';
import { connectionSettings } from './overrides.ts';
import type { MappingRequest } from './service-connections.ts';

/**
 * A session whose NAT mapping is gone (a new public address, a NAT that forgot) looks idle, not dead, until something
 * is sent: a ping this often keeps services away for seconds instead of half a minute. Milliseconds.
 */
const MAX_KEEPALIVE_MS = 5000;
/** Work connections kept ready for exports: a new connection then costs no extra round trip. */
const POOL_COUNT = 5;

/** The clients that should exist. */
export function clientTargets(config: SidecarConfig, views: readonly RouterView[]): ClientTarget[] {
  const hasExports = config.exported.length > 0;
  const needed = neededRouters(views, hasExports, config.mapped.map(serviceKey));
  return views.map((view) => ({
    name: view.name,
    addresses: view.addresses,
    isNeeded: needed.has(view.name),
    settings: (address) => clientSettings(config, view, address),
  }));
}

function clientSettings(config: SidecarConfig, view: RouterView, address: ServerAddress): ClientSettings {
  const { transport } = view;
  return {
    token: tokenFor(config.tokens, view.name),
    user: '',
    clientId: `${config.pod}.${config.namespace}`,
    metas: { pod: config.pod, namespace: config.namespace, node: config.node },
    poolCount: config.exported.length > 0 ? Math.min(POOL_COUNT, transport.maxPoolCount) : 0,
    tls:
      transport.isTlsForced || wantsTls(config.tls.mode, address)
        ? tlsSettings(config.tls.ca, address)
        : undefined,
    tcpMux: transport.tcpMux,
    keepaliveMs: Math.min(transport.keepaliveMs, MAX_KEEPALIVE_MS),
    // Operators want to know at once which nodes they can reach.
    isWatched: config.isMaintained,
    additionalScopes: transport.additionalScopes,
  };
}

function wantsTls(mode: SidecarConfig['tls']['mode'], address: ServerAddress): boolean {
  if (mode === 'off' || 'path' in address) return false;
  return mode === 'on' || !isLoopbackHost(address.host);
}

function tlsSettings(ca: string | undefined, address: ServerAddress): NonNullable<FrpClientConfig['tls']> {
  if (ca === undefined) return {};
  return 'path' in address ? { ca } : { ca, servername: address.host };
}

/** The listeners that should exist. `ports` gives those of a protocol for a service whose mapping names none. */
export function mappingDefinitions(
  config: SidecarConfig,
  addresses: ReadonlyMap<string, string>,
  ports: (key: string, protocol: Protocol) => readonly number[],
): MappingDefinition[] {
  return config.mapped.map((service) => {
    const key = serviceKey(service);
    const override = config.overrides.get(key);
    const settings = connectionSettings(config, override);
    const hasPorts = service.ports.length + service.udpPorts.length > 0;
    const portsOf = (protocol: Protocol, own: readonly number[]): readonly number[] => {
      if (hasPorts) return own;
      return service.protocol === undefined || service.protocol === protocol ? ports(key, protocol) : [];
    };
    return {
      key,
      address: addresses.get(key) ?? '',
      ports: portsOf('TCP', service.ports),
      udpPorts: portsOf('UDP', service.udpPorts),
      ...settings,
      secretKey: override?.secretKey ?? config.secretKey,
      preferNode: settings.locality === 'sameNode' ? config.node : '',
    };
  });
}

/** How an exported service is published and bounded. */
export function exportSettings(config: SidecarConfig, key: string): ExportLimits & { secretKey: string } {
  const override = config.overrides.get(key);
  const { connectTimeoutMs, idleTimeoutMs, maxConnections } = connectionSettings(config, override);
  return {
    secretKey: override?.secretKey ?? config.secretKey,
    connectTimeoutMs,
    idleTimeoutMs,
    maxConnections,
  };
}

/** A connection that wants to be carried. */
export interface ChoiceRequest extends MappingRequest {
  /** Whether the Routers' state cannot be known: then one that lists no provider may have one all the same. */
  isBlind: boolean;
}

/**
 * In which order kinds of Routers are tried: the own one with a provider beside it, those that have a provider, those that
 * had one when they were last heard of, those that may have one; and behind them those whose providers all failed lately.
 */
const TIER = { near: 0, offered: 1, stale: 2, guess: 3, avoided: 4 } as const;

/** The Routers that could carry a connection now, each with its tier. */
export function routerChoices(
  request: ChoiceRequest,
  views: readonly RouterView[],
  clientOf: (router: string) => RouterClient | undefined,
): RouterChoice[] {
  const choices: RouterChoice[] = [];
  for (const view of views) {
    const client = clientOf(view.name)?.client;
    if (client?.phase !== 'online') continue;
    const providers = (view.services.get(request.key)?.providers ?? []).filter(
      (provider) => provider.isReady && provider.protocol === request.protocol,
    );
    const isOffered = request.isExact
      ? providers.some((provider) => provider.port === request.port)
      : providers.length > 0;
    if (!isOffered && !request.isBlind) continue;
    const hasSeveralPorts = new Set(providers.map((provider) => provider.port)).size > 1;
    const needsPort =
      request.isExact || (hasSeveralPorts && providers.some((provider) => provider.port === request.port));
    choices.push({
      name: view.name,
      client,
      proxyName: `${request.key}${needsPort ? `:${request.port}` : ''}${request.protocol === 'UDP' ? '/udp' : ''}`,
      providers: providers.filter(({ port }) => !needsPort || port === request.port).map(({ id }) => id),
      tier: isOffered ? tierOf(view, request, providers) : TIER.guess,
      connections: request.connections.get(view.name) ?? 0,
      roundTripMs: client.roundTripMs,
    });
  }
  return choices;
}

function tierOf(view: RouterView, request: ChoiceRequest, providers: readonly Provider[]): number {
  const { avoided, preferNode } = request;
  if (avoided.size > 0 && providers.every(({ id }) => avoided.has(id))) return TIER.avoided;
  if (view.isStale) return TIER.stale;
  const isNear =
    view.isOwn &&
    preferNode !== '' &&
    providers.some(({ id, node }) => node === preferNode && !avoided.has(id));
  return isNear ? TIER.near : TIER.offered;
}

/** What names are answered for. */
export interface NameSettings {
  mapped: readonly MappedService[];
  /** By service, as people want it called besides its own name. */
  overrides: SidecarConfig['overrides'];
  notReadyAnswer: SidecarConfig['notReadyAnswer'];
}

/**
 * The names that should be answered; one is ready as soon as there is something to connect to, where that is wanted only
 * while `hasProvider` says that there is somebody behind it.
 */
export function zoneEntries(
  { mapped, overrides, notReadyAnswer }: NameSettings,
  addresses: ReadonlyMap<string, string>,
  portsOf: (key: string) => MappingStatus['ports'],
  hasProvider: (key: string) => boolean,
): ZoneEntry[] {
  const bare = new Map<string, number>();
  for (const { name } of mapped) bare.set(name, (bare.get(name) ?? 0) + 1);
  return mapped.map((service) => {
    const { name, namespace, cluster, portNames = [] } = service;
    const key = serviceKey(service);
    const listening = portsOf(key).filter((port) => port.state === 'listening');
    const aliases = cluster === undefined ? [] : [`${key}.svc.${cluster}`, `${key}.${cluster}`];
    aliases.push(...(overrides.get(key)?.aliases ?? []));
    if (bare.get(name) === 1) aliases.push(name); // unambiguous, so it answers from every namespace
    return {
      name,
      namespace,
      address: addresses.get(key) ?? '',
      ports: listening.flatMap(({ port, protocol }) => {
        const zonePort = { port, protocol: protocol === 'UDP' ? ('udp' as const) : ('tcp' as const) };
        const names = portNames.filter((each) => each.port === port && each.protocol === protocol);
        return names.length === 0 ? zonePort : names.map((each) => ({ ...zonePort, name: each.name }));
      }),
      isReady: listening.length > 0 && (notReadyAnswer === 'address' || hasProvider(key)),
      aliases,
    };
  });
}
