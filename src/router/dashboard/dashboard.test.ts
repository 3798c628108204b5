/** The dashboard as processes see it: over HTTP, moving between ports. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { checkLeaks } from '../../../test/support/leak-check.ts';
import { freePorts } from '../../../test/support/ports.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { createRegistry } from '../../lib/metrics.ts';
import { buildConfig } from '../config.ts';
import type { RouterConfig } from '../config.ts';
import type { RouterState } from '../router.ts';
import { EMPTY_TOTALS } from '../tunnel.ts';
import { createDashboard } from './dashboard.ts';

checkLeaks();

function setup() {
  const base = buildConfig(
    { frps: { bindPort: 7000 } },
    { token: undefined, socketPath: undefined },
    { readFile: () => '', readEnv: () => undefined, stamp: () => '' },
  );
  let config: RouterConfig = base;
  const state: RouterState = {
    node: 'node-1',
    get config() {
      return config;
    },
    ready: { isReady: true, reason: 'Serving', message: '' },
    statusWrites: { writes: 0, failures: 0 },
    view: () => ({
      port: 7000,
      sessions: [],
      proxies: [],
      visitors: [],
      totals: EMPTY_TOTALS,
    }),
  };
  const registry = createRegistry('router', '1.2.3', 'abc');
  const dashboard = createDashboard(state, () => {}, {
    clock: systemClock,
    random: () => 0,
    log: silentLogger,
    registry,
  });
  const serveOn = (port: number): void => {
    config = {
      ...base,
      dashboard: { addr: '127.0.0.1', port, user: '', password: '', tls: undefined, hasMetrics: true },
    };
    dashboard.apply(config.dashboard);
  };
  return { dashboard, serveOn };
}

async function bindPortAt(port: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}/api/serverinfo`, { headers: { connection: 'close' } });
  return ((await answer.json()) as { bindPort: number }).bindPort;
}

test('it answers over HTTP and moves to another port', async () => {
  const { dashboard, serveOn } = setup();
  const [first = 0, second = 0] = await freePorts(2);
  serveOn(first);
  await waitFor(async () => (await bindPortAt(first)) === 7000, { what: 'dashboard on the first port' });
  serveOn(second);
  await waitFor(async () => (await bindPortAt(second)) === 7000, { what: 'dashboard on the second port' });
  await waitFor(
    () =>
      bindPortAt(first).then(
        () => false,
        () => true,
      ),
    { what: 'first port closed' },
  );
  await dashboard.stop();
});

test('it takes a port as soon as another program leaves it', async () => {
  const { dashboard, serveOn } = setup();
  const [port = 0] = await freePorts(1);
  const holder = createServer();
  await new Promise<void>((resolve) => {
    holder.listen(port, '127.0.0.1', resolve);
  });
  serveOn(port);
  await waitFor(() => dashboard.problem, { what: 'a reported problem' });
  assert.match(dashboard.problem ?? '', /address already in use/u);
  await new Promise((resolve) => {
    holder.close(resolve);
  });
  await waitFor(async () => (await bindPortAt(port)) === 7000, { what: 'dashboard on the freed port' });
  assert.equal(dashboard.problem, undefined);
  await dashboard.stop();
});
