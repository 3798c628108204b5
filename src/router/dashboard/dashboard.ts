/** The dashboard as a whole: application, history and metrics of one router, behind a listener that follows its spec. */
import type { Clock } from '../../lib/clock.ts';
import { listenHttp } from '../../lib/http.ts';
import type { FetchHandler } from '../../lib/http.ts';
import type { Logger } from '../../lib/log.ts';
import type { Registry } from '../../lib/metrics.ts';
import { registerRouterMetrics } from '../metrics.ts';
import type { DashboardControl, RouterState } from '../router.ts';
import { createDashboardApp } from './app.ts';
import { History } from './history.ts';
import { createDashboardListener } from './listener.ts';

/** What the dashboard needs. */
export interface DashboardDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  registry: Registry;
  /** Where the page of terminals is; undefined for none. */
  terminalUrl?: string | undefined;
}

/** Traffic is counted for the day it is sampled on; proxies and clients that end are told at once. */
const SAMPLE_MS = 5000;

/** Creates the dashboard of a router and registers the router's metrics. */
export function createDashboard(
  state: RouterState,
  onChange: () => void,
  deps: DashboardDeps,
): DashboardControl {
  const { clock, random, log, registry, terminalUrl } = deps;
  const history = new History();
  registerRouterMetrics(registry, state, history, () => clock.wallNow());
  const app = createDashboardApp({ state, history, registry, clock, terminalUrl });
  const fetch: FetchHandler = (request, env) => app.fetch(request, env);
  const listener = createDashboardListener({ clock, random, log, fetch, listen: listenHttp, onChange });
  const sampling = clock.every(SAMPLE_MS, () => history.sample(state.view(), clock.wallNow()));
  return {
    apply: (config) => listener.apply(config),
    proxyClosed: (proxy) => history.proxyClosed(proxy, clock.wallNow()),
    clientGone: (session) => history.clientGone(session, clock.wallNow()),
    get problem() {
      return listener.problem;
    },
    async stop() {
      sampling.cancel();
      await listener.stop();
    },
  };
}
