/** Tests of the set of tunnel clients: made, kept, replaced, rotated over addresses, stopped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeFrpClient } from '../../test/support/fake-frp-client.ts';
import { silentLogger } from '../lib/log.ts';
import type { ServerAddress } from '../tunnel/frpc/types.ts';
import { createRouterClients } from './router-clients.ts';
import type { ClientTarget } from './router-clients.ts';

const first: ServerAddress = { host: '192.0.2.1', port: 7000 };
const second: ServerAddress = { host: '198.51.100.1', port: 7000 };

function target(
  name: string,
  options: { addresses?: ServerAddress[]; token?: string; poolCount?: number; isNeeded?: boolean } = {},
): ClientTarget {
  return {
    name,
    addresses: options.addresses ?? [first],
    isNeeded: options.isNeeded ?? true,
    settings: () => ({
      token: options.token ?? '',
      user: '',
      clientId: 'pod',
      metas: {},
      poolCount: options.poolCount ?? 1,
      tls: undefined,
      tcpMux: true,
      keepaliveMs: 30_000,
      additionalScopes: [],
    }),
  };
}

function setUp() {
  const clock = new FakeClock();
  const made: FakeFrpClient[] = [];
  const busy = new Set<string>();
  let changes = 0;
  const clients = createRouterClients({
    clock,
    random: () => 0,
    log: silentLogger,
    createClient(config) {
      const client = new FakeFrpClient(config);
      made.push(client);
      return client;
    },
    isBusy: (name) => busy.has(name),
    onChange: () => void changes++,
  });
  return { clock, clients, made, busy, changes: () => changes };
}

test('each needed Router gets one client, whatever the number of rounds', () => {
  const { clients, made } = setUp();
  for (let round = 0; round < 3; round++)
    clients.reconcile([target('a'), target('b'), target('c', { isNeeded: false })]);
  assert.deepEqual(
    clients.list().map(({ name }) => name),
    ['a', 'b'],
  );
  assert.equal(made.length, 2);
  assert.equal(made[0]?.phase, 'connecting');
});

test('a Router that vanishes loses its client', () => {
  const { clients, made } = setUp();
  clients.reconcile([target('a')]);
  clients.reconcile([]);
  assert.equal(clients.get('a'), undefined);
  assert.equal(made[0]?.phase, 'stopped');
});

test('a Router that vanishes keeps the client that carries connections, until it is offline or they are over', () => {
  const { clock, clients, busy, made } = setUp();
  busy.add('a');
  busy.add('b');
  clients.reconcile([target('a'), target('b')]);
  for (const client of made) client.to('online');
  clients.reconcile([]);
  assert.equal(clients.list().length, 2);
  clients.reconcile([target('a')]);
  clients.reconcile([target('a')]);
  assert.equal(made.length, 2, 'made anew, and the same');
  clock.advance(600_000);
  assert.equal(clients.list().length, 2);
  made[1]?.to('waiting');
  clients.reconcile([target('a')]);
  assert.deepEqual([clients.get('b'), made[1]?.phase], [undefined, 'stopped']);
  clients.reconcile([]);
  busy.clear();
  clock.advance(60_000);
  assert.deepEqual([clients.get('a'), made[0]?.phase], [undefined, 'stopped']);
  assert.equal(clock.pendingTimers, 0);
});

test('another token or port while the client is online counts from the next login on, another host at once', () => {
  const { clients, made } = setUp();
  clients.reconcile([target('a', { token: 'old' })]);
  made[0]?.to('online');
  const moved = { token: 'new', addresses: [second, first].map((address) => ({ ...address, port: 7001 })) };
  clients.reconcile([target('a', moved)]);
  assert.equal(made.length, 1);
  made[0]?.to('waiting');
  clients.reconcile([target('a', moved)]);
  assert.deepEqual([made.length, made[0]?.phase, made[1]?.config.token], [2, 'stopped', 'new']);
  assert.deepEqual(made[1]?.config.server, moved.addresses[1], 'of several addresses the one in use');
  made[1]?.to('online');
  clients.reconcile([target('a', { token: 'new', addresses: [second] })]);
  assert.deepEqual([made.length, made[1]?.phase], [3, 'stopped']);
});

test('another address or token makes another client, another pool size does not', () => {
  const { clients, made } = setUp();
  clients.reconcile([target('a')]);
  clients.reconcile([target('a', { poolCount: 5 })]);
  assert.equal(made.length, 1);
  clients.reconcile([target('a', { token: 'new' })]);
  assert.equal(made.length, 2);
  assert.equal(made[0]?.phase, 'stopped');
  clients.reconcile([target('a', { token: 'new', addresses: [second] })]);
  assert.deepEqual(made[2]?.config.server, second);
});

test('a further address, or none for a moment, leaves the client alone', () => {
  const { clients, made } = setUp();
  clients.reconcile([target('a')]);
  clients.reconcile([target('a', { addresses: [second, first] })]);
  clients.reconcile([target('a', { addresses: [] })]);
  assert.equal(made.length, 1);
  assert.equal(made[0]?.phase, 'connecting');
});

test('a client that cannot connect moves on to the next address and round again', () => {
  const { clock, clients, made } = setUp();
  clients.reconcile([target('a', { addresses: [first, second] })]);
  made[0]?.to('waiting');
  clock.advance(1000);
  assert.deepEqual(made[1]?.config.server, second);
  made[1]?.to('waiting');
  clock.advance(1999);
  assert.equal(made.length, 2);
  clock.advance(1);
  assert.deepEqual(made[2]?.config.server, first);
  made[2]?.to('online');
  made[2]?.to('waiting');
  made[2]?.to('online');
  clock.advance(60_000);
  assert.equal(made.length, 3);
});

test('a client that is needed no more lingers, and stays while it carries connections', () => {
  const { clock, clients, busy, made } = setUp();
  clients.reconcile([target('a')]);
  clients.reconcile([target('a', { isNeeded: false })]);
  clock.advance(59_999);
  assert.ok(clients.get('a'));
  busy.add('a');
  clock.advance(60_000);
  assert.ok(clients.get('a'));
  busy.clear();
  clock.advance(60_000);
  assert.equal(clients.get('a'), undefined);
  assert.equal(made[0]?.phase, 'stopped');
});

test('a client that is needed again stays', () => {
  const { clock, clients, made } = setUp();
  clients.reconcile([target('a')]);
  clients.reconcile([target('a', { isNeeded: false })]);
  clients.reconcile([target('a')]);
  clock.advance(600_000);
  assert.equal(made[0]?.phase, 'connecting');
});

test('changes of phase are told, and nothing is left after a stop', async () => {
  const { clock, clients, made, changes } = setUp();
  clients.reconcile([target('a', { addresses: [first, second] }), target('b')]);
  const before = changes();
  made[0]?.to('waiting');
  assert.equal(changes(), before + 1);
  await clients.stop();
  assert.equal(clients.list().length, 0);
  assert.equal(clock.pendingTimers, 0);
  assert.ok(made.every((client) => client.phase === 'stopped'));
});
