/** frps configuration files become configurations, and each key that cannot be used is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatYaml } from '../../lib/yaml.ts';
import type { RouterConfig, RouterDefaults } from '../config.ts';
import type { SecretReader } from '../secrets.ts';
import { buildFrpsConfig, frpsFiles, frpsLog, readFrpsSettings } from './config.ts';

const NO_OVERRIDES: RouterDefaults = { token: undefined, socketPath: undefined };

function reader(files: Readonly<Record<string, string>>): SecretReader {
  return {
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error(`cannot read ${path}: no such file or directory`);
      return text;
    },
    readEnv: (name) => (name === 'PORT' ? '7100' : undefined),
    stamp: () => '',
  };
}

function load(
  text: string,
  given: { name?: string; files?: Record<string, string>; overrides?: RouterDefaults } = {},
): RouterConfig {
  const path = given.name ?? 'frps.toml';
  const secrets = reader({ ...given.files, [path]: text });
  const settings = readFrpsSettings(path, secrets);
  return buildFrpsConfig(path, settings, given.overrides ?? NO_OVERRIDES, secrets);
}

test('an empty file has the defaults of frps', () => {
  for (const name of ['frps.toml', 'frps.yaml', 'frps']) {
    const { server, dashboard, policy } = load('', { name });
    assert.equal(server.bindAddr, '0.0.0.0');
    assert.equal(server.proxyBindAddr, '0.0.0.0');
    assert.equal(server.bindPort, 7000);
    assert.equal(server.token, '');
    assert.equal(server.userConnTimeoutMs, 10_000);
    assert.equal(server.udpPacketSize, 1500);
    assert.equal(server.keepaliveMs, 30_000);
    assert.equal(server.heartbeatTimeoutMs, -1);
    assert.equal(server.maxPoolCount, 5);
    assert.equal(server.maxPortsPerClient, 0);
    assert.deepEqual(server.allowPorts, []);
    assert.equal(dashboard, undefined);
    assert.equal(policy, 'roundRobin');
  }
});

const FULL = {
  bindAddr: '192.0.2.1',
  bindPort: 7100,
  proxyBindAddr: '192.0.2.2',
  auth: { method: 'token', token: 'secret', additionalScopes: ['HeartBeats', 'NewWorkConns'] },
  transport: {
    tcpMux: false,
    tcpMuxKeepaliveInterval: 15,
    maxPoolCount: 9,
    heartbeatTimeout: 60,
    tls: { force: true },
  },
  webServer: { addr: '0.0.0.0', port: 7500, user: 'admin', password: 'hunter2' },
  enablePrometheus: true,
  allowPorts: [{ start: 2000, end: 3000 }, { single: 3001 }],
  maxPortsPerClient: 4,
  userConnTimeout: 3,
  udpPacketSize: 1400,
  log: { to: '/var/log/frps.log', level: 'trace', disablePrintColor: true },
};

const FULL_TOML = `
bindAddr = "192.0.2.1"
bindPort = {{ .Envs.PORT }}
proxyBindAddr = "192.0.2.2"
enablePrometheus = true
maxPortsPerClient = 4
userConnTimeout = 3
udpPacketSize = 1400
allowPorts = [ { start = 2000, end = 3000 }, { single = 3001 } ]
auth.method = "token"
auth.token = "secret"
auth.additionalScopes = ["HeartBeats", "NewWorkConns"]
transport.tcpMux = false
transport.tcpMuxKeepaliveInterval = 15
transport.maxPoolCount = 9
transport.heartbeatTimeout = 60
transport.tls.force = true
[webServer]
addr = "0.0.0.0"
port = 7500
user = "admin"
password = "hunter2"
[log]
to = "/var/log/frps.log"
level = "trace"
disablePrintColor = true
`;

test('TOML, JSON and YAML of the same settings are the same configuration', () => {
  const toml = load(FULL_TOML);
  assert.equal(toml.server.bindPort, 7100);
  assert.equal(toml.server.token, 'secret');
  assert.equal(toml.server.heartbeatTimeoutMs, 60_000);
  assert.equal(toml.server.keepaliveMs, 15_000);
  assert.equal(toml.server.tls.force, true);
  assert.deepEqual(toml.server.additionalScopes, ['HeartBeats', 'NewWorkConns']);
  assert.deepEqual(toml.server.allowPorts, [
    { start: 2000, end: 3000 },
    { start: 3001, end: 3001 },
  ]);
  assert.deepEqual(toml.dashboard, {
    addr: '0.0.0.0',
    port: 7500,
    user: 'admin',
    password: 'hunter2',
    tls: undefined,
    hasMetrics: true,
  });
  // the extension does not matter where the text is not TOML (frp protocol 8.1)
  const json = JSON.stringify(FULL);
  for (const name of ['frps.json', 'frps.yaml', 'frps.conf']) assert.deepEqual(load(json, { name }), toml);
  const yaml = `.anchors: &port 7100\n${formatYaml(FULL).replace('bindPort: 7100', 'bindPort: *port')}`;
  assert.deepEqual(load(yaml, { name: 'frps.yml' }), toml);
});

test('the log follows the file', () => {
  const secrets = reader({ 'frps.toml': FULL_TOML, 'empty.toml': '' });
  assert.deepEqual(frpsLog(readFrpsSettings('frps.toml', secrets)), {
    file: '/var/log/frps.log',
    level: 'debug',
    hasColor: false,
  });
  assert.deepEqual(frpsLog(readFrpsSettings('empty.toml', secrets)), {
    file: undefined,
    level: 'info',
    hasColor: true,
  });
});

test('keys are found in any case', () => {
  const { server } = load('BINDPORT = 7001\nAuth.TOKEN = "x"\n');
  assert.equal(server.bindPort, 7001);
  assert.equal(server.token, 'x');
});

test('a token file is read and trimmed, and is one of the files to look at', () => {
  const text =
    'auth.tokenSource = { type = "file", file = { path = "/run/token" } }\ntransport.tls.keyFile = ""\n';
  assert.equal(load(text, { files: { '/run/token': ' secret\n' } }).server.token, 'secret');
  const settings = readFrpsSettings('frps.toml', reader({ 'frps.toml': text }));
  assert.deepEqual(frpsFiles(settings, NO_OVERRIDES), ['/run/token']);
  assert.deepEqual(frpsFiles(settings, { token: { file: '/run/other' }, socketPath: undefined }), [
    '/run/other',
  ]);
});

test('a token given by flag wins over the file', () => {
  const overrides: RouterDefaults = { token: { value: 'flag' }, socketPath: '/run/edge.sock' };
  const { server } = load('auth.token = "file"\n', { overrides });
  assert.equal(server.token, 'flag');
  assert.equal(server.socketPath, '/run/edge.sock');
});

test('a heartbeat timeout that is off is never, and zero is the default', () => {
  assert.ok(load('transport.heartbeatTimeout = -1').server.heartbeatTimeoutMs > 1e9);
  assert.equal(load('transport.heartbeatTimeout = 0').server.heartbeatTimeoutMs, -1);
  assert.ok(load('transport.heartbeatTimeout = 31536000').server.heartbeatTimeoutMs < 2 ** 31);
});

test('what frps can do besides is accepted with a value that asks for nothing', () => {
  load(`
version = "v1"
kcpBindPort = 0
quicBindPort = 0
vhostHTTPPort = 0
vhostHTTPTimeout = 60
vhostHTTPSPort = 0
tcpmuxHTTPConnectPort = 0
tcpmuxPassthrough = false
subDomainHost = ""
custom404Page = ""
natholeAnalysisDataReserveHours = 168
detailedErrorsToClient = true
httpPlugins = []
transport.tcpKeepalive = 7200
transport.quic.keepalivePeriod = 10
sshTunnelGateway.autoGenPrivateKeyPath = "./.autogen_ssh_key"
webServer.assetsDir = ""
log.maxDays = 3
auth.oidc.issuer = ""
`);
});

for (const [what, text, message] of [
  ['an unknown key', 'bnidPort = 1', /^frps\.toml: bnidPort: unknown key; did you mean "bindPort"\?$/u],
  [
    'an unknown key in a table',
    '[transport]\ntcpMx = true',
    /^frps\.toml: transport\.tcpMx: unknown key; did you mean "tcpMux"/u,
  ],
  [
    'an unknown key in a list',
    'allowPorts = [{ from = 1 }]',
    /^frps\.toml: allowPorts\[0\]\.from: unknown key/u,
  ],
  ['a key given in two cases', 'bindPort = 1\nbindport = 2', /bindport: is given twice/u],
  ['a text for a number', 'bindPort = "7000"', /bindPort: wants a whole number from 0 to 65535, got "7000"/u],
  ['a port out of range', 'bindPort = 70000', /bindPort: wants a whole number/u],
  ['a number for a text', 'bindAddr = 1', /bindAddr: wants a text/u],
  ['a date', 'bindAddr = 2026-01-02', /bindAddr: wants a text, got a date/u],
  ['a text for a table', 'transport = "tcp"', /transport: wants a table/u],
  ['a table for a list', 'allowPorts = { start = 1 }', /allowPorts: wants a list/u],
  ['a range without an end', 'allowPorts = [{ start = 1 }]', /allowPorts\[0\]\.end: is missing/u],
  ['a range backwards', 'allowPorts = [{ start = 9, end = 8 }]', /start 9 is after end 8/u],
  [
    'a scope that does not exist',
    'auth.additionalScopes = ["All"]',
    /auth\.additionalScopes\[0\]: wants one of/u,
  ],
  [
    'HTTP routing',
    'vhostHTTPPort = 80',
    /vhostHTTPPort: routing by HTTP host is not supported; remove the key or set it to 0/u,
  ],
  ['HTTPS routing', 'vhostHTTPSPort = 443', /vhostHTTPSPort: /u],
  ['tcpmux', 'tcpmuxHTTPConnectPort = 5002', /tcpmuxHTTPConnectPort: /u],
  ['KCP', 'kcpBindPort = 7000', /kcpBindPort: KCP is not supported/u],
  ['QUIC', 'quicBindPort = 7000', /quicBindPort: QUIC is not supported/u],
  [
    'QUIC options',
    'transport.quic.maxIdleTimeout = 5',
    /transport\.quic\.maxIdleTimeout: QUIC is not supported/u,
  ],
  ['a subdomain', 'subDomainHost = "example.org"', /subDomainHost: /u],
  ['the SSH gateway', 'sshTunnelGateway.bindPort = 2200', /sshTunnelGateway\.bindPort: the SSH gateway/u],
  ['plugins', '[[httpPlugins]]\nname = "a"', /httpPlugins: HTTP plugins are not supported; remove the key$/u],
  ['OIDC', 'auth.method = "oidc"', /auth\.method: OIDC is not supported/u],
  ['an OIDC issuer', 'auth.oidc.issuer = "https://example.org"', /auth\.oidc\.issuer: OIDC/u],
  [
    'a token from a command',
    'auth.tokenSource = { type = "exec", exec = { command = "x" } }',
    /auth\.tokenSource\.exec: a token from a command/u,
  ],
  [
    'a token source without a path',
    'auth.tokenSource = { type = "file" }',
    /auth\.tokenSource\.file\.path: is missing/u,
  ],
  [
    'a token beside its source',
    'auth.token = "hidden"\nauth.tokenSource = { type = "file", file = { path = "/x" } }',
    /auth\.tokenSource: stands beside auth\.token/u,
  ],
  [
    'a token file that is not there',
    'auth.tokenSource = { type = "file", file = { path = "/none" } }',
    /auth\.tokenSource\.file\.path: cannot read \/none/u,
  ],
  [
    'a certificate without its key',
    'transport.tls.certFile = "/c"',
    /transport\.tls\.keyFile: is missing beside certFile/u,
  ],
  ['profiles', 'webServer.pprofEnable = true', /webServer\.pprofEnable: /u],
  ['log rotation', 'log.maxDays = 7', /log\.maxDays: /u],
  ['a log level that does not exist', 'log.level = "loud"', /log\.level: wants one of trace/u],
] as const) {
  test(`${what} is refused by name`, () => {
    assert.throws(() => load(text), { code: 'EDGE_ERR_ROUTER_CONFIG', message });
  });
}

test('broken files are refused with their place', () => {
  assert.throws(() => load('bindPort = '), { code: 'EDGE_ERR_TOML_PARSE', message: /^frps\.toml:1:/u });
  assert.throws(() => load('a: [', { name: 'frps.yaml' }), {
    code: 'EDGE_ERR_YAML_PARSE',
    message: /^frps\.yaml:1:/u,
  });
  const code = 'EDGE_ERR_ROUTER_CONFIG';
  assert.throws(() => load('{"bindPort":', { name: 'frps.json' }), {
    code,
    message: /^frps\.json: not valid JSON/u,
  });
  assert.throws(() => load('just words', { name: 'frps' }), { code, message: /^frps: is neither/u });
});

test('the INI format is refused with the way out', () => {
  assert.throws(() => load('# old\n[common]\nbind_port = 7000\n', { name: 'frps.ini' }), {
    code: 'EDGE_ERR_ROUTER_CONFIG',
    message: /^frps\.ini: is in the INI format.*rewrite it as TOML/u,
  });
});

test('no error holds the token', () => {
  for (const text of ['auth.token = "hunter2"\nbnid = 1', 'auth.token = "hunter2"\nwebServer.port = "x"']) {
    assert.throws(
      () => load(text),
      (err: Error) => !err.message.includes('hunter2'),
    );
  }
});
