/** Tests of what configuration and Routers ask for: clients and TLS, listeners, names, the choices of a connection. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeFrpClient } from '../../test/support/fake-frp-client.ts';
import { resolveOptions } from '../lib/options.ts';
import { clientTargets, mappingDefinitions, routerChoices, zoneEntries } from './desired.ts';
import { buildConfig } from './options.ts';
import { sidecarOptions } from './settings.ts';
import type { MappingStatus } from './mappings.ts';
import type { Provider, RouterView } from './routers.ts';
import type { Protocol } from './services.ts';

const config = (env: Record<string, string>, services?: unknown) =>
  buildConfig(resolveOptions(sidecarOptions, { flags: {}, env }), {
    hostname: 'pod-1',
    dataDir: '/data',
    readFile: () => 'PEM',
    resolvConf: () => undefined,
    host: { hostKeys: () => [], macAddresses: () => [], machineId: () => undefined },
    perService: { value: services, source: 'f' },
  });

const view = (name: string, options: Partial<RouterView> = {}): RouterView => ({
  name,
  isOwn: false,
  isStale: false,
  addresses: [{ host: '192.0.2.1', port: 7000 }],
  transport: { tcpMux: true, keepaliveMs: 30_000, maxPoolCount: 2, isTlsForced: false, additionalScopes: [] },
  services: new Map(),
  ...options,
});

const offers = (...providers: Partial<Provider>[]) =>
  new Map([
    [
      'web.default',
      {
        ports: [],
        udpPorts: [],
        providers: providers.map((provider, at) => ({
          id: `p${at}`,
          port: undefined,
          protocol: 'TCP' as const,
          node: '',
          isReady: true,
          message: '',
          ...provider,
        })),
      },
    ],
  ]);

test('TLS to Routers follows the mode, the address and what the Router demands', () => {
  const settings = (
    mode: string,
    address: { host: string; port: number } | { path: string },
    isTlsForced = false,
  ) => {
    const { transport } = view('a');
    const [target] = clientTargets(config({ SIDECAR_ROUTER_TLS: mode }), [
      view('a', { transport: { ...transport, isTlsForced } }),
    ]);
    return target?.settings(address).tls !== undefined;
  };
  const remote = { host: '192.0.2.1', port: 7000 };
  const local = { host: '127.0.0.1', port: 7000 };
  const socket = { path: '/run/router.sock' };
  assert.deepEqual(
    [settings('on', remote), settings('on', local), settings('on', socket)],
    [true, true, false],
  );
  assert.deepEqual(
    [settings('auto', remote), settings('auto', local), settings('auto', socket)],
    [true, false, false],
  );
  assert.deepEqual(
    [settings('off', remote), settings('off', local), settings('off', socket)],
    [false, false, false],
  );
  assert.deepEqual([settings('off', remote, true), settings('on', socket, true)], [true, true]);
});

test('a client says who it is, brings its token and keeps connections ready only for exports', () => {
  const env = { SIDECAR_EXPORTED_SERVICES: 'web=80', EDGE_ROUTER_TOKEN: 't', SIDECAR_ROUTER_CA_FILE: '/ca' };
  const address = { host: 'router.example.org', port: 7000 };
  const exporter = clientTargets(config(env), [view('a')])[0]?.settings(address);
  assert.equal(exporter?.token, 't');
  assert.equal(exporter?.poolCount, 2);
  assert.deepEqual(exporter?.metas, { pod: 'pod-1', namespace: 'default', node: 'pod-1' });
  assert.deepEqual(exporter?.tls, { ca: 'PEM', servername: 'router.example.org' });
  assert.equal(
    clientTargets(config({ SIDECAR_MAPPED_SERVICES: 'web' }), [view('a')])[0]?.settings(address).poolCount,
    0,
  );
});

test('a listener has the ports of its mapping, else those of the providers, and its own settings', () => {
  const definitions = mappingDefinitions(
    config({ SIDECAR_MAPPED_SERVICES: 'web:80,web:53/udp,db,ntp/udp', SIDECAR_SECRET_KEY: 's' }, [
      {
        name: 'db',
        secretKey: 'd',
        lbPolicy: 'random',
        parkTimeout: '1s',
        idleTimeout: '1m',
        locality: 'off',
      },
    ]),
    new Map([
      ['web.default', '127.0.66.1'],
      ['db.default', '127.0.66.2'],
      ['ntp.default', '127.0.66.3'],
    ]),
    (key, protocol) =>
      (key === 'db.default' ? [3306] : [1]).map((port) => (protocol === 'UDP' ? port + 1 : port)),
  );
  const defaults = {
    policy: 'roundRobin',
    parkTimeoutMs: 5000,
    connectTimeoutMs: 5000,
    idleTimeoutMs: 0,
    maxConnections: 16_384,
    locality: 'sameNode',
    preferNode: 'pod-1',
  };
  assert.deepEqual(definitions, [
    {
      key: 'web.default',
      address: '127.0.66.1',
      ports: [80],
      udpPorts: [53],
      ...defaults,
      secretKey: 's',
    },
    {
      key: 'db.default',
      address: '127.0.66.2',
      ports: [3306],
      udpPorts: [3307],
      ...defaults,
      policy: 'random',
      secretKey: 'd',
      parkTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      locality: 'off',
      preferNode: '',
    },
    {
      key: 'ntp.default',
      address: '127.0.66.3',
      ports: [],
      udpPorts: [2],
      ...defaults,
      secretKey: 's',
    },
  ]);
});

test('a connection can go through Routers that are online and have a ready provider', () => {
  const phases = { a: 'online', b: 'waiting', c: 'online', d: 'online', e: 'online' } as const;
  const clientOf = (name: string) => {
    const client = new FakeFrpClient({} as never);
    client.phase = phases[name as keyof typeof phases];
    return { name, client, address: { path: '' } };
  };
  const views = [
    view('a', { services: offers({ port: 80 }) }),
    view('b', { services: offers({ port: 80 }) }),
    view('c', { services: offers({ port: 80, isReady: false }) }),
    view('d', { services: offers({ port: 80 }), isStale: true }),
    view('e'),
  ];
  const request = {
    key: 'web.default',
    port: 80,
    protocol: 'TCP' as const,
    isExact: false,
    connections: new Map([['d', 2]]),
    avoided: new Set<string>(),
    preferNode: '',
    isBlind: false,
  };
  const summary = (isBlind: boolean) =>
    routerChoices({ ...request, isBlind }, views, clientOf).map(({ name, tier, connections }) => [
      name,
      tier,
      connections,
    ]);
  assert.deepEqual(summary(false), [
    ['a', 1, 0],
    ['d', 2, 2],
  ]);
  assert.deepEqual(summary(true), [
    ['a', 1, 0],
    ['c', 3, 0],
    ['d', 2, 2],
    ['e', 3, 0],
  ]);
});

test('a provider beside the own Router comes first, Routers whose providers all failed come last', () => {
  const client = new FakeFrpClient({} as never);
  client.phase = 'online';
  const views = [
    view('node-1', {
      isOwn: true,
      services: offers({ port: 80, node: 'node-1', id: 'near' }, { port: 80, id: 'other' }),
    }),
    view('node-2', { services: offers({ port: 80, node: 'node-1', id: 'near' }) }),
    view('node-3', { services: offers({ port: 80, id: 'far' }), isStale: true }),
  ];
  const tiers = (preferNode: string, ...avoided: string[]) =>
    routerChoices(
      {
        key: 'web.default',
        port: 80,
        protocol: 'TCP',
        isExact: false,
        connections: new Map(),
        avoided: new Set(avoided),
        preferNode,
        isBlind: false,
      },
      views,
      (name) => ({ name, client, address: { path: '' } }),
    ).map(({ tier }) => tier);
  assert.deepEqual(tiers('node-1'), [0, 1, 2]);
  assert.deepEqual(tiers(''), [1, 1, 2]);
  assert.deepEqual(tiers('node-1', 'near'), [1, 4, 2]);
  assert.deepEqual(tiers('node-1', 'near', 'other', 'far'), [4, 4, 4]);
});

test('the port is part of the request only where it tells providers apart', () => {
  const client = new FakeFrpClient({} as never);
  client.phase = 'online';
  const ask = (
    providers: { port: number; protocol?: Protocol }[],
    port: number,
    isExact: boolean,
    protocol: Protocol = 'TCP',
  ) =>
    routerChoices(
      {
        key: 'web.default',
        port,
        protocol,
        isExact,
        connections: new Map(),
        avoided: new Set(),
        preferNode: '',
        isBlind: false,
      },
      [view('a', { services: offers(...providers) })],
      (name) => ({ name, client, address: { path: '' } }),
    )[0]?.proxyName;
  assert.equal(ask([{ port: 8080 }], 80, false), 'web.default');
  assert.equal(ask([{ port: 80 }, { port: 81 }], 80, false), 'web.default:80');
  assert.equal(ask([{ port: 80 }, { port: 81 }], 9000, false), 'web.default');
  assert.equal(ask([{ port: 80 }], 80, true), 'web.default:80');
  assert.equal(ask([{ port: 80 }], 81, true), undefined);
  const both = [{ port: 53 }, { port: 53, protocol: 'UDP' as const }];
  assert.equal(ask(both, 53, false), 'web.default');
  assert.equal(ask(both, 53, false, 'UDP'), 'web.default/udp');
  assert.equal(ask(both, 53, true, 'UDP'), 'web.default:53/udp');
  assert.equal(ask([{ port: 53 }], 53, false, 'UDP'), undefined);
});

test('a name is ready when something listens, and bare names answer when they are unambiguous', () => {
  const settings = config({ SIDECAR_MAPPED_SERVICES: 'web,db.prod.east,db.test' }, [
    { name: 'web', aliases: ['www.example.org'] },
  ]);
  const addresses = new Map([
    ['web.default', '127.0.66.1'],
    ['db.prod', '127.0.66.2'],
    ['db.test', '127.0.66.3'],
  ]);
  const portsOf = (key: string): MappingStatus['ports'] =>
    key === 'db.test'
      ? [{ port: 1, protocol: 'TCP', state: 'failed', error: 'x' }]
      : [
          { port: 80, protocol: 'TCP', state: 'listening', error: undefined },
          { port: 53, protocol: 'UDP', state: 'listening', error: undefined },
        ];
  const entries = zoneEntries(settings, addresses, portsOf, () => false);
  assert.deepEqual(
    entries.map(({ name, isReady, aliases }) => [name, isReady, aliases]),
    [
      ['web', true, ['www.example.org', 'web']],
      ['db', true, ['db.prod.svc.east', 'db.prod.east']],
      ['db', false, []],
    ],
  );
  assert.deepEqual(entries[0]?.ports, [
    { port: 80, protocol: 'tcp' },
    { port: 53, protocol: 'udp' },
  ]);
  const named = settings.mapped.map((service) => ({
    ...service,
    portNames: [
      { name: 'http', port: 80, protocol: 'TCP' as const },
      { name: 'dns', port: 53, protocol: 'TCP' as const },
    ],
  }));
  assert.deepEqual(zoneEntries({ ...settings, mapped: named }, addresses, portsOf, () => false)[0]?.ports, [
    { port: 80, protocol: 'tcp', name: 'http' },
    { port: 53, protocol: 'udp' },
  ]);
  const strict = { ...settings, notReadyAnswer: 'servfail' as const };
  const isReady = (hasProvider: boolean) =>
    zoneEntries(strict, addresses, portsOf, () => hasProvider).map((entry) => entry.isReady);
  assert.deepEqual(isReady(false), [false, false, false]);
  assert.deepEqual(isReady(true), [true, true, false]);
});
