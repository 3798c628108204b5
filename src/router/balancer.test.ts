/** Visitors that ask for a service get a provider by policy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleProxy, serviceMetas } from '../../test/support/router-samples.ts';
import type { ProxyInfo, TargetRequest } from '../tunnel/frps/types.ts';
import { Balancer } from './balancer.ts';
import type { BalancingPolicy } from './config.ts';

const mysql = serviceMetas('mysql', 'default', 3306);
const three = ['a', 'b', 'c'].map((pod) => sampleProxy(`mysql.default.${pod}`, { metas: mysql }));

function setup(policy: BalancingPolicy, proxies: ProxyInfo[]) {
  const state = { proxies, now: 0, listed: 0, random: 0 };
  const balancer = new Balancer({
    proxies: () => {
      state.listed++;
      return state.proxies;
    },
    now: () => state.now,
    random: () => state.random,
  });
  balancer.policy = policy;
  return { state, balancer };
}

function ask(name: string, fields: Partial<TargetRequest> = {}): TargetRequest {
  return {
    name,
    sourceAddr: '192.0.2.1:1000',
    preferNode: '',
    avoid: new Set(),
    admits: () => true,
    ...fields,
  };
}

test('round robin takes turns', () => {
  const { balancer } = setup('roundRobin', three);
  const picked = Array.from({ length: 6 }, () => balancer.pick(ask('mysql.default'))?.slice(-1));
  assert.deepEqual(picked, ['a', 'b', 'c', 'a', 'b', 'c']);
});

test('round robin passes over providers that do not admit the visitor', () => {
  const { balancer } = setup('roundRobin', three);
  const admits = (name: string) => !name.endsWith('b');
  const picked = Array.from({ length: 4 }, () => balancer.pick(ask('mysql.default', { admits }))?.slice(-1));
  assert.deepEqual(picked, ['a', 'c', 'a', 'c']);
});

test('nobody is picked for an unknown service or when all refuse', () => {
  const { balancer } = setup('roundRobin', three);
  assert.equal(balancer.pick(ask('redis.default')), undefined);
  assert.equal(balancer.pick(ask('mysql')), undefined);
  assert.equal(balancer.pick(ask('')), undefined);
  for (const policy of ['roundRobin', 'leastConnections', 'random', 'sourceHash'] as const) {
    balancer.policy = policy;
    assert.equal(balancer.pick(ask('mysql.default', { admits: () => false })), undefined);
  }
});

test('a port narrows the choice', () => {
  const { balancer } = setup('roundRobin', [
    sampleProxy('web.default.a', { metas: serviceMetas('web', 'default', 80) }),
    sampleProxy('web.default.b', { metas: serviceMetas('web', 'default', 443) }),
  ]);
  assert.equal(balancer.pick(ask('web.default:443')), 'web.default.b');
  assert.equal(balancer.pick(ask('web.default:443')), 'web.default.b');
  assert.equal(balancer.pick(ask('web.default:22')), undefined);
});

test('a name without protocol means TCP where the service has both', () => {
  const { balancer } = setup('roundRobin', [
    sampleProxy('dns.default.u', { type: 'sudp', metas: serviceMetas('dns', 'default', 53, 'UDP') }),
    sampleProxy('dns.default.t', { metas: serviceMetas('dns', 'default', 53) }),
    sampleProxy('ntp.default.u', { type: 'sudp', metas: serviceMetas('ntp', 'default', 123, 'UDP') }),
  ]);
  assert.equal(balancer.pick(ask('dns.default:53')), 'dns.default.t');
  assert.equal(balancer.pick(ask('dns.default:53/udp')), 'dns.default.u');
  assert.equal(balancer.pick(ask('ntp.default')), 'ntp.default.u');
});

test('only proxies that have visitors are picked', () => {
  const { balancer } = setup('roundRobin', [sampleProxy('web.default.a', { type: 'tcp', remotePort: 7001 })]);
  assert.equal(balancer.pick(ask('web.default')), undefined);
});

test('the user prefix of a visitor finds the providers of that user', () => {
  const { balancer } = setup('roundRobin', [sampleProxy('alice.mysql.default.a', { user: 'alice' })]);
  assert.equal(balancer.pick(ask('alice.mysql.default')), 'alice.mysql.default.a');
  assert.equal(balancer.pick(ask('bob.mysql.default')), undefined);
});

test('least connections counts what was sent since the last look', () => {
  const proxies = three.map((proxy, at) => ({ ...proxy, connections: [2, 0, 1][at] ?? 0 }));
  const { balancer } = setup('leastConnections', proxies);
  const picked = Array.from({ length: 6 }, () => balancer.pick(ask('mysql.default'))?.slice(-1) ?? '');
  assert.equal(picked[0], 'b');
  assert.deepEqual(
    ['a', 'b', 'c'].map((pod) => picked.filter((one) => one === pod).length),
    [1, 3, 2],
  );
});

test('random draws by the given source and still finds the only one that admits', () => {
  const { balancer, state } = setup('random', three);
  state.random = 0.5;
  assert.equal(balancer.pick(ask('mysql.default')), 'mysql.default.b');
  assert.equal(
    balancer.pick(ask('mysql.default', { admits: (name) => name.endsWith('c') })),
    'mysql.default.c',
  );
});

test('source hash keeps a source with its provider, whatever the port', () => {
  const { balancer } = setup('sourceHash', three);
  const first = balancer.pick(ask('mysql.default', { sourceAddr: '192.0.2.9:1' }));
  assert.equal(balancer.pick(ask('mysql.default', { sourceAddr: '192.0.2.9:65000' })), first);
  assert.equal(balancer.pick(ask('mysql.default', { sourceAddr: '192.0.2.9' })), first);
});

test('source hash moves only the sources of a provider that went, and spreads them all', () => {
  const { balancer, state } = setup('sourceHash', three);
  const sources = Array.from({ length: 300 }, (_, at) => `198.51.100.${at % 250}x${at}:80`);
  const pick = (sourceAddr: string) => balancer.pick(ask('mysql.default', { sourceAddr })) ?? '';
  const before = sources.map(pick);
  for (const proxy of three) {
    const share = before.filter((name) => name === proxy.name).length;
    assert.ok(share > 60 && share < 140, `${proxy.name} has ${share} of 300`);
  }
  state.proxies = three.slice(0, 2);
  state.now += 1000;
  balancer.invalidate();
  const after = sources.map(pick);
  for (const [at, name] of before.entries()) if (!name.endsWith('c')) assert.equal(after[at], name);
});

test('the proxies are listed once a change, not once a connection', () => {
  const { balancer, state } = setup('roundRobin', three);
  for (let at = 0; at < 1000; at++) {
    balancer.invalidate();
    balancer.pick(ask('mysql.default'));
  }
  assert.equal(state.listed, 1);
  state.now += 50;
  balancer.pick(ask('mysql.default'));
  assert.equal(state.listed, 2);
});

test('a provider that has just registered is found at once', () => {
  const { balancer, state } = setup('roundRobin', []);
  assert.equal(balancer.pick(ask('mysql.default')), undefined);
  state.proxies = three;
  balancer.invalidate();
  assert.equal(balancer.pick(ask('mysql.default')), 'mysql.default.a');
});

test('the turn goes on after the providers changed', () => {
  const { balancer, state } = setup('roundRobin', three);
  balancer.pick(ask('mysql.default'));
  state.now += 100;
  balancer.invalidate();
  assert.equal(balancer.pick(ask('mysql.default')), 'mysql.default.b');
});

test('providers on the visitor’s node come first, and those it had no luck with last', () => {
  const on = (name: string, node: string) =>
    sampleProxy(name, { metas: { ...serviceMetas('mysql', 'default', 3306), node } });
  const { balancer } = setup('roundRobin', [
    on('mysql.default.a', 'node-1'),
    on('mysql.default.b', 'node-2'),
    on('mysql.default.c', 'node-1'),
  ]);
  const pick = (preferNode: string, ...avoid: string[]) =>
    balancer
      .pick(ask('mysql.default', { preferNode, avoid: new Set(avoid.map((id) => `mysql.default.${id}`)) }))
      ?.slice(-1);
  assert.deepEqual([pick('node-1'), pick('node-1'), pick('node-1')], ['a', 'c', 'a']);
  assert.equal(pick('node-1', 'a'), 'c');
  assert.equal(pick('node-1', 'a', 'c'), 'b');
  assert.equal(pick('node-3', 'b'), 'c');
  assert.ok(pick('', 'a', 'b', 'c')); // rather one that failed than none
});

test('a provider that says it is not ready gets no connections', () => {
  const proxy = (name: string, metas: Record<string, string> = {}) =>
    sampleProxy(name, { metas: { ...serviceMetas('mysql', 'default', 3306), ...metas } });
  const { balancer, state } = setup('roundRobin', [
    proxy('mysql.default.a', { ready: 'false' }),
    proxy('mysql.default.b'),
  ]);
  assert.deepEqual(
    [balancer.pick(ask('mysql.default')), balancer.pick(ask('mysql.default'))],
    ['mysql.default.b', 'mysql.default.b'],
  );
  state.proxies = [proxy('mysql.default.a', { ready: 'false' })];
  balancer.invalidate();
  state.now += 1000;
  assert.equal(balancer.pick(ask('mysql.default')), undefined);
});

test('latency prefers the nearest and takes turns among those that are about as near', () => {
  const at = (name: string, roundTripMs?: number) =>
    sampleProxy(name, { metas: serviceMetas('mysql', 'default', 3306), roundTripMs });
  const { balancer } = setup('latency', [
    at('mysql.default.a', 40),
    at('mysql.default.b', 10.5),
    at('mysql.default.c', 9),
    at('mysql.default.d'),
  ]);
  const picked = Array.from({ length: 4 }, () => balancer.pick(ask('mysql.default'))?.slice(-1));
  assert.deepEqual(picked, ['b', 'c', 'b', 'c']);
});
