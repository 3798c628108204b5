/** What dies under a steady load of connections, one after the other, and what that costs: providers, Routers, links, the control plane. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { netnsMissing } from '../support/netns.ts';
import { START_TIMEOUT_MS, startWorld } from '../support/netns-world.ts';
import type { Cloud, World } from '../support/netns-world.ts';
import { startDnsmasq, startRedis } from '../support/real-services.ts';
import { startLoad } from '../support/steady-load.ts';
import type { SteadyLoad } from '../support/steady-load.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';
import { askAsManyUsers, untilFlowsEnd } from './udp-users.ts';

const NAME = 'redis.default.svc';
const PER_SECOND = 20;
const HELD = 20;
/** New connections that may be on their way, already accepted, when something dies; a few on an idle machine. */
const IN_FLIGHT = PER_SECOND;
/** Nothing to a second for what is seen to die, seconds for what goes silent; generous for a busy machine. */
const RECOVERED_WITHIN_MS = 60_000;

type Step = () => void | Promise<void>;

const reason = netnsMissing(['redis-server', 'redis-cli', 'dnsmasq', 'dig', 'curl', 'ss']);

// Counted as skipped where the others, in a suite that is skipped as a whole, are not counted at all.
test('two providers and two Routers can be put on hosts of their own', { skip: reason ?? false }, () => {
  assert.equal(reason, undefined);
});

describe('failover under load', { skip: reason ?? false }, () => {
  const cleanups: (() => void | Promise<void>)[] = [];
  let world: World;
  let load: SteadyLoad;

  before(async () => {
    const owner = { after: (fn: () => void | Promise<void>) => void cleanups.unshift(fn) };
    world = await startWorld(owner, tempDir(owner), {
      exported: 'redis=6379,names=53/udp',
      mapped: 'redis:6379,names:53/udp',
      providers: 2,
    });
    for (const { host } of world.providers) {
      startRedis(owner, host, 6379);
      startDnsmasq(owner, host, '127.0.0.1', 53, ['--address=/inside.example.org/192.0.2.7']);
    }
    await untilOffered();
    await waitFor(async () => (await ping()) === 'PONG', {
      what: 'redis through the tunnel',
      timeoutMs: START_TIMEOUT_MS,
    });
    load = await startLoad(owner, world.consumer.host, {
      host: NAME,
      port: 6379,
      perSecond: PER_SECOND,
      held: HELD,
    });
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  async function ping(): Promise<string> {
    const { stdout } = await world.consumer.host.run(['redis-cli', '-h', NAME, 'PING'], {
      timeoutMs: 40_000,
    });
    return stdout.trim();
  }

  async function lookUp(): Promise<string> {
    const dig = ['dig', '+short', '+time=10', '+tries=1', `${NAME}.cluster.local`];
    const { status, stdout } = await world.consumer.host.run(dig);
    return status === 0 ? stdout.trim() : ''; // dig complains on standard output
  }

  async function loseControlPlane(): Promise<void> {
    const { consumer, providers, clouds } = world;
    const nodes = [consumer, ...providers];
    await Promise.all([...nodes, ...clouds].map(({ apiserver }) => apiserver.kill()));
    await Promise.all(nodes.map(({ syncer }) => syncer.kill()));
  }

  async function restoreControlPlane(): Promise<void> {
    const { consumer, providers, clouds } = world;
    const nodes = [consumer, ...providers];
    await Promise.all([...nodes, ...clouds].map((each) => each.startApiserver()));
    for (const node of nodes) node.startSyncer();
  }

  /** Waits until every provider offers redis through every Router and the consumer's mirrors say so. */
  async function untilOffered(): Promise<void> {
    const isOffered = async ({ name }: Cloud): Promise<boolean> => {
      const services = (await world.consumer.router(name))?.status?.activeServices ?? [];
      const providers = services.find((service) => service.name === 'redis')?.providers ?? [];
      return providers.filter(({ ready }) => ready).length === world.providers.length;
    };
    for (const cloud of world.clouds)
      await waitFor(() => isOffered(cloud), {
        what: `redis offered by all at ${cloud.name}`,
        timeoutMs: START_TIMEOUT_MS,
        intervalMs: 100,
      });
  }

  /** Does something bad to the load, reports what that did to it, checks that it stayed in bounds, and undoes it. */
  async function suffer(
    t: TestContext,
    { fault, repair, maxFailed }: { fault: Step; repair: Step; maxFailed: number },
  ): Promise<void> {
    const at = load.now();
    await fault();
    const damage = await load.damageSince(at);
    const { opened, failed, slowestMs, recoveredMs, lost, lostForMs, errors } = damage;
    t.diagnostic(
      `of ${opened} new connections ${failed} failed, the slowest took ${slowestMs} ms; ` +
        `all in time after ${recoveredMs} ms; of ${HELD} held ones ${lost} broke, the last after ${lostForMs} ms` +
        (errors.length === 0 ? '' : ` (${errors.join(', ')})`),
    );
    assert.ok(failed <= maxFailed, `${failed} new connections failed`);
    assert.ok(lost <= 2 * HELD, `${lost} held connections broke`);
    assert.ok(recoveredMs <= RECOVERED_WITHIN_MS, `in time only after ${recoveredMs} ms`);
    await repair();
    await untilOffered();
    await load.damageSince(load.now());
  }

  test('more UDP users than there is room for all get their answers', async (t) => {
    t.diagnostic(await askAsManyUsers(world));
  });

  test('a provider that is killed', async (t) => {
    const [provider] = world.providers;
    await suffer(t, {
      fault: () => provider.sidecar.kill(),
      repair: () => provider.startSidecar(),
      maxFailed: IN_FLIGHT,
    });
  });

  test('a provider whose link goes silent', async (t) => {
    const { host } = world.providers[1] ?? world.provider;
    t.after(() => host.heal());
    await suffer(t, {
      fault: () => host.cut(),
      repair: () => host.heal(),
      maxFailed: 10 * PER_SECOND,
    });
  });

  test('a Router that is killed', async (t) => {
    const [cloud] = world.clouds;
    await suffer(t, {
      fault: () => cloud.process.kill(),
      repair: () => cloud.startRouter(),
      maxFailed: IN_FLIGHT,
    });
  });

  test('a Router whose link goes silent', async (t) => {
    const { host } = world.clouds[1];
    t.after(() => host.heal());
    await suffer(t, {
      fault: () => host.cut(),
      repair: () => host.heal(),
      maxFailed: 2 * PER_SECOND,
    });
  });

  test('every API server and every syncer killed', async (t) => {
    await suffer(t, {
      fault: loseControlPlane,
      repair: restoreControlPlane,
      maxFailed: IN_FLIGHT,
    });
  });

  test('the flows of those UDP users have ended', () => untilFlowsEnd(world));

  test('with every API server and syncer gone, sidecars that are restarted answer and connect', async (t) => {
    const { consumer, providers } = world;
    const address = await lookUp();
    assert.match(address, /^127\.0\.66\.\d+$/u);
    await loseControlPlane();
    await Promise.all([consumer, ...providers].map(({ sidecar }) => sidecar.kill()));
    assert.equal(await lookUp(), '', 'somebody else answers DNS');
    const start = load.now();
    for (const node of [consumer, ...providers]) node.startSidecar();
    await waitFor(async () => (await lookUp()) === address, {
      what: 'the same address from the cache',
      timeoutMs: START_TIMEOUT_MS,
    });
    const answered = load.now();
    await waitFor(async () => (await ping()) === 'PONG', {
      what: 'redis through restarted sidecars',
      timeoutMs: START_TIMEOUT_MS,
    });
    const connected = load.now();
    await load.damageSince(connected);
    await restoreControlPlane();
    await untilOffered();
    const [named, served] = [answered - start, connected - start].map(Math.round);
    t.diagnostic(`name answered ${named} ms, redis ${served} ms after the start of all sidecars`);
  });
});
