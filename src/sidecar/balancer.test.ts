/** Tests of the choice of a Router under every policy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBalancer, LB_POLICIES } from './balancer.ts';
import type { Choice } from './balancer.ts';

const choice = (name: string, options: Partial<Choice> = {}): Choice => ({
  name,
  tier: 0,
  connections: 0,
  roundTripMs: undefined,
  ...options,
});
const abc = [choice('a'), choice('b'), choice('c')];
const firsts = (count: number, next: () => Choice[]) => Array.from({ length: count }, () => next()[0]?.name);

test('round robin takes turns and falls back in the same order', () => {
  const balancer = createBalancer(() => 0);
  assert.deepEqual(
    firsts(4, () => balancer.order(abc, 'roundRobin', '')),
    ['a', 'b', 'c', 'a'],
  );
  assert.deepEqual(
    balancer.order(abc, 'roundRobin', '').map(({ name }) => name),
    ['b', 'c', 'a'],
  );
});

test('the fewest connections win, equals take turns', () => {
  const balancer = createBalancer(() => 0);
  const loaded = [
    choice('a', { connections: 2 }),
    choice('b', { connections: 1 }),
    choice('c', { connections: 3 }),
  ];
  assert.equal(balancer.order(loaded, 'leastConnections', '')[0]?.name, 'b');
  assert.equal(new Set(firsts(3, () => balancer.order(abc, 'leastConnections', ''))).size, 3);
});

test('the shortest round trip wins, unknown ones come last', () => {
  const balancer = createBalancer(() => 0);
  const measured = [choice('a'), choice('b', { roundTripMs: 9 }), choice('c', { roundTripMs: 4 })];
  assert.deepEqual(
    balancer.order(measured, 'latency', '').map(({ name }) => name),
    ['c', 'b', 'a'],
  );
});

test('random follows the random source', () => {
  assert.equal(createBalancer(() => 0.99).order(abc, 'random', '')[0]?.name, 'c');
  assert.equal(createBalancer(() => 0).order(abc, 'random', '')[0]?.name, 'a');
});

test('a source keeps its Router, and only moves when that one goes', () => {
  const balancer = createBalancer(() => 0);
  const sources = Array.from({ length: 60 }, (_, at) => `192.0.2.${at}`);
  const pick = (from: readonly Choice[], source: string) =>
    balancer.order(from, 'sourceHash', source)[0]?.name;
  const before = new Map(sources.map((source) => [source, pick(abc, source)]));
  assert.equal(new Set(before.values()).size, 3);
  for (const source of sources) {
    const after = pick([choice('a'), choice('c')], source);
    if (before.get(source) !== 'b') assert.equal(after, before.get(source));
  }
});

test('a lower tier is exhausted first under every policy', () => {
  for (const policy of [...LB_POLICIES, 'inOrder'] as const) {
    const balancer = createBalancer(() => 0.5);
    const mixed = [choice('stale', { tier: 1 }), choice('x'), choice('guess', { tier: 2 }), choice('y')];
    for (let turn = 0; turn < 5; turn++) {
      const tiers = balancer.order(mixed, policy, '192.0.2.1').map(({ tier }) => tier);
      assert.deepEqual(tiers, [0, 0, 1, 2], policy);
    }
  }
});

test('no Routers give no order', () => {
  for (const policy of LB_POLICIES) assert.deepEqual(createBalancer(() => 0).order([], policy, ''), []);
});
