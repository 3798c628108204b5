/** Turns the settings of a frps configuration file into the router's configuration, with frp's own defaults. */
import type { FrpServerConfig } from '../../tunnel/frps/types.ts';
import type { DashboardConfig, RouterConfig, RouterDefaults } from '../config.ts';
import { RouterConfigError } from '../errors.ts';
import { NEVER_MS, portRange, secretFile, tlsConfig } from '../fields.ts';
import { LIMITS } from '../limits.ts';
import type { SecretReader } from '../secrets.ts';
import { FRPS_FILE } from './keys.ts';
import type { FrpsSettings } from './keys.ts';
import { parseFrpsText } from './parse.ts';

/** What the file says about the log: the process reads it once, at start. */
export interface FrpsLog {
  /** A file; undefined for the console. */
  file: string | undefined;
  level: 'debug' | 'info' | 'warn' | 'error';
  hasColor: boolean;
}

/** frp's defaults (frp protocol 8.2). */
const DEFAULT_BIND_ADDR = '0.0.0.0';
const DEFAULT_BIND_PORT = 7000;
const DEFAULT_USER_CONN_SECONDS = 10;
const DEFAULT_UDP_BYTES = 1500;
const DEFAULT_KEEPALIVE_SECONDS = 30;
const DEFAULT_POOL = 5;

/** The settings in a file. Throws RouterConfigError, or a parser's error, that names the file and the key or line. */
export function readFrpsSettings(path: string, secrets: SecretReader): FrpsSettings {
  const values = parseFrpsText(secrets.readFile(path), path, (name) => secrets.readEnv(name));
  return FRPS_FILE.read(values, { source: path, path: '' });
}

/**
 * The configuration that settings ask for; `overrides` come from flags and win. Reads the files that are named.
 * Throws RouterConfigError that names `path` and the key; a secret is never part of it.
 */
export function buildFrpsConfig(
  path: string,
  settings: FrpsSettings,
  overrides: RouterDefaults,
  secrets: SecretReader,
): RouterConfig {
  return {
    server: serverConfig(path, settings, overrides, secrets),
    dashboard: dashboardConfig(path, settings, secrets),
    policy: 'roundRobin',
  };
}

function serverConfig(
  path: string,
  settings: FrpsSettings,
  overrides: RouterDefaults,
  secrets: SecretReader,
): FrpServerConfig {
  const { auth, transport } = settings;
  const bindAddr = orDefault(settings.bindAddr, DEFAULT_BIND_ADDR);
  return {
    bindAddr,
    bindPort: orDefault(settings.bindPort, DEFAULT_BIND_PORT),
    socketPath: overrides.socketPath,
    proxyBindAddr: orDefault(settings.proxyBindAddr, bindAddr),
    allowPorts: (settings.allowPorts ?? []).map((entry, index) =>
      portRange(`${path}: allowPorts[${index}]`, withoutZeros(entry)),
    ),
    maxPortsPerClient: settings.maxPortsPerClient ?? 0,
    userConnTimeoutMs: 1000 * orDefault(settings.userConnTimeout, DEFAULT_USER_CONN_SECONDS),
    udpPacketSize: orDefault(settings.udpPacketSize, DEFAULT_UDP_BYTES),
    detailedErrorsToClient: settings.detailedErrorsToClient ?? true,
    token: tokenOf(path, settings, overrides, secrets),
    additionalScopes: auth?.additionalScopes ?? [],
    keepaliveMs: 1000 * orDefault(transport?.tcpMuxKeepaliveInterval, DEFAULT_KEEPALIVE_SECONDS),
    heartbeatTimeoutMs: heartbeatMs(transport?.heartbeatTimeout ?? 0),
    maxPoolCount: orDefault(transport?.maxPoolCount, DEFAULT_POOL),
    tls: tlsConfig(`${path}: transport.tls`, filled(transport?.tls), secrets),
    limits: overrides.limits ?? LIMITS,
  };
}

/** frp takes the zero of a type for "not set" everywhere. */
function orDefault<T extends string | number>(value: T | undefined, fallback: T): T {
  return value === undefined || value === '' || value === 0 ? fallback : value;
}

function withoutZeros(entry: { start?: number; end?: number; single?: number }): typeof entry {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== 0));
}

/** 0 is frp's default: mux keep-alives watch multiplexed clients, 90 s the others. A negative value is never. */
function heartbeatMs(seconds: number): number {
  if (seconds === 0) return -1;
  return seconds < 0 ? NEVER_MS : Math.min(seconds * 1000, NEVER_MS);
}

function filled<T extends object>(files: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(files ?? {}).filter(([, value]) => value !== '')) as Partial<T>;
}

function tokenOf(
  path: string,
  { auth }: FrpsSettings,
  overrides: RouterDefaults,
  secrets: SecretReader,
): string {
  if (auth?.method === 'oidc')
    throw new RouterConfigError(`${path}: auth.method`, 'OIDC is not supported, only token is');
  const source = auth?.tokenSource;
  if (source !== undefined) checkTokenSource(path, auth ?? {});
  if (overrides.token !== undefined) {
    return 'file' in overrides.token
      ? secretFile('--token-file', overrides.token.file, secrets)
      : overrides.token.value.trim();
  }
  if (source === undefined) return auth?.token ?? '';
  return secretFile(`${path}: auth.tokenSource.file.path`, source.file?.path ?? '', secrets);
}

function checkTokenSource(path: string, auth: NonNullable<FrpsSettings['auth']>): void {
  const at = `${path}: auth.tokenSource`;
  if ((auth.token ?? '') !== '')
    throw new RouterConfigError(at, 'stands beside auth.token, wants only one of them');
  if (auth.tokenSource?.type === 'exec')
    throw new RouterConfigError(`${at}.type`, 'a token from a command is not supported, only from a file');
  if (auth.tokenSource?.type === undefined) throw new RouterConfigError(`${at}.type`, 'is missing');
  if ((auth.tokenSource.file?.path ?? '') === '')
    throw new RouterConfigError(`${at}.file.path`, 'is missing');
}

function dashboardConfig(
  path: string,
  { webServer, enablePrometheus }: FrpsSettings,
  secrets: SecretReader,
): DashboardConfig | undefined {
  const port = webServer?.port ?? 0;
  if (webServer === undefined || port === 0) return undefined;
  const { cert, key } = tlsConfig(`${path}: webServer.tls`, filled(webServer.tls), secrets);
  return {
    addr: orDefault(webServer.addr, '127.0.0.1'),
    port,
    user: webServer.user ?? '',
    password: webServer.password ?? '',
    tls: cert === undefined || key === undefined ? undefined : { cert, key },
    hasMetrics: enablePrometheus ?? false,
  };
}

/** What the file says about the log. */
export function frpsLog({ log }: FrpsSettings): FrpsLog {
  const level = orDefault(log?.level ?? '', 'info');
  const to = orDefault(log?.to ?? '', 'console');
  return {
    file: to === 'console' ? undefined : to,
    level: level === 'trace' || level === '' ? 'debug' : level,
    hasColor: log?.disablePrintColor !== true,
  };
}

/** Every file that buildFrpsConfig reads: a change of one is a change of the configuration. */
export function frpsFiles({ auth, transport, webServer }: FrpsSettings, { token }: RouterDefaults): string[] {
  const paths = [
    token === undefined ? auth?.tokenSource?.file?.path : 'file' in token ? token.file : undefined,
    transport?.tls?.certFile,
    transport?.tls?.keyFile,
    transport?.tls?.trustedCaFile,
    webServer?.tls?.certFile,
    webServer?.tls?.keyFile,
  ];
  return paths.filter((path) => path !== undefined && path !== '') as string[];
}
