/** Router specs become configurations, and each wrong field is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouterSpec, RouterSpecFrps } from '../api/gen/types.ts';
import { buildConfig, configFiles } from './config.ts';
import type { RouterDefaults } from './config.ts';
import { RouterConfigError } from './errors.ts';
import type { SecretReader } from './secrets.ts';

const noDefaults: RouterDefaults = { token: undefined, socketPath: undefined };

function reader(files: Record<string, string> = {}, env: Record<string, string> = {}): SecretReader {
  return {
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error(`cannot read ${path}: no such file or directory`);
      return text;
    },
    readEnv: (name) => env[name],
    stamp: (path) => files[path] ?? 'absent',
  };
}

function build(frps: Partial<RouterSpecFrps>, defaults = noDefaults, secrets = reader()) {
  return buildConfig({ frps: { bindPort: 7000, ...frps } }, defaults, secrets);
}

test('a spec with only a port gets the defaults of frps', () => {
  const { server, dashboard, policy } = build({});
  assert.equal(server.bindAddr, '0.0.0.0');
  assert.equal(server.bindPort, 7000);
  assert.equal(server.userConnTimeoutMs, 10_000);
  assert.equal(server.keepaliveMs, 30_000);
  assert.equal(server.heartbeatTimeoutMs, -1);
  assert.equal(server.maxPoolCount, 5);
  assert.equal(server.token, '');
  assert.equal(dashboard, undefined);
  assert.equal(policy, 'roundRobin');
});

test('proxies listen where the tunnel does unless told otherwise', () => {
  assert.equal(build({ bindAddr: '192.0.2.1' }).server.proxyBindAddr, '192.0.2.1');
  assert.equal(build({ bindAddr: '192.0.2.1', proxyBindAddr: '0.0.0.0' }).server.proxyBindAddr, '0.0.0.0');
});

test('port ranges and single ports are read in order', () => {
  const { server } = build({ allowPorts: [{ start: 7001, end: 7999 }, { single: 9000 }] });
  assert.deepEqual(server.allowPorts, [
    { start: 7001, end: 7999 },
    { start: 9000, end: 9000 },
  ]);
});

test('the token comes from the spec before the process, and is trimmed', () => {
  const secrets = reader({ '/run/a': ' from-spec\n', '/run/b': 'from-flag\n' }, { TOKEN: 'from-env' });
  const defaults: RouterDefaults = { token: { file: '/run/b' }, socketPath: undefined };
  assert.equal(build({}, defaults, secrets).server.token, 'from-flag');
  assert.equal(
    build({ auth: { tokenFrom: { file: '/run/a' } } }, defaults, secrets).server.token,
    'from-spec',
  );
  assert.equal(build({ auth: { tokenFrom: { env: 'TOKEN' } } }, defaults, secrets).server.token, 'from-env');
  assert.equal(
    build({}, { token: { value: 'plain\n' }, socketPath: undefined }, secrets).server.token,
    'plain',
  );
});

test('client certificates force TLS', () => {
  const ca = '-----BEGIN CERTIFICATE-----\nnot really\n-----END CERTIFICATE-----\n';
  assert.throws(
    () =>
      build(
        { transport: { tls: { trustedCaFile: '/run/ca' } } },
        noDefaults,
        reader({ '/run/ca': 'nothing' }),
      ),
    { field: 'spec.frps.transport.tls.trustedCaFile' },
  );
  assert.throws(
    () => build({ transport: { tls: { trustedCaFile: '/run/ca' } } }, noDefaults, reader({ '/run/ca': ca })),
    { code: 'EDGE_ERR_ROUTER_CONFIG' },
  );
});

test('a heartbeat timeout of -1 is the longest timer instead of no number', () => {
  assert.equal(build({ transport: { heartbeatTimeout: 90 } }).server.heartbeatTimeoutMs, 90_000);
  assert.ok(build({ transport: { heartbeatTimeout: -1 } }).server.heartbeatTimeoutMs > 86_400_000);
});

test('the dashboard takes address, user and password', () => {
  const secrets = reader({ '/run/pw': 'secret\n' });
  const frps = { dashboardPort: 7500, dashboardUser: 'admin', dashboardPasswordFrom: { file: '/run/pw' } };
  assert.deepEqual(build(frps, noDefaults, secrets).dashboard, {
    addr: '127.0.0.1',
    port: 7500,
    user: 'admin',
    password: 'secret',
    tls: undefined,
    hasMetrics: true,
  });
});

const WRONG: readonly [string, Partial<RouterSpecFrps>, string][] = [
  ['a port out of range', { bindPort: 70_000 }, 'spec.frps.bindPort'],
  ['a port that is no whole number', { bindPort: 7000.5 }, 'spec.frps.bindPort'],
  ['a range without its end', { allowPorts: [{ start: 7001 }] }, 'spec.frps.allowPorts[0].end'],
  [
    'a range that runs backwards',
    { allowPorts: [{ single: 1 }, { start: 9, end: 8 }] },
    'spec.frps.allowPorts[1]',
  ],
  [
    'a range that is also a single port',
    { allowPorts: [{ start: 1, end: 2, single: 3 }] },
    'spec.frps.allowPorts[0]',
  ],
  ['an empty range', { allowPorts: [{}] }, 'spec.frps.allowPorts[0]'],
  [
    'a certificate without a key',
    { transport: { tls: { certFile: '/run/c' } } },
    'spec.frps.transport.tls.keyFile',
  ],
  [
    'a key without a certificate',
    { transport: { tls: { keyFile: '/run/k' } } },
    'spec.frps.transport.tls.certFile',
  ],
  [
    'a token file that is missing',
    { auth: { tokenFrom: { file: '/run/none' } } },
    'spec.frps.auth.tokenFrom',
  ],
  ['a token variable that is not set', { auth: { tokenFrom: { env: 'NONE' } } }, 'spec.frps.auth.tokenFrom'],
  ['a token file that is empty', { auth: { tokenFrom: { file: '/run/empty' } } }, 'spec.frps.auth.tokenFrom'],
  [
    'a token with two sources',
    { auth: { tokenFrom: { file: '/run/empty', env: 'X' } } },
    'spec.frps.auth.tokenFrom',
  ],
  [
    'a missing password',
    { dashboardPort: 1, dashboardPasswordFrom: { env: 'NONE' } },
    'spec.frps.dashboardPasswordFrom',
  ],
];

for (const [what, frps, field] of WRONG) {
  test(`${what} is refused and the field named`, () => {
    assert.throws(
      () => build(frps, noDefaults, reader({ '/run/empty': ' \n' })),
      (err) =>
        err instanceof RouterConfigError && err.field === field && err.message.startsWith(`${field}: `),
    );
  });
}

test('an unknown balancing policy is refused', () => {
  const spec = { frps: { bindPort: 1 }, loadBalancing: { policy: 'fastest' } } as unknown as RouterSpec;
  assert.throws(() => buildConfig(spec, noDefaults, reader()), { field: 'spec.loadBalancing.policy' });
});

test('the files of a spec are the ones it would read', () => {
  const frps: RouterSpecFrps = {
    bindPort: 1,
    dashboardPasswordFrom: { file: '/run/pw' },
    transport: { tls: { certFile: '/run/c', keyFile: '/run/k' } },
  };
  const defaults: RouterDefaults = { token: { file: '/run/t' }, socketPath: undefined };
  assert.deepEqual(configFiles(frps, defaults), ['/run/t', '/run/c', '/run/k', '/run/pw']);
  frps.auth = { tokenFrom: { env: 'TOKEN' } };
  assert.deepEqual(configFiles(frps, defaults), ['/run/c', '/run/k', '/run/pw']);
});
