/** Rewrites a frp configuration in TOML as the INI that releases before 0.52 read; what tests use of it. */
import { parseToml } from '../../src/lib/toml.ts';

/** Keys whose name in INI is not their last part in snake case. */
const NAMES: Readonly<Record<string, string>> = {
  'transport.tls.enable': 'tls_enable',
  'transport.tls.force': 'tls_only',
  'transport.tls.certFile': 'tls_cert_file',
  'transport.tls.keyFile': 'tls_key_file',
  'transport.tls.trustedCaFile': 'tls_trusted_ca_file',
  'transport.tls.serverName': 'tls_server_name',
  'transport.tls.disableCustomTLSFirstByte': 'disable_custom_tls_first_byte',
  'healthCheck.type': 'health_check_type',
  'healthCheck.path': 'health_check_url',
  'healthCheck.intervalSeconds': 'health_check_interval_s',
  'healthCheck.timeoutSeconds': 'health_check_timeout_s',
  'healthCheck.maxFailed': 'health_check_max_failed',
  'webServer.addr': 'dashboard_addr',
  'webServer.port': 'dashboard_port',
  'webServer.user': 'dashboard_user',
  'webServer.password': 'dashboard_pwd',
  secretKey: 'sk',
  localIP: 'local_ip',
};
const SCOPES: Readonly<Record<string, string>> = {
  HeartBeats: 'authenticate_heartbeats',
  NewWorkConns: 'authenticate_new_work_conns',
};

type Table = Readonly<Record<string, unknown>>;

/** The text in INI. Throws for a value that has no form there. */
export function frpIni(toml: string): string {
  const { proxies = [], visitors = [], ...common } = parseToml(toml, 'frp.toml');
  return [
    section('common', common),
    ...(proxies as Table[]).map(({ name, ...rest }) =>
      section(String(name), { ...defaultsOf(rest), ...rest }),
    ),
    ...(visitors as Table[]).map(({ name, ...rest }) => section(String(name), { ...rest, role: 'visitor' })),
  ].join('\n');
}

/** What the oldest releases want to be told. */
function defaultsOf({ type }: Table): Table {
  return type === 'tcp' || type === 'udp' ? { remotePort: 0 } : {};
}

function section(name: string, table: Table): string {
  return [`[${name}]`, ...lines(table, ''), ''].join('\n');
}

function lines(table: Table, prefix: string): string[] {
  return Object.entries(table).flatMap(([key, value]) => {
    const path = `${prefix}${key}`;
    if (path === 'auth.additionalScopes')
      return (value as string[]).map((scope) => `${SCOPES[scope] ?? scope} = true`);
    if (path === 'metadatas')
      return Object.entries(value as Table).map(([name, text]) => `meta_${name} = ${String(text)}`);
    if (path === 'allowPorts')
      return [`allow_ports = ${(value as { single?: number }[]).map(rangeOf).join(',')}`];
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return lines(value as Table, `${path}.`);
    const name = NAMES[path] ?? snakeCase(key);
    if (Array.isArray(value)) return [`${name} = ${value.join(',')}`];
    return [`${name} = ${String(value)}`];
  });
}

function rangeOf({ single, start, end }: { single?: number; start?: number; end?: number }): string {
  return single === undefined ? `${start}-${end}` : `${single}`;
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/gu, (letter) => `_${letter.toLowerCase()}`);
}
