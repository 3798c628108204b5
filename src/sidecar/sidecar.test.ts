/** Tests of the sidecar as a whole with fake Routers and tunnel clients: start, change, outage, reload, end. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeFrpClient } from '../../test/support/fake-frp-client.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { freePort } from '../../test/support/ports.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Router } from '../api/gen/types.ts';
import type { ZoneEntry } from '../dns/zone.ts';
import { systemClock } from '../lib/clock.ts';
import type { Clock } from '../lib/clock.ts';
import { UsageError } from '../lib/errors.ts';
import { silentLogger } from '../lib/log.ts';
import { createRegistry } from '../lib/metrics.ts';
import { resolveOptions } from '../lib/options.ts';
import { buildConfig } from './options.ts';
import { sidecarOptions } from './settings.ts';
import { createSidecar } from './sidecar.ts';
import type { RouterSource, SidecarDeps } from './sidecar.ts';

checkLeaks();

/** How long open connections may take to end; no other wait is as long. */
const DRAIN_TIMEOUT_MS = 201;

class FakeRouters implements RouterSource {
  hasSynced = false;
  isConnected = false;
  objects: Router[] = [];
  #listener: () => void = () => {};

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  list(): Router[] {
    return this.objects;
  }

  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  sync(objects: Router[]): void {
    this.objects = objects;
    this.hasSynced = true;
    this.isConnected = true;
    this.#listener();
  }
}

function router(name: string, services: { name: string; port: number; ready?: boolean }[] = []): Router {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindPort: 7000 } },
    status: {
      addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
      activeServices: services.map((service) => ({
        name: service.name,
        namespace: 'default',
        protocol: 'TCP',
        targetPort: service.port,
        providers: [{ id: `${service.name}.default.p`, type: 'stcp', ready: service.ready ?? true }],
      })),
    },
  };
}

function setUp(t: TestContext, env: Record<string, string>, extra: Partial<SidecarDeps> = {}) {
  const dir = env['SIDECAR_CACHE_DIR'] ?? tempDir(t);
  const settings: { env: Record<string, string> } = {
    env: {
      SIDECAR_ADMIN_ADDR: '127.0.0.1:0',
      SIDECAR_DNS_ADDR: 'off',
      SIDECAR_DNS_UPSTREAM: '192.0.2.53',
      EDGE_NODE_NAME: 'node-1',
      ...env,
      SIDECAR_CACHE_DIR: dir,
    },
  };
  const routers = new FakeRouters();
  const clients: FakeFrpClient[] = [];
  const zone: { entries: readonly ZoneEntry[] } = { entries: [] };
  const sidecar = createSidecar({
    clock: systemClock,
    random: () => 0,
    log: silentLogger,
    registry: createRegistry('sidecar', '0', 'x'),
    drainTimeoutMs: DRAIN_TIMEOUT_MS,
    routers,
    readConfig: () =>
      buildConfig(resolveOptions(sidecarOptions, { flags: {}, env: settings.env }), {
        hostname: 'pod-1',
        dataDir: dir,
        readFile: () => '',
        resolvConf: () => undefined,
        host: { hostKeys: () => [], macAddresses: () => [], machineId: () => undefined },
      }),
    createClient(config) {
      const client = new FakeFrpClient(config);
      clients.push(client);
      return client;
    },
    names: {
      address: '127.0.0.2:53',
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      replace: (entries) => {
        zone.entries = entries;
      },
      setUpstreams: () => {},
    },
    ...extra,
  });
  t.after(() => sidecar.stop());
  const admin = async (path: string): Promise<{ status: number; text: string }> => {
    const answer = await fetch(`http://127.0.0.1:${sidecar.adminPort}${path}`, {
      headers: { connection: 'close' },
    });
    return { status: answer.status, text: await answer.text() };
  };
  return { sidecar, routers, clients, zone, settings, admin, dir };
}

test('it is ready when Routers were seen and listeners are up, and answers names after that', async (t) => {
  const port = await freePort('127.0.66.1');
  const { sidecar, routers, zone, admin } = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web' });
  const started = sidecar.start();
  await waitFor(() => sidecar.adminPort, { what: 'admin surface' });
  const early = await admin('/readyz');
  assert.equal(early.status, 503);
  assert.match(early.text, /no Router was seen yet/u);
  routers.sync([router('node-1', [{ name: 'web', port }])]);
  await started;
  assert.equal((await admin('/readyz')).status, 200);
  await waitFor(() => zone.entries[0]?.isReady, { what: 'name ready' });
  assert.match(zone.entries[0]?.address ?? '', /^127\.0\.66\./u);
  assert.match((await admin('/metrics')).text, /edge_sidecar_connections\{service="web\.default"\} 0/u);
});

test('what the status tells is in force already', async (t) => {
  const port = await freePort('127.0.66.1');
  const { sidecar, routers, zone } = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web' });
  const started = sidecar.start();
  routers.sync([router('node-1')]);
  await started;
  routers.sync([router('node-1', [{ name: 'web', port }])]);
  // asked between all that happens, so also between the listener's start and what follows from it
  for (let turn = 0; sidecar.status().services[0]?.state !== 'ready'; turn++) {
    assert.ok(turn < 10_000, 'the service to be ready');
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(zone.entries[0]?.isReady, true);
});

test('a process that was stopped while it applied a change does not rest for that time', async (t) => {
  let [stoppedMs, applied] = [0, 0];
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + stoppedMs };
  const names: SidecarDeps['names'] = {
    address: '127.0.0.2:53',
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
    replace: () => {
      applied++;
      stoppedMs += 3_600_000;
    },
    setUpstreams: () => {},
  };
  const { sidecar, routers } = setUp(t, { SIDECAR_EXPORTED_SERVICES: 'web=1' }, { clock, names });
  const started = sidecar.start();
  routers.sync([router('node-1')]);
  await started;
  for (const name of ['node-2', 'node-3']) {
    const before = applied;
    routers.sync([router('node-1'), router(name)]);
    await waitFor(() => applied > before, { what: `${name} to be applied` });
  }
});

test('a connection waits for the client and is carried once it is online', async (t) => {
  const port = await freePort('127.0.66.1');
  const { sidecar, routers, clients, admin } = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web' });
  const started = sidecar.start();
  routers.sync([router('node-1', [{ name: 'web', port }])]);
  await started;
  const address = sidecar.status().services[0]?.address ?? '';
  const socket = connect({ host: address, port });
  socket.on('error', () => {}); // cut at the end of the test
  t.after(() => void socket.destroy());
  socket.write('hello');
  await waitFor(() => sidecar.status().parked.parked === 1, { what: 'parked' });
  const [near, far] = createStreamPair();
  const received = collect(far);
  const [client] = clients;
  assert.ok(client);
  client.onVisit = () => Promise.resolve(near);
  client.to('online');
  await waitFor(() => received.text() === 'hello', { what: 'payload carried' });
  assert.equal(client.visits[0]?.proxyName, 'web.default');
  const status = JSON.parse((await admin('/status')).text) as ReturnType<typeof sidecar.status>;
  assert.equal(status.services[0]?.state, 'ready');
  assert.equal(status.services[0]?.connections, 1);
  assert.deepEqual(status.services[0]?.providers, [
    {
      router: 'node-1',
      id: 'web.default.p',
      port,
      protocol: 'TCP',
      node: '',
      ready: true,
      message: '',
      stale: false,
    },
  ]);
  assert.equal(status.routers[0]?.phase, 'online');
  assert.equal(status.routers[0]?.address, '192.0.2.1:7000');
});

test('an exporter registers at every Router, also at ones that come later', async (t) => {
  const { sidecar, routers, clients } = setUp(t, { SIDECAR_EXPORTED_SERVICES: 'web=8080' });
  const started = sidecar.start();
  routers.sync([router('node-1')]);
  await started;
  routers.sync([router('node-1'), router('node-2')]);
  await waitFor(() => clients.length === 2 && clients.every((client) => client.proxies.size === 1), {
    what: 'registered twice',
  });
  assert.deepEqual([...(clients[1]?.proxies.keys() ?? [])], ['web.default.pod-1']);
  assert.equal(sidecar.status().exports[0]?.routers.length, 2);
});

test('without an API server it starts from its cache with the same addresses', async (t) => {
  const port = await freePort('127.0.66.1');
  const first = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web' });
  const started = first.sidecar.start();
  first.routers.sync([router('node-1', [{ name: 'web', port }])]);
  await started;
  const { address } = first.sidecar.status().services[0] ?? {};
  await first.sidecar.stop();
  const second = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web', SIDECAR_CACHE_DIR: first.dir });
  await second.sidecar.start();
  const status = second.sidecar.status();
  assert.equal(status.apiserver.fromCache, true);
  assert.equal(status.services[0]?.address, address);
  assert.deepEqual(
    status.services[0]?.ports.map((entry) => entry.port),
    [port],
  );
  assert.equal(second.clients.length, 1);
});

test('a start that has seen no Router leaves no cache that would make the next one ready', async (t) => {
  const before = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web:1' });
  void before.sidecar.start();
  await waitFor(() => before.sidecar.status().services.length === 1, { what: 'the first round' });
  await before.sidecar.stop();
  const after = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web:1', SIDECAR_CACHE_DIR: before.dir });
  void after.sidecar.start();
  await waitFor(() => after.sidecar.status().services.length === 1, { what: 'the first round' });
  assert.match(after.sidecar.status().problems.join(), /no Router was seen yet/u);
});

test('a listener stays while its service has no provider', async (t) => {
  const port = await freePort('127.0.66.1');
  const { sidecar, routers } = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web' });
  const started = sidecar.start();
  routers.sync([router('node-1', [{ name: 'web', port }])]);
  await started;
  routers.sync([router('node-1')]);
  await waitFor(() => sidecar.status().services[0]?.state === 'noProvider', { what: 'no provider' });
  assert.equal(sidecar.status().services[0]?.ports[0]?.state, 'listening');
});

test('a reload changes services in place, and a wrong one changes nothing', async (t) => {
  const one = await freePort('127.0.66.1');
  const two = await freePort('127.0.66.1');
  const { sidecar, routers, settings } = setUp(t, {
    SIDECAR_MAPPED_SERVICES: `web:${one}`,
    SIDECAR_IP_RANGE: '127.0.66.0/30',
  });
  const started = sidecar.start();
  routers.sync([router('node-1')]);
  await started;
  const before = sidecar.status().services[0]?.address;
  settings.env['SIDECAR_MAPPED_SERVICES'] = `web:${one},db:${two}`;
  await sidecar.reload();
  await waitFor(() => sidecar.status().services[1]?.ports[0]?.state === 'listening', {
    what: 'second service',
  });
  assert.equal(sidecar.status().services[0]?.address, before);
  settings.env['SIDECAR_MAPPED_SERVICES'] = 'web,db,third';
  await assert.rejects(sidecar.reload(), { code: 'EDGE_ERR_USAGE' });
  assert.equal(sidecar.status().services.length, 2);
});

test('what changes before the files are watched is not missed, and nothing is reloaded at the end', async (t) => {
  const { sidecar, routers, settings } = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web:1' });
  settings.env['SIDECAR_MAPPED_SERVICES'] = 'db:1';
  const started = sidecar.start();
  routers.sync([router('node-1')]);
  await started;
  assert.deepEqual(
    sidecar.status().services.map(({ name }) => name),
    ['db'],
  );
  const stopped = sidecar.stop();
  settings.env['SIDECAR_MAPPED_SERVICES'] = 'cache:1';
  await assert.rejects(sidecar.reload(), { code: 'EDGE_ERR_SIDECAR_STOPPED' });
  await stopped;
});

test('more services than addresses are refused before anything is opened', (t) => {
  assert.throws(
    () => setUp(t, { SIDECAR_MAPPED_SERVICES: 'a,b,c', SIDECAR_IP_RANGE: '127.0.66.0/30' }),
    (err: unknown) =>
      err instanceof UsageError &&
      err.message.includes('127.0.66.0/30') &&
      err.message.includes('3 services'),
  );
});

test('at the end it is not ready at once, withdraws its exports and waits for open connections, but not for ever', async (t) => {
  const port = await freePort('127.0.66.1');
  let endDrain: (() => void) | undefined;
  const clock: Clock = {
    ...systemClock,
    after(delayMs, fn) {
      if (delayMs !== DRAIN_TIMEOUT_MS) return systemClock.after(delayMs, fn);
      endDrain = fn;
      return { cancel: () => {} };
    },
  };
  const services = { SIDECAR_MAPPED_SERVICES: 'web', SIDECAR_EXPORTED_SERVICES: 'api=8080' };
  const { sidecar, routers, clients, admin } = setUp(t, services, { clock });
  const started = sidecar.start();
  routers.sync([router('node-1', [{ name: 'web', port }])]);
  await started;
  const [client] = clients;
  assert.ok(client);
  const [near, far] = createStreamPair();
  collect(far);
  client.onVisit = () => Promise.resolve(near);
  client.to('online');
  const socket = connect({ host: sidecar.status().services[0]?.address ?? '', port });
  socket.on('error', () => {});
  await waitFor(() => client.visits.length === 1, { what: 'carried' });
  const stopped = sidecar.stop();
  assert.equal((await admin('/readyz')).status, 503);
  await waitFor(() => client.proxies.size === 0, { what: 'withdrawn' });
  assert.equal(far.isClosed, false);
  await waitFor(() => endDrain, { what: 'the wait for the connection' });
  endDrain?.();
  await stopped;
  assert.equal(far.isClosed || near.isClosed, true);
  assert.equal(client.phase, 'stopped');
});

test('a stop while it is still waiting for Routers ends the start', async (t) => {
  const { sidecar } = setUp(t, { SIDECAR_MAPPED_SERVICES: 'web' });
  const started = sidecar.start();
  await waitFor(() => sidecar.adminPort, { what: 'admin surface' });
  await sidecar.stop();
  await started;
});

test('a damaged cache is no reason not to start', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'state.json'), '{');
  const { sidecar, routers } = setUp(t, { SIDECAR_CACHE_DIR: dir });
  const started = sidecar.start();
  routers.sync([]);
  await started;
  assert.equal(sidecar.status().phase, 'ready');
});
