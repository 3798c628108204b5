/** Turns a Router spec into the configuration of server, balancing and dashboard; pure but for the injected reader. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { RouterSpec, RouterSpecFrps } from '../api/gen/types.ts';
import { errorMessage } from '../lib/errors.ts';
import type { FrpServerConfig, PortRange } from '../tunnel/frps/types.ts';
import { RouterConfigError } from './errors.ts';
import type { SecretReader } from './secrets.ts';

/** How connections spread over the providers of a service. */
export type BalancingPolicy = 'roundRobin' | 'leastConnections' | 'random' | 'sourceHash';

/** Where the dashboard listens and whom it admits. */
export interface DashboardConfig {
  addr: string;
  port: number;
  /** Both empty: nobody is asked. */
  user: string;
  password: string;
}

/** Everything that a Router object decides. */
export interface RouterConfig {
  server: FrpServerConfig;
  dashboard: DashboardConfig | undefined;
  policy: BalancingPolicy;
}

/** Where the token comes from when the spec names no source. */
export type TokenSource = { file: string } | { value: string } | undefined;

/** What the process adds to a spec. */
export interface RouterDefaults {
  token: TokenSource;
  /** A unix socket to accept tunnel connections on too. */
  socketPath: string | undefined;
}

const POLICIES: readonly BalancingPolicy[] = ['roundRobin', 'leastConnections', 'random', 'sourceHash'];

/** The longest delay that a timer of the platform holds: what "never" is where a number is needed. */
const NEVER_MS = 2 ** 31 - 1;

/** Bounds of the server, sized for a node that serves some thousand pods. */
const LIMITS: FrpServerConfig['limits'] = {
  loginTimeoutMs: 10_000,
  maxPendingConnections: 1024,
  maxSessions: 4096,
  maxStreamsPerSession: 65_536,
  maxProxiesPerSession: 4096,
  maxQueuedVisitors: 128, // as frps
};

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
    limits: LIMITS,
  };
}

function integer(
  field: string,
  value: number | undefined,
  fallback: number | undefined,
  min: number,
  max: number,
): number {
  const found = value ?? fallback;
  if (found === undefined) throw new RouterConfigError(field, 'is missing');
  if (!Number.isInteger(found) || found < min || found > max) {
    throw new RouterConfigError(
      field,
      `${JSON.stringify(found)} is not a whole number from ${min} to ${max}`,
    );
  }
  return found;
}

function portRange(field: string, entry: { start?: number; end?: number; single?: number }): PortRange {
  const hasRange = entry.start !== undefined || entry.end !== undefined;
  if (hasRange === (entry.single !== undefined))
    throw new RouterConfigError(field, 'wants either start and end, or single');
  if (entry.single !== undefined) {
    const port = integer(`${field}.single`, entry.single, undefined, 1, 65_535);
    return { start: port, end: port };
  }
  const start = integer(`${field}.start`, entry.start, undefined, 1, 65_535);
  const end = integer(`${field}.end`, entry.end, undefined, 1, 65_535);
  if (start > end) throw new RouterConfigError(field, `start ${start} is after end ${end}`);
  return { start, end };
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

/** The trimmed secret. An empty one is refused: it would admit everybody where somebody asked for a lock. */
function resolveSecret(field: string, from: SecretRef, secrets: SecretReader): string {
  if (from.file !== undefined && from.env !== undefined)
    throw new RouterConfigError(field, 'names a file and a variable, wants one');
  if (from.file !== undefined) {
    const secret = readText(field, from.file, secrets).trim();
    if (secret === '') throw new RouterConfigError(field, `${from.file} is empty`);
    return secret;
  }
  const name = from.env ?? '';
  const secret = secrets.readEnv(name)?.trim() ?? '';
  if (secret === '')
    throw new RouterConfigError(field, `variable ${name} is not set in the router's environment`);
  return secret;
}

function readText(field: string, path: string, secrets: SecretReader): string {
  try {
    return secrets.readFile(path);
  } catch (err) {
    throw new RouterConfigError(field, errorMessage(err), err);
  }
}

function tlsConfig(
  field: string,
  tls: NonNullable<NonNullable<RouterSpecFrps['transport']>['tls']>,
  secrets: SecretReader,
): FrpServerConfig['tls'] {
  const { certFile, keyFile, trustedCaFile } = tls;
  if (certFile !== undefined && keyFile === undefined)
    throw new RouterConfigError(`${field}.keyFile`, 'is missing beside certFile');
  if (keyFile !== undefined && certFile === undefined)
    throw new RouterConfigError(`${field}.certFile`, 'is missing beside keyFile');
  const cert = certFile === undefined ? undefined : readText(`${field}.certFile`, certFile, secrets);
  const key = keyFile === undefined ? undefined : readText(`${field}.keyFile`, keyFile, secrets);
  const clientCa =
    trustedCaFile === undefined ? undefined : readText(`${field}.trustedCaFile`, trustedCaFile, secrets);
  if (cert !== undefined && key !== undefined) checkPem(`${field}.certFile`, { cert, key });
  if (clientCa !== undefined) checkPem(`${field}.trustedCaFile`, { ca: clientCa });
  // Asking for client certificates is pointless while plain connections are let in (frp does the same).
  return { force: (tls.force ?? false) || clientCa !== undefined, cert, key, clientCa };
}

function checkPem(field: string, material: { cert: string; key: string } | { ca: string }): void {
  try {
    // A secure context takes any text as authority, so the certificate itself is parsed.
    if ('ca' in material) void new X509Certificate(material.ca);
    else createSecureContext(material);
  } catch (err) {
    throw new RouterConfigError(field, `cannot be used: ${errorMessage(err)}`, err);
  }
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
  };
}
