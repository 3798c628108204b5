/** The sidecar's settings: flags, variables and configuration file, checked as a whole before anything starts. */
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseTokenFile } from '../api/router-tokens.ts';
import type { RouterTokens } from '../api/router-tokens.ts';
import { parseResolvConf } from '../dns/resolv-conf.ts';
import { parseHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';
import type { OptionValues } from '../lib/options.ts';
import { parseRange } from './addresses.ts';
import type { AddressRange } from './addresses.ts';
import type { LbPolicy } from './balancer.ts';
import { maintenanceExport } from '../ssh/node-sshd.ts';
import type { MaintenanceHost } from '../ssh/node-sshd.ts';
import { parseOverrides } from './overrides.ts';
import type { ConnectionSettings, ServiceOverride } from './overrides.ts';
import { checkSealing } from './sealing.ts';
import { parseExportsFile, parseImportsFile } from './services-file.ts';
import {
  checkLabel,
  mergeExported,
  mergeMapped,
  parseExported,
  parseMapped,
  serviceKey,
} from './services.ts';
import type { ExportedService, MappedService } from './services.ts';
import type { NOT_READY_ANSWERS, sidecarOptions, TLS_MODES } from './settings.ts';

/** The checked configuration of a sidecar. */
export interface SidecarConfig extends ConnectionSettings {
  mapped: readonly MappedService[];
  exported: readonly ExportedService[];
  /** Whether the sshd beside it is one of them, for operators. */
  isMaintained: boolean;
  range: AddressRange;
  /** Undefined: no DNS. */
  dns: HostPort | undefined;
  dnsUpstreams: readonly HostPort[];
  /** Answer clients on other machines. */
  dnsAllowRemote: boolean;
  clusterDomain: string;
  namespace: string;
  pod: string;
  node: string;
  routers: readonly string[];
  secretKey: string;
  /** Whether connections must be sealed from end to end. */
  requireSealed: boolean;
  /** By `NAME.NAMESPACE`. */
  overrides: ReadonlyMap<string, ServiceOverride>;
  tokens: RouterTokens;
  tls: { mode: (typeof TLS_MODES)[number]; ca: string | undefined };
  cacheDir: string;
  /** Undefined: no admin surface. */
  admin: HostPort | undefined;
  maxParked: number;
  /** Failures in a row after which a provider is left out, and for how long; 0 failures: never. */
  ejection: { afterFailures: number; baseMs: number };
  notReadyAnswer: (typeof NOT_READY_ANSWERS)[number];
  /** Files to read again when they change. */
  files: readonly string[];
}

/** Says where names go when no upstream is set. */
export const RESOLV_CONF = '/etc/resolv.conf';

/** Where values come from that are no settings. */
export interface ConfigSources {
  hostname: string;
  dataDir: string;
  /** Reads a text file; throws UsageError that names `what`. */
  readFile(path: string, what: string): string;
  /** The text of RESOLV_CONF; undefined when there is none. */
  resolvConf(): string | undefined;
  /** What `--maintenance` tells about the machine. */
  host: MaintenanceHost;
  /** The key `services` of the configuration file, and the file's name. */
  perService?: { value: unknown; source: string } | undefined;
}

/** Checks settings as a whole. Throws UsageError that names the setting or the file at fault. */
export function buildConfig(
  settings: OptionValues<typeof sidecarOptions>,
  sources: ConfigSources,
): SidecarConfig {
  const namespace = checkLabel(settings.namespace, 'namespace', '--namespace (SIDECAR_NAMESPACE)');
  const read = (path: string | undefined, what: string): string | undefined =>
    path === undefined ? undefined : sources.readFile(path, what);
  const { importsFile, exportsFile, routerTokenFile, secretKeyFile, routerCaFile } = settings;
  const imports = read(importsFile, '--imports-file (SIDECAR_IMPORTS_FILE)');
  const exports = read(exportsFile, '--exports-file (SIDECAR_EXPORTS_FILE)');
  const token = read(routerTokenFile, '--router-token-file (EDGE_ROUTER_TOKEN_FILE)');
  const dns = parseSwitchable(settings.dnsAddr, '--dns-addr (SIDECAR_DNS_ADDR)');
  const node = (settings.node ?? sources.hostname).toLowerCase();
  const { maintenanceTarget: target, uniqueId, hostKeyDir } = settings;
  const maintenance = settings.maintenance
    ? maintenanceExport({ target, uniqueId, hostKeyDir }, sources.host, node)
    : undefined;
  const isUpstreamGiven = settings.dnsUpstream.length > 0;
  const policy = settings.lbPolicy as LbPolicy | undefined; // checked by the option
  const overrides = parseOverrides(sources.perService?.value, sources.perService?.source ?? '', namespace);
  const config: SidecarConfig = {
    mapped: mergeMapped([
      ...settings.mappedServices.map((text) =>
        parseMapped(text, '--mapped-services (SIDECAR_MAPPED_SERVICES)', namespace),
      ),
      ...(imports === undefined ? [] : parseImportsFile(imports, importsFile ?? '', namespace)),
    ]),
    exported: mergeExported([
      ...settings.exportedServices.map((text) =>
        parseExported(text, '--exported-services (SIDECAR_EXPORTED_SERVICES)', namespace),
      ),
      ...(exports === undefined ? [] : parseExportsFile(exports, exportsFile ?? '', namespace)),
      ...(maintenance === undefined ? [] : [maintenance.service]),
    ]).map((service) => withHealthCheck(service, overrides.get(serviceKey(service)))),
    isMaintained: maintenance !== undefined,
    range: parseRange(settings.ipRange, '--ip-range (SIDECAR_IP_RANGE)'),
    dns,
    dnsUpstreams: isUpstreamGiven
      ? settings.dnsUpstream.map((text) => parseUpstream(text, '--dns-upstream (SIDECAR_DNS_UPSTREAM)'))
      : parseResolvConf(sources.resolvConf() ?? '', dns === undefined ? [] : [dns]).nameservers,
    dnsAllowRemote: settings.dnsAllowRemote,
    clusterDomain: settings.clusterDomain
      .toLowerCase()
      .replace(/\.$/u, '')
      .split('.')
      .map((label) => checkLabel(label, 'label', '--cluster-domain (SIDECAR_CLUSTER_DOMAIN)'))
      .join('.'),
    namespace,
    pod: settings.podName ?? sources.hostname,
    node,
    routers: settings.routers,
    policy: policy ?? (settings.routers.length > 0 ? 'inOrder' : 'roundRobin'),
    secretKey:
      settings.secretKey ?? read(secretKeyFile, '--secret-key-file (SIDECAR_SECRET_KEY_FILE)')?.trim() ?? '',
    requireSealed: settings.requireSealed,
    overrides,
    tokens:
      settings.routerToken === undefined && token !== undefined
        ? parseTokenFile(token, routerTokenFile ?? '')
        : { common: settings.routerToken ?? '', byRouter: new Map() },
    tls: { mode: settings.routerTls, ca: read(routerCaFile, '--router-ca-file (SIDECAR_ROUTER_CA_FILE)') },
    cacheDir: settings.cacheDir ?? join(sources.dataDir, 'sidecar'),
    admin: parseSwitchable(settings.adminAddr, '--admin-addr (SIDECAR_ADMIN_ADDR)'),
    parkTimeoutMs: settings.parkTimeout,
    maxParked: settings.maxParked,
    connectTimeoutMs: settings.connectTimeout,
    idleTimeoutMs: settings.idleTimeout,
    maxConnections: settings.maxConnections,
    locality: settings.locality,
    ejection: { afterFailures: settings.ejectAfter, baseMs: settings.ejectTime },
    notReadyAnswer: settings.notReadyAnswer,
    files: [
      ...(maintenance?.files ?? []),
      importsFile,
      exportsFile,
      routerTokenFile,
      secretKeyFile,
      routerCaFile,
      isUpstreamGiven ? undefined : RESOLV_CONF,
    ].filter((path) => path !== undefined),
  };
  checkSealing(config);
  return config;
}

function parseSwitchable(text: string, what: string): HostPort | undefined {
  return text === '' || text.toLowerCase() === 'off' ? undefined : parseHostPort(text, what);
}

function parseUpstream(text: string, what: string): HostPort {
  const upstream = isIP(text) === 0 ? parseHostPort(text, what) : { host: text, port: 53 };
  if (isIP(upstream.host) === 0) throw new UsageError(`${what}: "${text}" is not an IP address`);
  return upstream;
}

/** The check of the configuration file, where the exports file has none. */
function withHealthCheck(service: ExportedService, override: ServiceOverride | undefined): ExportedService {
  const healthCheck = service.healthCheck ?? override?.healthCheck;
  if (healthCheck === undefined) return service;
  if (service.protocol === 'UDP' && healthCheck.port === undefined)
    throw new UsageError(
      `service ${serviceKey(service)}: a health check of a UDP service needs a port to check over TCP`,
    );
  return { ...service, healthCheck };
}

/** Settings that differ and are only read at the start. */
export function restartNeeds(first: SidecarConfig, next: SidecarConfig): string[] {
  const parts = (config: SidecarConfig): Record<string, unknown> => ({
    ipRange: config.range.text,
    dnsAddr: config.dns,
    dnsAllowRemote: config.dnsAllowRemote,
    clusterDomain: config.clusterDomain,
    namespace: config.namespace,
    podName: config.pod,
    node: config.node,
    cacheDir: config.cacheDir,
    adminAddr: config.admin,
    maxParked: config.maxParked,
  });
  const now = parts(next);
  return Object.entries(parts(first)).flatMap(([name, value]) =>
    JSON.stringify(value) === JSON.stringify(now[name]) ? [] : name,
  );
}
