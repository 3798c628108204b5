/** Turns a Router spec into the configuration of server, balancing and dashboard; pure but for the injected reader. */
import type { RouterSpec, RouterSpecFrps } from '../api/gen/types.ts';
import type { FrpServerConfig } from '../tunnel/frps/types.ts';
import { RouterConfigError } from './errors.ts';
import { integer, NEVER_MS, portRange, secretFile, tlsConfig } from './fields.ts';
import { LIMITS } from './limits.ts';
import type { Limits } from './limits.ts';
import type { SecretReader } from './secrets.ts';

/** How connections spread over the providers of a service. */
export type BalancingPolicy = 'roundRobin' | 'leastConnections' | 'random' | 'latency' | 'sourceHash';

/** Where the dashboard listens and whom it admits. */
export interface DashboardConfig {
  addr: string;
  port: number;
  /** Both empty: nobody is asked. */
  user: string;
  password: string;
  /** PEM; plain HTTP when absent. */
  tls: { cert: string; key: string } | undefined;
  /** Whether /metrics is served there. */
  hasMetrics: boolean;
}

/** Everything that a Router object, or a file in its place, decides. */
export interface RouterConfig {
  server: FrpServerConfig;
  dashboard: DashboardConfig | undefined;
  policy: BalancingPolicy;
}

/** Where the process gets a token from. */
export type TokenSource = { file: string } | { value: string } | undefined;

/** What the process adds to a spec. */
export interface RouterDefaults {
  token: TokenSource;
  /** A unix socket to accept tunnel connections on too. */
  socketPath: string | undefined;
  /** Bounds of the server; the defaults when absent. */
  limits?: Limits;
}

const POLICIES: readonly BalancingPolicy[] = [
  'roundRobin',
  'leastConnections',
  'random',
  'latency',
  'sourceHash',
];

/** Builds the configuration. Throws RouterConfigError for the first field that cannot be used. */
export function buildConfig(spec: RouterSpec, defaults: RouterDefaults, secrets: SecretReader): RouterConfig {
  const { frps } = spec;
  if (typeof frps !== 'object' || frps === null) throw new RouterConfigError('spec.frps', 'is missing');
  const policy = spec.loadBalancing?.policy ?? 'roundRobin';
  if (!POLICIES.includes(policy)) {
    throw new RouterConfigError(
      'spec.loadBalancing.policy',
      `"${policy}" is not one of ${POLICIES.join(', ')}`,
    );
  }
  return { server: serverConfig(frps, defaults, secrets), dashboard: dashboardConfig(frps, secrets), policy };
}

/** Every file that buildConfig reads for this spec: a change of one is a change of the configuration. */
export function configFiles(frps: RouterSpecFrps, defaults: RouterDefaults): string[] {
  const { auth, transport, dashboardPasswordFrom } = frps;
  const fallback = defaults.token !== undefined && 'file' in defaults.token ? defaults.token.file : undefined;
  const files = [
    hasSource(auth?.tokenFrom) ? auth?.tokenFrom?.file : fallback,
    transport?.tls?.certFile,
    transport?.tls?.keyFile,
    transport?.tls?.trustedCaFile,
    dashboardPasswordFrom?.file,
  ];
  return files.filter((path) => path !== undefined);
}

function serverConfig(
  frps: RouterSpecFrps,
  defaults: RouterDefaults,
  secrets: SecretReader,
): FrpServerConfig {
  const at = 'spec.frps';
  const { auth, transport } = frps;
  if (auth?.method !== undefined && auth.method !== 'token') {
    throw new RouterConfigError(
      `${at}.auth.method`,
      `"${String(auth.method)}" is not supported, only token is`,
    );
  }
  const bindAddr = frps.bindAddr ?? '0.0.0.0';
  const heartbeat = integer(`${at}.transport.heartbeatTimeout`, transport?.heartbeatTimeout, 0, -1, 86_400);
  return {
    bindAddr,
    bindPort: integer(`${at}.bindPort`, frps.bindPort, undefined, 1, 65_535),
    socketPath: defaults.socketPath,
    proxyBindAddr: frps.proxyBindAddr ?? bindAddr,
    allowPorts: (frps.allowPorts ?? []).map((entry, index) => portRange(`${at}.allowPorts[${index}]`, entry)),
    maxPortsPerClient: integer(`${at}.maxPortsPerClient`, frps.maxPortsPerClient, 0, 0, 65_535),
    userConnTimeoutMs: 1000 * integer(`${at}.userConnTimeout`, frps.userConnTimeout, 10, 1, 3600),
    udpPacketSize: integer(`${at}.udpPacketSize`, frps.udpPacketSize, 1500, 512, 65_507),
    token: resolveToken(`${at}.auth.tokenFrom`, auth?.tokenFrom, defaults.token, secrets),
    additionalScopes: auth?.additionalScopes ?? [],
    keepaliveMs:
      1000 *
      integer(`${at}.transport.tcpMuxKeepaliveInterval`, transport?.tcpMuxKeepaliveInterval, 30, 1, 3600),
    // Absent or 0 is frp's own default: mux keep-alives watch multiplexed clients, 90 s the others.
    heartbeatTimeoutMs: heartbeat === 0 ? -1 : heartbeat === -1 ? NEVER_MS : heartbeat * 1000,
    maxPoolCount: integer(`${at}.transport.maxPoolCount`, transport?.maxPoolCount, 5, 0, 1000),
    tls: tlsConfig(`${at}.transport.tls`, transport?.tls ?? {}, secrets),
    limits: defaults.limits ?? LIMITS,
  };
}

/** A place in the object that names a secret without holding it. */
interface SecretRef {
  file?: string;
  env?: string;
}

function hasSource(from: SecretRef | undefined): from is SecretRef {
  return from?.file !== undefined || from?.env !== undefined;
}

function resolveToken(
  field: string,
  from: SecretRef | undefined,
  fallback: TokenSource,
  secrets: SecretReader,
): string {
  if (hasSource(from)) return resolveSecret(field, from, secrets);
  if (fallback === undefined) return '';
  return 'file' in fallback ? resolveSecret('--token-file', fallback, secrets) : fallback.value.trim();
}

function resolveSecret(field: string, from: SecretRef, secrets: SecretReader): string {
  if (from.file !== undefined && from.env !== undefined)
    throw new RouterConfigError(field, 'names a file and a variable, wants one');
  if (from.file !== undefined) return secretFile(field, from.file, secrets);
  const name = from.env ?? '';
  const secret = secrets.readEnv(name)?.trim() ?? '';
  if (secret === '')
    throw new RouterConfigError(field, `variable ${name} is not set in the router's environment`);
  return secret;
}

function dashboardConfig(frps: RouterSpecFrps, secrets: SecretReader): DashboardConfig | undefined {
  const port = integer('spec.frps.dashboardPort', frps.dashboardPort, 0, 0, 65_535);
  if (port === 0) return undefined;
  const from = frps.dashboardPasswordFrom;
  return {
    addr: frps.dashboardAddr ?? '127.0.0.1',
    port,
    user: frps.dashboardUser ?? '',
    password: hasSource(from) ? resolveSecret('spec.frps.dashboardPasswordFrom', from, secrets) : '',
    tls: undefined,
    hasMetrics: true,
  };
}
