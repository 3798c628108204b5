/** The router follows its object: waits, serves, reconfigures, refuses, retries, drains. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { sampleProxy, sampleSession, serviceMetas } from '../../test/support/router-samples.ts';
import type { Router, RouterSpec, RouterSpecFrps, RouterStatus } from '../api/gen/types.ts';
import { listenError } from '../lib/http.ts';
import { silentLogger } from '../lib/log.ts';
import type { FrpServer, FrpServerConfig, FrpServerHooks, ProxyInfo } from '../tunnel/frps/types.ts';
import type { DashboardConfig } from './config.ts';
import { createObjectSource } from './object-source.ts';
import { createRouter } from './router.ts';

/** A server that only remembers what it was told. */
class FakeServer implements FrpServer {
  config: FrpServerConfig;
  readonly hooks: FrpServerHooks;
  readonly calls: string[] = [];
  proxyList: ProxyInfo[] = [];
  port: number | undefined;
  readonly takenPorts: ReadonlySet<number>;

  constructor(config: FrpServerConfig, hooks: FrpServerHooks, takenPorts: ReadonlySet<number>) {
    this.config = config;
    this.hooks = hooks;
    this.takenPorts = takenPorts;
  }

  async start(): Promise<void> {
    this.#bind(this.config);
    this.calls.push('start');
  }

  async stop(drainMs: number): Promise<void> {
    this.calls.push(`stop ${drainMs}`);
    while (this.isResumable && this.calls.at(-1) !== 'resume') await new Promise(setImmediate);
  }

  isResumable = false;
  async resume(config: FrpServerConfig): Promise<boolean> {
    this.config = config;
    this.calls.push('resume');
    return this.isResumable;
  }

  async reconfigure(config: FrpServerConfig): Promise<void> {
    this.#bind(config);
    this.config = config;
    this.calls.push('reconfigure');
  }

  #bind(config: FrpServerConfig): void {
    if (this.takenPorts.has(config.bindPort)) {
      throw listenError(`0.0.0.0:${config.bindPort}`, Object.assign(new Error('x'), { code: 'EADDRINUSE' }));
    }
    this.port = config.bindPort;
  }

  sessions() {
    return [sampleSession({ metas: { pod: 'pod-a' } })];
  }

  proxies() {
    return this.proxyList;
  }

  visitors() {
    return [];
  }

  totals() {
    return {
      bytesIn: 1,
      bytesOut: 2,
      connections: 3,
      openConnections: 0,
      refusedLogins: 0,
      queuedBytes: 0,
      droppedConnections: 0,
    };
  }
}

function setup(given: { files?: Record<string, string>; tokenFile?: string; keptSpec?: RouterSpec } = {}) {
  const clock = new FakeClock();
  const files: Record<string, string | undefined> = { ...given.files };
  const servers: FakeServer[] = [];
  const statuses: RouterStatus[] = [];
  const dashboards: (DashboardConfig | undefined)[] = [];
  const taken = new Set<number>();
  const kept: (RouterSpec | undefined)[] = [];
  let object: Router | undefined;
  let listener: (name: string) => void = () => {};
  const objects = {
    hasSynced: false,
    isConnected: false,
    get: () => object,
    onChange(fn: (name: string) => void) {
      listener = fn;
    },
    async start() {},
    async stop() {},
  };
  const api = { isAway: false };
  const source = createObjectSource(
    'node-1',
    { token: given.tokenFile === undefined ? undefined : { file: given.tokenFile }, socketPath: undefined },
    {
      clock,
      log: silentLogger,
      objects,
      secrets: {
        readFile(path) {
          const text = files[path];
          if (text === undefined) throw new Error(`cannot read ${path}: no such file or directory`);
          return text;
        },
        readEnv: () => undefined,
        stamp: (path) => files[path] ?? 'absent',
      },
      cache: {
        load: async () => given.keptSpec,
        save: (spec) => void kept.push(spec),
        drop: () => void kept.push(undefined),
        settled: async () => {},
      },
      async writeStatus(_node, status) {
        if (api.isAway) throw new Error('away');
        statuses.push(status);
        if (object !== undefined) object = { ...object, status };
      },
    },
  );
  const router = createRouter(
    {
      node: 'node-1',
      advertised: ['192.0.2.1'],
      socketPath: undefined,
      drainTimeoutMs: 7000,
    },
    {
      clock,
      random: () => 0,
      log: silentLogger,
      source,
      createServer(config, hooks) {
        const server = new FakeServer(config, hooks, taken);
        servers.push(server);
        return server;
      },
      createDashboard: () => ({
        apply: (config) => void dashboards.push(config),
        proxyClosed: () => {},
        clientGone: () => {},
        problem: undefined,
        stop: async () => {},
      }),
      interfaces: () => ({}),
    },
  );
  let generation = 0;
  let uid = 1;
  const apply = (frps: Partial<RouterSpecFrps>, policy?: 'random'): void => {
    objects.hasSynced = true;
    objects.isConnected = true;
    object = {
      apiVersion: 'edge.example.com/v1',
      kind: 'Router',
      metadata: { name: 'node-1', uid: `uid-${uid}`, generation: ++generation },
      spec: {
        frps: { bindPort: 7000, ...frps },
        ...(policy === undefined ? {} : { loadBalancing: { policy } }),
      },
      ...(object?.status === undefined ? {} : { status: object.status }),
    };
    listener('node-1');
  };
  const remove = (): void => {
    objects.hasSynced = true;
    object = undefined;
    uid++;
    listener('node-1');
  };
  const disconnect = (): void => {
    objects.isConnected = false;
    listener('');
  };
  const notReady = () =>
    router.checks.map((check) => check.problem()).filter((problem) => problem !== undefined);
  const ready = () => statuses.at(-1)?.conditions?.[0];
  const run = (): void => void router.start();
  return {
    clock,
    files,
    servers,
    statuses,
    dashboards,
    taken,
    router,
    apply,
    remove,
    notReady,
    ready,
    run,
    disconnect,
    api,
    kept,
  };
}

test('it waits for the API server, then for its object, and says so', async () => {
  const { clock, router, remove, notReady, run, servers } = setup();
  run();
  await clock.advanceAsync(5000);
  assert.match(notReady().join(), /waiting for the API server/u);
  remove();
  await clock.advanceAsync(5000);
  assert.match(notReady().join(), /waiting for the Router object "node-1"/u);
  assert.equal(servers.length, 0);
  await router.stop();
});

test('start resolves when the server serves, and the status says so within 100 ms', async () => {
  const { clock, router, apply, ready, statuses, servers, notReady } = setup();
  const started = router.start();
  await clock.advanceAsync(1000);
  apply({ bindPort: 7000 });
  await clock.advanceAsync(100);
  await started;
  assert.equal(servers[0]?.calls[0], 'start');
  assert.equal(ready()?.status, 'True');
  assert.equal(ready()?.reason, 'Serving');
  assert.equal(ready()?.observedGeneration, 1);
  assert.equal(statuses.at(-1)?.observedGeneration, 1);
  assert.deepEqual(statuses.at(-1)?.addresses, [{ type: 'InternalIP', address: '192.0.2.1' }]);
  assert.deepEqual(notReady(), []);
  await router.stop();
});

test('a changed spec reconfigures the running server, an equal one does nothing', async () => {
  const { clock, router, apply, run, servers, statuses } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  apply({ maxPortsPerClient: 5 });
  await clock.advanceAsync(100);
  assert.equal(servers.length, 1);
  assert.deepEqual(servers[0]?.calls, ['start', 'reconfigure']);
  assert.equal(servers[0]?.config.maxPortsPerClient, 5);
  apply({ maxPortsPerClient: 5 });
  await clock.advanceAsync(100);
  assert.deepEqual(servers[0]?.calls, ['start', 'reconfigure']);
  assert.equal(statuses.at(-1)?.observedGeneration, 3);
  await router.stop();
});

test('a change of policy or dashboard leaves the server alone', async () => {
  const { clock, router, apply, run, servers, dashboards } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  apply({ dashboardPort: 7500 }, 'random');
  await clock.advanceAsync(100);
  assert.deepEqual(servers[0]?.calls, ['start']);
  assert.equal(dashboards.at(-1)?.port, 7500);
  await router.stop();
});

test('an invalid spec is named and the last good one stays in force', async () => {
  const { clock, router, apply, run, servers, ready, notReady } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  apply({ bindPort: 7001, allowPorts: [{ start: 9, end: 8 }] });
  await clock.advanceAsync(100);
  assert.equal(ready()?.status, 'False');
  assert.equal(ready()?.reason, 'InvalidConfiguration');
  assert.match(
    ready()?.message ?? '',
    /^spec\.frps\.allowPorts\[0\]: .*last good configuration stays in force/u,
  );
  assert.equal(ready()?.observedGeneration, 2);
  assert.equal(servers[0]?.port, 7000);
  assert.deepEqual(notReady(), []);
  apply({ bindPort: 7001 });
  await clock.advanceAsync(100);
  assert.equal(servers[0]?.port, 7001);
  assert.equal(ready()?.status, 'True');
  await router.stop();
});

test('a taken port is reported and tried again until it is free', async () => {
  const { clock, router, apply, run, servers, ready, taken, notReady } = setup();
  taken.add(7000);
  run();
  apply({});
  await clock.advanceAsync(1000);
  assert.equal(ready()?.reason, 'BindFailed');
  assert.match(ready()?.message ?? '', /address already in use/u);
  assert.match(notReady().join(), /address already in use/u);
  taken.clear();
  await clock.advanceAsync(2000);
  assert.equal(ready()?.status, 'True');
  assert.ok(servers.slice(0, -1).every((server) => server.calls.includes('stop 0')));
  await router.stop();
});

test('a server that cannot move keeps its port and tries again', async () => {
  const { clock, router, apply, run, servers, ready, taken } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  taken.add(7001);
  apply({ bindPort: 7001 });
  await clock.advanceAsync(100);
  assert.equal(ready()?.reason, 'BindFailed');
  assert.equal(servers[0]?.port, 7000);
  taken.clear();
  await clock.advanceAsync(1000);
  assert.equal(servers[0]?.port, 7001);
  assert.equal(ready()?.status, 'True');
  await router.stop();
});

test('a token file that changes is in force within a second or so', async () => {
  const { clock, router, apply, run, servers, files } = setup({
    files: { '/run/token': 'one' },
    tokenFile: '/run/token',
  });
  run();
  apply({});
  await clock.advanceAsync(100);
  assert.equal(servers[0]?.config.token, 'one');
  files['/run/token'] = 'two';
  await clock.advanceAsync(1100);
  assert.equal(servers[0]?.config.token, 'two');
  await router.stop();
});

test('a token file that vanishes leaves the old token in force, and one that comes back is read', async () => {
  const { clock, router, apply, run, servers, files, ready } = setup({
    files: { '/run/token': 'one' },
    tokenFile: '/run/token',
  });
  run();
  apply({});
  await clock.advanceAsync(100);
  files['/run/token'] = undefined;
  await clock.advanceAsync(1200);
  assert.equal(ready()?.reason, 'InvalidConfiguration');
  assert.match(ready()?.message ?? '', /^--token-file: cannot read/u);
  assert.equal(servers[0]?.config.token, 'one');
  files['/run/token'] = 'two';
  await clock.advanceAsync(1200);
  assert.equal(servers[0]?.config.token, 'two');
  assert.equal(ready()?.status, 'True');
  await router.stop();
});

test('a deleted object drains the server, and a new one starts another', async () => {
  const { clock, router, apply, remove, run, servers, statuses, dashboards } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  remove();
  await clock.advanceAsync(100);
  assert.deepEqual(servers[0]?.calls, ['start', 'stop 7000']);
  assert.equal(dashboards.at(-1), undefined);
  const before = statuses.length;
  apply({});
  await clock.advanceAsync(100);
  assert.equal(servers.length, 2);
  assert.ok(statuses.length > before);
  assert.equal(statuses.at(-1)?.traffic?.connections, 6);
  await router.stop();
});

test('an object that is made anew while the server still drains takes it up again', async () => {
  const { clock, router, apply, remove, run, servers, statuses } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  const [server] = servers;
  assert.ok(server);
  server.isResumable = true;
  remove();
  await clock.advanceAsync(100);
  apply({ bindPort: 7001 });
  await clock.advanceAsync(100);
  assert.deepEqual(server.calls, ['start', 'stop 7000', 'resume']);
  assert.equal(server.config.bindPort, 7001);
  assert.equal(servers.length, 1);
  assert.equal(statuses.at(-1)?.traffic?.connections, 3, 'counted once');
  server.isResumable = false;
  await router.stop();
});

test('an API server that goes away changes nothing, and gets the state when it is back', async () => {
  const { clock, router, apply, run, servers, statuses, disconnect, api, notReady } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  api.isAway = true;
  disconnect();
  const server = servers[0];
  assert.ok(server);
  server.proxyList = [sampleProxy('mysql.default.pod-a', { metas: serviceMetas('mysql', 'default', 3306) })];
  server.hooks.onChange?.();
  await clock.advanceAsync(60_000);
  assert.deepEqual(server.calls, ['start']);
  assert.deepEqual(notReady(), []);
  assert.deepEqual(statuses.at(-1)?.activeServices, []);
  api.isAway = false;
  apply({});
  await clock.advanceAsync(100);
  assert.equal(statuses.at(-1)?.activeServices?.[0]?.name, 'mysql');
  await router.stop();
});

test('a provider that registers is in the status within 100 ms and answers for its service', async () => {
  const { clock, router, apply, run, servers, statuses } = setup();
  run();
  apply({});
  await clock.advanceAsync(1000);
  const server = servers[0];
  assert.ok(server);
  server.proxyList = [sampleProxy('mysql.default.pod-a', { metas: serviceMetas('mysql', 'default', 3306) })];
  server.hooks.onChange?.();
  const request = {
    name: 'mysql.default',
    sourceAddr: '192.0.2.9:1',
    preferNode: '',
    avoid: new Set<string>(),
    admits: () => true,
  };
  assert.equal(server.hooks.pickProvider?.(request), 'mysql.default.pod-a');
  await clock.advanceAsync(100);
  assert.equal(statuses.at(-1)?.activeServices?.[0]?.providers?.[0]?.id, 'mysql.default.pod-a');
  await router.stop();
});

test('the transition time stays while the condition does', async () => {
  const { clock, router, apply, run, statuses } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  apply({ transport: { maxPoolCount: 3 } });
  await clock.advanceAsync(100_000);
  const times = new Set(statuses.map((status) => status.conditions?.[0]?.lastTransitionTime));
  assert.equal(times.size, 1);
  await router.stop();
});

test('stopping says so in the status, drains and leaves no timer', async () => {
  const { clock, router, apply, run, servers, ready, statuses, notReady } = setup();
  run();
  apply({});
  await clock.advanceAsync(100);
  await Promise.all([router.stop(), router.stop()]);
  assert.equal(ready()?.reason, 'Stopped');
  assert.equal(ready()?.status, 'False');
  assert.deepEqual(statuses.at(-1)?.activeServices, []);
  assert.deepEqual(servers[0]?.calls, ['start', 'stop 7000']);
  assert.deepEqual(notReady(), ['stopping']);
  assert.equal(clock.pendingTimers, 0);
});

test('reload rejects when the configuration cannot be put in force', async () => {
  const { clock, router, apply, run, files } = setup({
    files: { '/run/token': 'one' },
    tokenFile: '/run/token',
  });
  run();
  apply({});
  await clock.advanceAsync(100);
  await router.reload();
  files['/run/token'] = undefined;
  await assert.rejects(router.reload(), { code: 'EDGE_ERR_ROUTER_RELOAD' });
  await router.stop();
});

test('a router whose API server is away serves with the last known spec, and with the object once it is back', async () => {
  const { clock, run, apply, servers, statuses, notReady, router, kept } = setup({
    keptSpec: { frps: { bindPort: 7009 } },
  });
  run();
  await clock.advanceAsync(500);
  assert.equal(servers.length, 0);
  await clock.advanceAsync(1000);
  assert.equal(servers[0]?.port, 7009);
  assert.deepEqual(notReady(), []);
  assert.equal(statuses.length, 0);
  apply({ bindPort: 7009 });
  await clock.advanceAsync(200);
  assert.deepEqual(servers[0]?.calls, ['start']);
  assert.equal(statuses.at(-1)?.observedGeneration, 1);
  apply({ bindPort: 7010 });
  await clock.advanceAsync(200);
  assert.equal(servers[0]?.port, 7010);
  assert.equal(kept.at(-1)?.frps.bindPort, 7010);
  await router.stop();
});

test('a last known spec is not used when the API server answers, and forgotten when there is no object', async () => {
  const { clock, run, remove, servers, router, kept } = setup({ keptSpec: { frps: { bindPort: 7009 } } });
  run();
  await clock.advanceAsync(100);
  remove();
  await clock.advanceAsync(5000);
  assert.equal(servers.length, 0);
  assert.equal(kept.at(-1), undefined);
  assert.ok(kept.length > 0);
  await router.stop();
});
