/**
 * The keys of a frps v1 configuration file: each one that frps knows is here, either with the values that are
 * supported or with the reason why it is refused (frp protocol 8.2; docs/reference/router-config.md lists them all).
 */
import { flag, list, table, text, unsupported, whole, word } from './shape.ts';
import type { ValueOf } from './shape.ts';

const PORT = whole(0, 65_535);
/** A year, which no timeout of frps needs; -1 and other negative values mean "off" where frp says so. */
const MAX_SECONDS = 31_536_000;
const SECONDS = whole(0, MAX_SECONDS);

const NO_HTTP = 'routing by HTTP host is not supported';
const NO_KCP = 'KCP is not supported';
const NO_QUIC = 'QUIC is not supported';
const NO_SSH = 'the SSH gateway is not supported';
const NO_OIDC = 'OIDC is not supported';

const auth = table({
  method: word('token', 'oidc', ''),
  additionalScopes: list(word('HeartBeats', 'NewWorkConns')),
  token: text,
  tokenSource: table({
    type: word('file', 'exec'),
    file: table({ path: text }),
    exec: unsupported('a token from a command is not supported, only from a file'),
  }),
  oidc: table({
    issuer: unsupported(NO_OIDC, ''),
    audience: unsupported(NO_OIDC, ''),
    skipExpiryCheck: unsupported(NO_OIDC, false),
    skipIssuerCheck: unsupported(NO_OIDC, false),
  }),
});

const transport = table({
  tcpMux: flag,
  tcpMuxKeepaliveInterval: SECONDS,
  tcpKeepalive: unsupported('the interval of TCP keep-alive probes cannot be set', 0, 7200),
  maxPoolCount: whole(0, 1000),
  heartbeatTimeout: whole(-MAX_SECONDS, MAX_SECONDS),
  quic: table({
    keepalivePeriod: unsupported(NO_QUIC, 0, 10),
    maxIdleTimeout: unsupported(NO_QUIC, 0, 30),
    maxIncomingStreams: unsupported(NO_QUIC, 0, 100_000),
  }),
  tls: table({
    force: flag,
    certFile: text,
    keyFile: text,
    trustedCaFile: text,
    serverName: unsupported('a server has no use for it', ''),
  }),
});

const webServer = table({
  addr: text,
  port: PORT,
  user: text,
  password: text,
  assetsDir: unsupported('the pages of the dashboard cannot be replaced', ''),
  pprofEnable: unsupported("profiles of frps's own runtime do not exist here", false),
  tls: table({
    certFile: text,
    keyFile: text,
    trustedCaFile: unsupported('client certificates are not supported on the dashboard', ''),
    serverName: unsupported('a server has no use for it', ''),
  }),
});

/** The whole file. */
export const FRPS_FILE = table({
  version: text, // only frp's own tooling looks at it
  auth,
  bindAddr: text,
  bindPort: PORT,
  kcpBindPort: unsupported(NO_KCP, 0),
  quicBindPort: unsupported(NO_QUIC, 0),
  proxyBindAddr: text,
  vhostHTTPPort: unsupported(NO_HTTP, 0),
  vhostHTTPTimeout: unsupported(NO_HTTP, 0, 60),
  vhostHTTPSPort: unsupported(NO_HTTP, 0),
  tcpmuxHTTPConnectPort: unsupported(NO_HTTP, 0),
  tcpmuxPassthrough: unsupported(NO_HTTP, false),
  subDomainHost: unsupported(NO_HTTP, ''),
  custom404Page: unsupported(NO_HTTP, ''),
  sshTunnelGateway: table({
    bindPort: unsupported(NO_SSH, 0),
    privateKeyFile: unsupported(NO_SSH, ''),
    autoGenPrivateKeyPath: unsupported(NO_SSH, '', './.autogen_ssh_key'),
    authorizedKeysFile: unsupported(NO_SSH, ''),
  }),
  webServer,
  enablePrometheus: flag,
  log: table({
    to: text,
    level: word('trace', 'debug', 'info', 'warn', 'error', ''),
    maxDays: unsupported('log files are not rotated here; leave that to logrotate', 0, 3),
    disablePrintColor: flag,
  }),
  transport,
  detailedErrorsToClient: flag,
  maxPortsPerClient: PORT,
  userConnTimeout: SECONDS,
  udpPacketSize: whole(0, 65_507),
  natholeAnalysisDataReserveHours: unsupported('how long NAT analyses are kept cannot be set', 0, 168),
  allowPorts: list(table({ start: PORT, end: PORT, single: PORT })),
  httpPlugins: unsupported('HTTP plugins are not supported'),
});

/** The settings of a file, by frp's own names. */
export type FrpsSettings = ValueOf<typeof FRPS_FILE>;
