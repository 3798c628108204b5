/** The sidecar's settings: flags, variables and configuration file, checked as a whole before anything starts. */
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseTokenFile } from '../api/router-tokens.ts';
import type { RouterTokens } from '../api/router-tokens.ts';
import { parseResolvConf } from '../dns/resolv-conf.ts';
import { parseHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';
import {
  choiceOption,
  durationOption,
  integerOption,
  listOption,
  parseDuration,
  stringOption,
  switchOption,
  textOption,
} from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';
import { parseRange } from './addresses.ts';
import type { AddressRange } from './addresses.ts';
import { LB_POLICIES } from './balancer.ts';
import type { LbPolicy } from './balancer.ts';
import { maintenanceExport } from './maintenance.ts';
import type { MaintenanceHost } from './maintenance.ts';
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

/** TLS between the sidecar and Routers. */
export const TLS_MODES = ['auto', 'on', 'off'] as const;

/** Every setting of the sidecar. */
export const sidecarOptions = {
  mappedServices: listOption({
    description: 'services to bring here: NAME[.NAMESPACE[.CLUSTER]][:PORT][/tcp|udp], separated by commas',
    placeholder: 'LIST',
    env: 'SIDECAR_MAPPED_SERVICES',
  }),
  exportedServices: listOption({
    description: 'services to publish: NAME[.NAMESPACE]=[HOST:]PORT[/tcp|udp], separated by commas',
    placeholder: 'LIST',
    env: 'SIDECAR_EXPORTED_SERVICES',
  }),
  maintenance: switchOption({
    description: "publish the node's sshd, for operators to reach the node",
    env: 'EDGE_MAINTENANCE',
  }),
  maintenanceTarget: textOption({
    description: 'where the sshd of --maintenance listens',
    placeholder: 'HOST:PORT',
    default: '127.0.0.1:22',
    env: 'EDGE_MAINTENANCE_TARGET',
  }),
  uniqueId: stringOption({
    description: "the node's id for maintenance (default a hash of its hardware address)",
    placeholder: 'ID',
    env: 'EDGE_MAINTENANCE_UNIQUE_ID',
  }),
  hostKeyDir: textOption({
    description: "directory of the sshd's ssh_host_*_key.pub",
    placeholder: 'DIR',
    default: '/etc/ssh',
    env: 'EDGE_MAINTENANCE_HOST_KEY_DIR',
  }),
  ipRange: textOption({
    description: 'where mapped services get their address',
    placeholder: 'CIDR',
    default: '127.0.66.0/24',
    env: 'SIDECAR_IP_RANGE',
  }),
  dnsAddr: textOption({
    description: 'address of the DNS responder, or "off"',
    placeholder: 'HOST:PORT',
    default: '127.0.0.2:53',
    env: 'SIDECAR_DNS_ADDR',
  }),
  dnsUpstream: listOption({
    description: 'where names that are not mapped are asked for (default from /etc/resolv.conf)',
    placeholder: 'HOST[:PORT]',
    env: 'SIDECAR_DNS_UPSTREAM',
  }),
  clusterDomain: textOption({
    description: 'suffix of service names',
    placeholder: 'DOMAIN',
    default: 'cluster.local',
    env: 'SIDECAR_CLUSTER_DOMAIN',
  }),
  namespace: textOption({
    description: 'namespace of services named without one',
    placeholder: 'NAME',
    default: 'default',
    env: ['SIDECAR_NAMESPACE', 'POD_NAMESPACE'],
  }),
  podName: stringOption({
    description: "this provider's name (default the host name)",
    placeholder: 'NAME',
    env: ['SIDECAR_POD_NAME', 'POD_NAME'],
  }),
  node: stringOption({
    description: 'the node this runs on; its Router is preferred (default the host name)',
    placeholder: 'NAME',
    env: ['EDGE_NODE_NAME', 'NODE_NAME'],
  }),
  routers: listOption({
    description: 'use only these Routers; without --lb-policy in this order of preference',
    placeholder: 'NAMES',
    env: 'SIDECAR_ROUTERS',
  }),
  lbPolicy: stringOption({
    description: `how connections spread over Routers: ${LB_POLICIES.join(', ')} (default roundRobin)`,
    placeholder: 'POLICY',
    env: 'SIDECAR_LB_POLICY',
    check: checkPolicy,
  }),
  secretKey: stringOption({
    description: 'secret that providers and consumers share',
    env: 'SIDECAR_SECRET_KEY',
    hasFlag: false,
  }),
  secretKeyFile: stringOption({
    description: 'file that holds the secret which providers and consumers share',
    placeholder: 'FILE',
    env: 'SIDECAR_SECRET_KEY_FILE',
  }),
  requireSealed: switchOption({
    description: 'refuse connections that are not sealed from end to end; set it on both sides',
    env: 'SIDECAR_REQUIRE_SEALED',
  }),
  routerToken: stringOption({ description: 'token for Routers', env: 'EDGE_ROUTER_TOKEN', hasFlag: false }),
  routerTokenFile: stringOption({
    description: 'file that holds the token for Routers, or a YAML map of Router names to tokens',
    placeholder: 'FILE',
    env: 'EDGE_ROUTER_TOKEN_FILE',
  }),
  routerTls: choiceOption({
    description: 'TLS to Routers: on (unix sockets excepted), auto (also not on loopback) or off',
    choices: TLS_MODES,
    default: 'on',
    env: 'SIDECAR_ROUTER_TLS',
  }),
  routerCaFile: stringOption({
    description: "PEM file of the authorities that may sign Routers' certificates (default: not verified)",
    placeholder: 'FILE',
    env: 'SIDECAR_ROUTER_CA_FILE',
  }),
  importsFile: stringOption({
    description: 'YAML file of further services to bring here; re-read when it changes',
    placeholder: 'FILE',
    env: 'SIDECAR_IMPORTS_FILE',
  }),
  exportsFile: stringOption({
    description: 'YAML file of further services to publish; re-read when it changes',
    placeholder: 'FILE',
    env: 'SIDECAR_EXPORTS_FILE',
  }),
  cacheDir: stringOption({
    description: 'where addresses and last seen Routers are remembered (default DATA-DIR/sidecar)',
    placeholder: 'DIR',
    env: 'SIDECAR_CACHE_DIR',
  }),
  adminAddr: textOption({
    description: 'address of /healthz, /readyz, /metrics and /status, or "off"',
    placeholder: 'HOST:PORT',
    default: '127.0.0.1:7460',
    env: 'SIDECAR_ADMIN_ADDR',
  }),
  parkTimeout: durationOption({
    description: 'how long a connection waits for a provider to come',
    default: '5s',
    env: 'SIDECAR_PARK_TIMEOUT',
  }),
  maxParked: integerOption({
    description: 'the most connections that wait at once',
    default: 1024,
    min: 0,
    max: 65_536,
    env: 'SIDECAR_MAX_PARKED',
  }),
};

/** What one service may have of its own (key `services` of the configuration file). */
export interface ServiceOverride {
  policy: LbPolicy | undefined;
  secretKey: string | undefined;
  requireSealed: boolean | undefined;
  parkTimeoutMs: number | undefined;
}

/** The checked configuration of a sidecar. */
export interface SidecarConfig {
  mapped: readonly MappedService[];
  exported: readonly ExportedService[];
  range: AddressRange;
  /** Undefined: no DNS. */
  dns: HostPort | undefined;
  dnsUpstreams: readonly HostPort[];
  clusterDomain: string;
  namespace: string;
  pod: string;
  node: string;
  routers: readonly string[];
  policy: LbPolicy | 'inOrder';
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
  parkTimeoutMs: number;
  maxParked: number;
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
    ]),
    range: parseRange(settings.ipRange, '--ip-range (SIDECAR_IP_RANGE)'),
    dns,
    dnsUpstreams: isUpstreamGiven
      ? settings.dnsUpstream.map((text) => parseUpstream(text, '--dns-upstream (SIDECAR_DNS_UPSTREAM)'))
      : parseResolvConf(sources.resolvConf() ?? '', dns === undefined ? [] : [dns]).nameservers,
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
    overrides: parseOverrides(sources, namespace),
    tokens:
      settings.routerToken === undefined && token !== undefined
        ? parseTokenFile(token, routerTokenFile ?? '')
        : { common: settings.routerToken ?? '', byRouter: new Map() },
    tls: { mode: settings.routerTls, ca: read(routerCaFile, '--router-ca-file (SIDECAR_ROUTER_CA_FILE)') },
    cacheDir: settings.cacheDir ?? join(sources.dataDir, 'sidecar'),
    admin: parseSwitchable(settings.adminAddr, '--admin-addr (SIDECAR_ADMIN_ADDR)'),
    parkTimeoutMs: settings.parkTimeout,
    maxParked: settings.maxParked,
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

function switchOf(value: unknown, what: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new UsageError(`${what} is neither true nor false`);
}

function parseSwitchable(text: string, what: string): HostPort | undefined {
  return text === '' || text.toLowerCase() === 'off' ? undefined : parseHostPort(text, what);
}

function parseUpstream(text: string, what: string): HostPort {
  const upstream = isIP(text) === 0 ? parseHostPort(text, what) : { host: text, port: 53 };
  if (isIP(upstream.host) === 0) throw new UsageError(`${what}: "${text}" is not an IP address`);
  return upstream;
}

function checkPolicy(text: string, what: string): LbPolicy {
  const policy = LB_POLICIES.find((name) => name === text);
  if (policy === undefined)
    throw new UsageError(`${what}: "${text}" is not one of ${LB_POLICIES.join(', ')}`);
  return policy;
}

const OVERRIDE_KEYS = new Set(['name', 'namespace', 'lbPolicy', 'secretKey', 'requireSealed', 'parkTimeout']);

/** Reads `services: [{name, namespace, lbPolicy, secretKey, requireSealed, parkTimeout}]`. */
function parseOverrides(
  { perService }: ConfigSources,
  defaultNamespace: string,
): Map<string, ServiceOverride> {
  const overrides = new Map<string, ServiceOverride>();
  if (perService?.value === undefined || perService.value === null) return overrides;
  const { value, source } = perService;
  if (!Array.isArray(value)) throw new UsageError(`${source}: services: wanted a list`);
  for (const [at, item] of value.entries()) {
    const what = `${source}: services[${at}]`;
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new UsageError(`${what}: wanted a map`);
    const entry = item as Record<string, unknown>;
    const unknown = Object.keys(entry).find((key) => !OVERRIDE_KEYS.has(key));
    if (unknown !== undefined) throw new UsageError(`${what}: unknown setting "${unknown}"`);
    const text = (key: string): string | undefined => {
      const field = entry[key];
      if (field === undefined) return undefined;
      if (typeof field !== 'string' && typeof field !== 'number')
        throw new UsageError(`${what}: ${key} is not a text`);
      return String(field);
    };
    const key = serviceKey({
      name: checkLabel(text('name') ?? '', 'name', what),
      namespace: checkLabel(text('namespace') ?? defaultNamespace, 'namespace', what),
    });
    const policy = text('lbPolicy');
    const parkTimeout = text('parkTimeout');
    overrides.set(key, {
      policy: policy === undefined ? undefined : checkPolicy(policy, `${what}: lbPolicy`),
      secretKey: text('secretKey'),
      requireSealed: switchOf(entry['requireSealed'], `${what}: requireSealed`),
      parkTimeoutMs:
        parkTimeout === undefined ? undefined : parseDuration(parkTimeout, `${what}: parkTimeout`),
    });
  }
  return overrides;
}
