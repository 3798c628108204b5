/** Tests of the cache: what comes back, what is left out, damage, the rate of writes. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Router } from '../api/gen/types.ts';
import { silentLogger } from '../lib/log.ts';
import { createStateCache, parseState } from './cache.ts';

const router: Router = {
  apiVersion: 'edge.example.com/v1',
  kind: 'Router',
  metadata: {
    name: 'node-1',
    resourceVersion: '5',
    annotations: { 'edge.example.com/origin': 'node-1', 'edge.example.com/synced-at': 'x' },
  },
  spec: { frps: { bindPort: 7000 } },
  status: {
    addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
    lastHeartbeatTime: 'x',
    activeServices: [
      {
        name: 'a',
        namespace: 'b',
        protocol: 'TCP',
        providers: [{ id: 'a.b.p', type: 'stcp', ready: true, connections: 3 }],
      },
    ],
  },
};

test('what was saved is loaded, without what changes all the time', async (t) => {
  const dir = tempDir(t);
  const cache = createStateCache(dir, { clock: new FakeClock(), log: silentLogger });
  assert.equal(await cache.load(), undefined);
  cache.save(() => ({ addresses: { 'a.b': '127.0.66.1' }, ports: { 'a.b': [80] }, routers: [router] }));
  await cache.flush();
  const state = await createStateCache(dir, { clock: new FakeClock(), log: silentLogger }).load();
  assert.deepEqual(state?.addresses, { 'a.b': '127.0.66.1' });
  assert.deepEqual(state?.ports, { 'a.b': [80] });
  assert.deepEqual(state?.routers[0]?.metadata, {
    name: 'node-1',
    annotations: { 'edge.example.com/origin': 'node-1' },
  });
  assert.deepEqual(state?.routers[0]?.status?.activeServices?.[0]?.providers, [
    { id: 'a.b.p', type: 'stcp', ready: true },
  ]);
  assert.equal(readFileSync(join(dir, 'state.json'), 'utf8').includes('lastHeartbeatTime'), false);
});

test('saves in quick succession cost one write of the latest state', async (t) => {
  const dir = tempDir(t);
  const clock = new FakeClock();
  const cache = createStateCache(dir, { clock, log: silentLogger });
  for (let at = 1; at <= 3; at++)
    cache.save(() => ({ addresses: { 'a.b': `127.0.66.${at}` }, ports: {}, routers: [] }));
  assert.equal(clock.pendingTimers, 1);
  await clock.advanceAsync(2000);
  await cache.flush();
  assert.equal((await cache.load())?.addresses['a.b'], '127.0.66.3');
  assert.equal(clock.pendingTimers, 0);
});

test('a damaged cache is ignored with a warning', async (t) => {
  const dir = tempDir(t);
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
  writeFileSync(join(dir, 'state.json'), '{"version":1,"addr');
  assert.equal(await createStateCache(dir, { clock: new FakeClock(), log }).load(), undefined);
  assert.deepEqual(warnings, ['ignoring the cache']);
});

test('a directory that cannot be written is warned about once and breaks nothing', async (t) => {
  const dir = join(tempDir(t), 'file');
  writeFileSync(dir, 'not a directory');
  mkdirSync(join(dir, '..', 'other'));
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
  const cache = createStateCache(dir, { clock: new FakeClock(), log });
  for (let at = 0; at < 2; at++) {
    cache.save(() => ({ addresses: { 'a.b': `127.0.66.${at}` }, ports: {}, routers: [] }));
    await cache.flush();
  }
  assert.equal(warnings.length, 1);
});

test('what could not be written is written once that is possible, without another change', async (t) => {
  const dir = join(tempDir(t), 'cache');
  writeFileSync(dir, 'in the way');
  const clock = new FakeClock();
  const cache = createStateCache(dir, { clock, log: silentLogger });
  cache.save(() => ({ addresses: { 'a.b': '127.0.66.1' }, ports: {}, routers: [] }));
  await clock.advanceAsync(2000);
  await waitFor(() => clock.pendingTimers === 1, { what: 'another try' });
  rmSync(dir);
  clock.advance(10_000);
  await waitFor(async () => (await cache.load())?.addresses['a.b'] === '127.0.66.1', { what: 'the cache' });
  assert.equal(clock.pendingTimers, 0);
});

test('a cache with wrong content is refused', () => {
  const good = { version: 1, addresses: {}, ports: {}, routers: [] };
  assert.deepEqual(parseState(JSON.stringify(good)).routers, []);
  for (const bad of [
    null,
    [],
    { ...good, version: 2 },
    { ...good, addresses: [] },
    { ...good, addresses: { a: 1 } },
    { ...good, ports: { a: ['x'] } },
    { ...good, ports: { a: [0] } },
    { ...good, routers: {} },
    { ...good, routers: [null] },
    { ...good, routers: [{ metadata: {}, spec: { frps: { bindPort: 1 } } }] },
    { ...good, routers: [{ metadata: { name: 'a' }, spec: {} }] },
    {
      ...good,
      routers: [{ metadata: { name: 'a' }, spec: { frps: { bindPort: 1 } }, status: { addresses: [1] } }],
    },
    {
      ...good,
      routers: [
        {
          metadata: { name: 'a' },
          spec: { frps: { bindPort: 1 } },
          status: { addresses: [{ type: 'InternalIP', address: 5 }] },
        },
      ],
    },
    {
      ...good,
      routers: [
        {
          metadata: { name: 'a' },
          spec: { frps: { bindPort: 1 } },
          status: { activeServices: [{ providers: 1 }] },
        },
      ],
    },
  ]) {
    assert.throws(() => parseState(JSON.stringify(bad)), JSON.stringify(bad));
  }
});
