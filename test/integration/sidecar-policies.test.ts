/** Who gets a connection, between real processes: policies over Routers, providers on the same node, providers that fail. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import type { Router } from '../../src/api/gen/types.ts';
import { dial, startEcho } from '../support/echo-service.ts';
import type { TcpUser } from '../support/echo-service.ts';
import { startLateLine } from '../support/late-line.ts';
import { startNode, whenServed } from '../support/sidecar-world.ts';
import type { Node, Sidecar } from '../support/sidecar-world.ts';
import { waitFor } from '../support/wait.ts';

/** How long a provider that failed twice is left out: longer than a machine pauses. */
const EJECT_MS = 6000;

interface Where {
  address: string;
  port: number;
}

/** Who has not answered by then counts as late, milliseconds; the sidecar has a little more patience. */
const SOON_MS = 480;
/** Who was late is passed over for five seconds. */
const PASSED_OVER_MS = 5500;
/** The longest that a connection to a port waited for its greeting. */
const slowestMs = new Map<number, number>();

/** Connects and gives the name of whoever answered; the connection stays open. */
async function open(t: TestContext, where: Where, from?: string): Promise<{ name: string; user: TcpUser }> {
  const startedAt = performance.now();
  const user = dial(t, where, from);
  const name = await user.first;
  slowestMs.set(where.port, Math.max(slowestMs.get(where.port) ?? 0, performance.now() - startedAt));
  assert.notEqual(name, '', `no greeting at ${where.address}:${where.port}`);
  return { name, user };
}

/** The name of whoever answers a connection that is closed again at once. */
async function ask(t: TestContext, where: Where, from?: string): Promise<string> {
  const { name, user } = await open(t, where, from);
  user.socket.destroy();
  await user.closed;
  return name;
}

async function askMany(t: TestContext, where: Where, count: number): Promise<string[]> {
  const names: string[] = [];
  while (names.length < count) names.push(await ask(t, where));
  return names;
}

/** Two Routers, the own one `one` at the end of a late line, and a service behind both that tells which one it was. */
async function startTwoRouters(t: TestContext): Promise<Node> {
  const node = await startNode(t, 'one');
  for (const name of ['one', 'two']) await node.createRouter(name);
  const { spec } = await node.client.get<Router>(ROUTERS, 'one');
  await startLateLine(t, { host: '127.0.0.3', port: spec.frps.bindPort, delayMs: 30 });
  node.startRouter('one', '127.0.0.3');
  node.startRouter('two');
  for (const name of ['one', 'two']) {
    const { port } = await startEcho(t, name);
    await node.startSidecar(`behind-${name}`, {
      SIDECAR_EXPORTED_SERVICES: `web=${port}`,
      SIDECAR_ROUTERS: name,
    });
  }
  return node;
}

/** A consumer that sees these Routers with a provider each, and where the service is. */
async function startConsumer(
  node: Node,
  port: number,
  env: Record<string, string>,
  routerCount = 2,
): Promise<{ consumer: Sidecar; where: Where }> {
  const consumer = await node.startSidecar(`consumer-${port}`, {
    SIDECAR_MAPPED_SERVICES: `web:${port}`,
    SIDECAR_LOCALITY: 'off',
    ...env,
  });
  await consumer.until(
    ({ services, routers }) =>
      routers.length === routerCount &&
      routers.every(({ phase, roundTripMs }) => phase === 'online' && roundTripMs !== null) &&
      services[0]?.providers.filter(({ ready }) => ready).length === routerCount,
    'the Routers',
  );
  return { consumer, where: await whenServed(consumer, 'web') };
}

/**
 * Acts and checks the result, if meanwhile each try was answered, and soon. On a busy machine one may be late: then the
 * connection goes to the other Router, and so do the next ones for a while. A machine that stays busy shows nothing.
 */
async function undisturbed<T>(
  t: TestContext,
  consumer: Sidecar,
  { port }: Where,
  act: () => Promise<T>,
  check: (result: T) => void,
): Promise<void> {
  for (let round = 0; round < 3; round++) {
    if (round > 0) await new Promise((resolve) => setTimeout(resolve, PASSED_OVER_MS));
    slowestMs.set(port, 0);
    const { retried } = (await consumer.status()).parked;
    const result = await act();
    const isRetried = (await consumer.status()).parked.retried !== retried;
    if (!isRetried && (slowestMs.get(port) ?? 0) < SOON_MS) {
      check(result);
      return;
    }
  }
  t.diagnostic(`the machine was too busy to show the policy at port ${port}`);
}

const tally = (names: readonly string[]): Record<string, number> =>
  Object.fromEntries(['one', 'two'].map((name) => [name, names.filter((each) => each === name).length]));

test('each policy spreads the connections of a service over two Routers in its own way', async (t) => {
  const node = await startTwoRouters(t);
  const roundRobin = async (): Promise<void> => {
    const { consumer, where } = await startConsumer(node, 18_120, { SIDECAR_LB_POLICY: 'roundRobin' });
    await undisturbed(
      t,
      consumer,
      where,
      () => askMany(t, where, 6),
      (names) => {
        assert.deepEqual(tally(names), { one: 3, two: 3 });
        assert.ok(names.every((name, at) => name !== names[at + 1]));
      },
    );
  };
  const leastConnections = async (): Promise<void> => {
    const { consumer, where } = await startConsumer(node, 18_121, { SIDECAR_LB_POLICY: 'leastConnections' });
    const openMany = async (count: number) => {
      const opened = [];
      while (opened.length < count) opened.push(await open(t, where));
      return opened;
    };
    const left = (count: number) =>
      consumer.until(({ services }) => services[0]?.connections === count && 'so', `${count} left`);
    const openAndClose = async () => {
      const users = await openMany(6);
      const ofOne = users.filter(({ name }) => name === 'one');
      for (const { user } of ofOne) user.socket.destroy();
      await left(users.length - ofOne.length);
      const more = await openMany(3);
      for (const { user } of [...users, ...more]) user.socket.destroy();
      await left(0);
      return [users, more].map((some) => tally(some.map(({ name }) => name)));
    };
    await undisturbed(t, consumer, where, openAndClose, (tallies) =>
      assert.deepEqual(tallies, [
        { one: 3, two: 3 },
        { one: 3, two: 0 },
      ]),
    );
  };
  const random = async (): Promise<void> => {
    const { where } = await startConsumer(node, 18_122, { SIDECAR_LB_POLICY: 'random' });
    const { one = 0, two = 0 } = tally(await askMany(t, where, 40));
    assert.ok(one >= 5 && two >= 5, `${one} and ${two} of 40`);
  };
  const sourceHash = async (): Promise<void> => {
    const { consumer, where } = await startConsumer(node, 18_123, { SIDECAR_LB_POLICY: 'sourceHash' });
    const sources = Array.from({ length: 20 }, (_, at) => `127.0.1.${at + 1}`);
    const askAll = () => Promise.all(sources.map((source) => ask(t, where, source)));
    const twice = async () => [await askAll(), await askAll()] as const;
    await undisturbed(t, consumer, where, twice, ([first, second]) => {
      assert.deepEqual(second, first);
      const { one = 0, two = 0 } = tally(first);
      assert.ok(one > 0 && two > 0, `${one} and ${two} of 20 sources`);
    });
  };
  const latency = async (): Promise<void> => {
    const { consumer, where } = await startConsumer(node, 18_124, { SIDECAR_LB_POLICY: 'latency' });
    const nearestNow = async (): Promise<string> => {
      const { routers } = await consumer.status();
      const [one, two] = ['one', 'two'].map(
        (wanted) => routers.find(({ name }) => name === wanted)?.roundTripMs ?? NaN,
      ) as [number, number];
      assert.ok(one >= 60, `${one} ms over the late line`);
      return one < two ? 'one' : 'two'; // a machine can be later than the line
    };
    // measured anew meanwhile, the other one may have been nearer for some of them
    const act = async () => [await nearestNow(), await askMany(t, where, 4), await nearestNow()] as const;
    await undisturbed(t, consumer, where, act, ([before, names, after]) => {
      if (before === after) assert.deepEqual(new Set(names), new Set([before]));
    });
  };
  const inOrder = async (): Promise<void> => {
    const { consumer, where } = await startConsumer(node, 18_118, { SIDECAR_ROUTERS: 'two,one' });
    await undisturbed(
      t,
      consumer,
      where,
      () => askMany(t, where, 4),
      (names) => assert.deepEqual(tally(names), { one: 0, two: 4 }),
    );
  };
  const onlyOne = async (): Promise<void> => {
    const { where } = await startConsumer(node, 18_119, { SIDECAR_ROUTERS: 'one' }, 1);
    assert.deepEqual(tally(await askMany(t, where, 4)), { one: 4, two: 0 });
  };
  const all = [roundRobin(), leastConnections(), random(), sourceHash(), latency(), inOrder(), onlyOne()];
  await Promise.all(all);
});

test('a provider on the same node comes first, whatever its Router, and another one takes over', async (t) => {
  const node = await startNode(t, 'one');
  for (const name of ['one', 'two']) {
    await node.createRouter(name);
    node.startRouter(name);
  }
  const [near, far] = [await startEcho(t, 'one'), await startEcho(t, 'two')];
  const providers = [
    await node.startSidecar('near', { SIDECAR_EXPORTED_SERVICES: `web=${near.port}` }),
    await node.startSidecar('far', { SIDECAR_EXPORTED_SERVICES: `web=${far.port}`, EDGE_NODE_NAME: 'two' }),
  ];
  const consume = (pod: string, port: number, env: Record<string, string> = {}): Promise<Sidecar> =>
    node.startSidecar(pod, { SIDECAR_MAPPED_SERVICES: `web:${port}`, ...env });
  const consumers = [
    await consume('here', 18_125),
    await consume('there', 18_126, { EDGE_NODE_NAME: 'two' }),
    await consume('anywhere', 18_127, { SIDECAR_LOCALITY: 'off' }),
  ];
  const [here, there, anywhere] = await Promise.all(
    consumers.map(async (consumer) => {
      await consumer.until(
        ({ services, routers }) =>
          routers.every(({ phase }) => phase === 'online') && services[0]?.providers.length === 4,
        'two providers at two Routers',
      );
      return whenServed(consumer, 'web');
    }),
  );
  assert.ok(here && there && anywhere);
  assert.deepEqual(tally(await askMany(t, here, 8)), { one: 8, two: 0 });
  assert.deepEqual(tally(await askMany(t, there, 8)), { one: 0, two: 8 });
  const both = tally(await askMany(t, anywhere, 8));
  assert.ok((both['one'] ?? 0) > 0 && (both['two'] ?? 0) > 0, JSON.stringify(both));
  await providers[0]?.process.kill();
  await waitFor(async () => tally(await askMany(t, here, 4))['two'] === 4, { what: 'the other one' });
  await node.startSidecar('near', { SIDECAR_EXPORTED_SERVICES: `web=${near.port}` });
  await waitFor(async () => tally(await askMany(t, here, 4))['one'] === 4, { what: 'the near one again' });
});

test('a provider that keeps failing is left out, and comes back little by little', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const [sick, well] = [await startEcho(t, 'one'), await startEcho(t, 'two')];
  await node.startSidecar('pod-1', { SIDECAR_EXPORTED_SERVICES: `web=${sick.port}` });
  await node.startSidecar('pod-2', { SIDECAR_EXPORTED_SERVICES: `web=${well.port}` });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18128',
    SIDECAR_EJECT_AFTER: '2',
    SIDECAR_EJECT_TIME: `${EJECT_MS}ms`,
  });
  await consumer.until(({ services }) => services[0]?.providers.length === 2, 'two providers');
  const where = await whenServed(consumer, 'web');
  assert.deepEqual(new Set(await askMany(t, where, 8)), new Set(['one', 'two']));
  const stoppedAt = performance.now();
  sick.stop();
  assert.deepEqual(tally(await askMany(t, where, 8)), { one: 0, two: 8 }, 'nobody notices');
  const { services, parked } = await consumer.status();
  assert.deepEqual([services[0]?.ejected, services[0]?.ejections, parked.retried], [1, 1, 2]);
  await sick.start();
  const back: { name: string; atMs: number }[] = [];
  await waitFor(
    async () => {
      const names = await Promise.all(Array.from({ length: 8 }, () => ask(t, where)));
      const atMs = performance.now() - stoppedAt;
      back.push(...names.map((name) => ({ name, atMs })));
      return (tally(back.slice(-40).map(({ name }) => name))['one'] ?? 0) >= 18;
    },
    { what: 'an equal share again', intervalMs: 5 },
  );
  const firstAtMs = back.find(({ name }) => name === 'one')?.atMs ?? 0;
  assert.ok(firstAtMs >= EJECT_MS, `left out for its time, ${firstAtMs} ms`);
  const early = back.filter(({ atMs }) => atMs >= firstAtMs && atMs < firstAtMs + 500);
  const { one = 0, two = 0 } = tally(early.map(({ name }) => name));
  // A machine that is too busy for twenty connections in that time shows nothing.
  assert.ok(one < 0.7 * two || one + two < 20, `a small part at first, and not ${one} of ${one + two}`);
  assert.equal((await consumer.status()).services[0]?.ejected, 0);
});
