/** Tests of the sidecar's settings as a whole: sources, files, overrides, mistakes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../lib/errors.ts';
import { resolveOptions } from '../lib/options.ts';
import { buildConfig } from './options.ts';
import { sidecarOptions } from './settings.ts';

interface Sources {
  env?: Record<string, string>;
  file?: Record<string, unknown>;
  files?: Record<string, string>;
  flags?: Record<string, string[]>;
  resolvConf?: string;
}

function build({ env = {}, file, files = {}, flags = {}, resolvConf }: Sources = {}) {
  const settings = resolveOptions(sidecarOptions, {
    flags,
    env,
    file: file === undefined ? undefined : { name: 'sidecar.yaml', values: file },
    otherFileKeys: ['services'],
  });
  return buildConfig(settings, {
    hostname: 'host-1',
    dataDir: '/data',
    readFile(path, what) {
      const text = files[path];
      if (text === undefined) throw new UsageError(`${what}: cannot read ${path}`);
      return text;
    },
    resolvConf: () => resolvConf,
    host: { hostKeys: () => [], macAddresses: () => ['02:00:00:00:00:01'], machineId: () => undefined },
    perService: file === undefined ? undefined : { value: file['services'], source: 'sidecar.yaml' },
  });
}

const USAGE = { code: 'EDGE_ERR_USAGE' };

test('the defaults are those of the contract', () => {
  const config = build();
  assert.equal(config.range.text, '127.0.66.0/24');
  assert.deepEqual(config.dns, { host: '127.0.0.2', port: 53 });
  assert.equal(config.dnsAllowRemote, false);
  assert.deepEqual(config.admin, { host: '127.0.0.1', port: 7460 });
  assert.equal(config.policy, 'roundRobin');
  assert.equal(config.clusterDomain, 'cluster.local');
  assert.equal(config.cacheDir, '/data/sidecar');
  assert.deepEqual([config.pod, config.node, config.namespace], ['host-1', 'host-1', 'default']);
  assert.deepEqual([config.parkTimeoutMs, config.maxParked, config.tls.mode], [5000, 1024, 'on']);
});

test('every variable of the contract is read', () => {
  const config = build({
    env: {
      SIDECAR_MAPPED_SERVICES: 'mysql, redis.cache:6379',
      SIDECAR_EXPORTED_SERVICES: 'web=8080,db.prod=127.0.0.1:3306',
      SIDECAR_IP_RANGE: '127.0.70.0/24',
      SIDECAR_DNS_ADDR: '127.0.0.3:5353',
      SIDECAR_DNS_UPSTREAM: '192.0.2.53,192.0.2.54:5353,[::1]:53',
      SIDECAR_CLUSTER_DOMAIN: 'Example.org.',
      POD_NAMESPACE: 'prod',
      POD_NAME: 'pod-1',
      SIDECAR_ROUTERS: 'node-2,node-1',
      SIDECAR_SECRET_KEY: 's',
      EDGE_ROUTER_TOKEN: 't',
      SIDECAR_CACHE_DIR: '/cache',
      SIDECAR_ADMIN_ADDR: 'off',
    },
  });
  assert.deepEqual(
    config.mapped.map(({ name, namespace }) => `${name}.${namespace}`),
    ['mysql.prod', 'redis.cache'],
  );
  assert.deepEqual(
    config.exported.map(({ name, namespace }) => `${name}.${namespace}`),
    ['web.prod', 'db.prod'],
  );
  assert.deepEqual(config.dnsUpstreams, [
    { host: '192.0.2.53', port: 53 },
    { host: '192.0.2.54', port: 5353 },
    { host: '::1', port: 53 },
  ]);
  assert.equal(config.clusterDomain, 'example.org');
  assert.equal(config.pod, 'pod-1');
  assert.equal(config.policy, 'inOrder');
  assert.deepEqual(
    [config.secretKey, config.tokens.common, config.cacheDir, config.admin],
    ['s', 't', '/cache', undefined],
  );
});

test('a policy that is set applies to listed Routers too', () => {
  assert.equal(build({ env: { SIDECAR_ROUTERS: 'a', SIDECAR_LB_POLICY: 'latency' } }).policy, 'latency');
  assert.throws(
    () => build({ env: { SIDECAR_LB_POLICY: 'fastest' } }),
    /SIDECAR_LB_POLICY: "fastest" is not one of/u,
  );
});

test('the specific variable wins over the general one, and the flag over both', () => {
  const env = { SIDECAR_NAMESPACE: 'one', POD_NAMESPACE: 'two' };
  assert.equal(build({ env }).namespace, 'one');
  assert.equal(build({ env, flags: { namespace: ['three'] } }).namespace, 'three');
});

test('without upstreams resolv.conf says where names go, ourselves left out', () => {
  const config = build({
    env: { SIDECAR_DNS_ADDR: '127.0.0.2:53' },
    resolvConf: 'nameserver 127.0.0.2\nnameserver 192.0.2.53\n',
  });
  assert.deepEqual(config.dnsUpstreams, [{ host: '192.0.2.53', port: 53 }]);
  assert.deepEqual(config.files, ['/etc/resolv.conf']);
  assert.deepEqual(build().dnsUpstreams, []);
});

test('services come from the list and from the files together', () => {
  const config = build({
    env: {
      SIDECAR_MAPPED_SERVICES: 'web:80',
      SIDECAR_IMPORTS_FILE: '/imports',
      SIDECAR_EXPORTS_FILE: '/exports',
      SIDECAR_DNS_UPSTREAM: '192.0.2.1',
    },
    files: {
      '/imports': 'services: [{name: web, ports: [{port: 81}]}, {name: db}]',
      '/exports': 'services: [{name: api, ports: [{port: 8080}]}]',
    },
  });
  assert.deepEqual(
    config.mapped.map(({ name, ports }) => [name, ports]),
    [
      ['web', [80, 81]],
      ['db', []],
    ],
  );
  assert.deepEqual(
    config.exported.map(({ name, port }) => [name, port]),
    [['api', 8080]],
  );
  assert.deepEqual(config.files, ['/imports', '/exports']);
});

test('secrets come from files without their line feed, and a variable wins over a file', () => {
  const files = { '/key': 'secret\n', '/token': 'node-1: one\n"*": two\n' };
  const config = build({ env: { SIDECAR_SECRET_KEY_FILE: '/key', EDGE_ROUTER_TOKEN_FILE: '/token' }, files });
  assert.equal(config.secretKey, 'secret');
  assert.equal(config.tokens.byRouter.get('node-1'), 'one');
  assert.equal(
    build({ env: { EDGE_ROUTER_TOKEN_FILE: '/token', EDGE_ROUTER_TOKEN: 't' }, files }).tokens.common,
    't',
  );
});

test('a configuration file sets everything in camelCase, also for single services', () => {
  const config = build({
    file: {
      mappedServices: ['mysql', 'redis.cache'],
      parkTimeout: '2s',
      adminAddr: '127.0.0.1:0',
      services: [
        {
          name: 'redis',
          namespace: 'cache',
          lbPolicy: 'latency',
          secretKey: 'r',
          requireSealed: true,
          parkTimeout: '500ms',
          connectTimeout: '1s',
          idleTimeout: 60,
          maxConnections: 5,
          locality: 'off',
          aliases: ['Cache.example.org.', 'cache'],
          healthCheck: { type: 'http', path: '/live', interval: '1s' },
        },
      ],
    },
  });
  assert.equal(config.mapped.length, 2);
  assert.equal(config.parkTimeoutMs, 2000);
  assert.deepEqual(config.overrides.get('redis.cache'), {
    policy: 'latency',
    secretKey: 'r',
    requireSealed: true,
    parkTimeoutMs: 500,
    connectTimeoutMs: 1000,
    idleTimeoutMs: 60_000,
    maxConnections: 5,
    locality: 'off',
    aliases: ['cache.example.org', 'cache'],
    healthCheck: {
      type: 'http',
      path: '/live',
      headers: {},
      port: undefined,
      intervalMs: 1000,
      timeoutMs: 1000,
      failureThreshold: 1,
      successThreshold: 1,
    },
  });
});

test('mistakes are usage errors that name their source', () => {
  const wrong: [Sources, RegExp][] = [
    [{ env: { SIDECAR_MAPPED_SERVICES: 'a b' } }, /--mapped-services \(SIDECAR_MAPPED_SERVICES\): "a b"/u],
    [
      { env: { SIDECAR_EXPORTED_SERVICES: 'web' } },
      /--exported-services \(SIDECAR_EXPORTED_SERVICES\): "web"/u,
    ],
    [{ env: { SIDECAR_MAPPED_SERVICES: 'ntp/sctp' } }, /protocol "sctp"/u],
    [{ env: { SIDECAR_IP_RANGE: 'x' } }, /--ip-range .*: "x"/u],
    [{ env: { SIDECAR_DNS_ADDR: 'nowhere' } }, /--dns-addr .*: "nowhere"/u],
    [{ env: { SIDECAR_DNS_UPSTREAM: 'dns.example.org' } }, /--dns-upstream .*: "dns.example.org"/u],
    [{ env: { SIDECAR_ADMIN_ADDR: '127.0.0.1' } }, /--admin-addr/u],
    [{ env: { SIDECAR_NAMESPACE: 'A' } }, /namespace "A"/u],
    [{ env: { SIDECAR_CLUSTER_DOMAIN: 'a..b' } }, /--cluster-domain/u],
    [{ env: { SIDECAR_IMPORTS_FILE: '/missing' } }, /--imports-file .*: cannot read/u],
    [{ env: { SIDECAR_ROUTER_TLS: 'maybe' } }, /SIDECAR_ROUTER_TLS/u],
    [{ file: { mappedService: 'x' } }, /unknown setting "mappedService"; did you mean "mappedServices"/u],
    [{ file: { services: {} } }, /services: wanted a list/u],
    [{ file: { services: [{ name: 'a', policy: 'x' }] } }, /services\[0\]: unknown setting "policy"/u],
    [{ file: { services: [{ name: 'a', parkTimeout: 'soon' }] } }, /services\[0\]: parkTimeout/u],
    [{ file: { services: [{ name: 'a', maxConnections: 0 }] } }, /services\[0\]: maxConnections/u],
    [{ file: { services: [{ name: 'a', aliases: ['a b'] }] } }, /services\[0\]\.aliases: label "a b"/u],
    [
      {
        env: { SIDECAR_EXPORTED_SERVICES: 'ntp=123/udp' },
        file: { services: [{ name: 'ntp', healthCheck: {} }] },
      },
      /service ntp\.default: a health check of a UDP service needs a port/u,
    ],
  ];
  for (const [sources, message] of wrong) {
    assert.throws(
      () => build(sources),
      (err: Error) => {
        assert.match(err.message, message);
        assert.equal((err as UsageError).code, USAGE.code);
        return true;
      },
    );
  }
});
