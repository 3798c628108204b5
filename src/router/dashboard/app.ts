/** The dashboard's HTTP application: page, frps's JSON API, metrics, health. Where it listens is not its concern. */
import { Hono } from 'hono';
import type { Context } from 'hono';
import type { Clock } from '../../lib/clock.ts';
import type { Registry } from '../../lib/metrics.ts';
import type { RouterState } from '../router.ts';
import { groupServices } from '../services.ts';
import { guardAccess } from './access.ts';
import {
  clientList,
  clientObject,
  PROXY_TYPES,
  proxyList,
  proxyStats,
  proxyTraffic,
  serverInfo,
} from './frps-api.ts';
import type { History } from './history.ts';
import page from './page.html';

/** What the application shows. */
export interface DashboardDeps {
  state: RouterState;
  history: History;
  registry: Registry;
  clock: Clock;
}

/** The page is one file with its own script and style, and fetches only from here. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'";

function failure(c: Context, code: 400 | 404 | 405, message: string): Response {
  return c.json({ Code: code, Msg: message }, code);
}

/** Creates the application. */
export function createDashboardApp({ state, history, registry, clock }: DashboardDeps): Hono {
  const app = new Hono();
  app.all('/healthz', (c) => c.body(null, 200));
  app.use(guardAccess(() => state.config?.dashboard, clock));

  const sample = (): Date => {
    const now = clock.wallNow();
    history.sample(state.view(), now);
    return now;
  };
  const oneProxy = (c: Context, name: string, isWanted: (type: string) => boolean): Response => {
    const now = sample();
    const record = history.proxies.get(name);
    if (record === undefined || !isWanted(record.info.type)) return failure(c, 404, `no proxy "${name}"`);
    return c.json(proxyStats(record, now));
  };

  app.get('/', (c) => c.redirect('/static/', 301));
  app.get('/static/', (c) => {
    c.header('content-security-policy', PAGE_POLICY);
    return c.html(page);
  });
  app.get('/metrics', async (c) => {
    c.header('content-type', registry.contentType);
    return c.body(await registry.metrics());
  });
  app.get('/api/serverinfo', (c) => {
    const now = sample();
    return c.json(serverInfo(state.config, state.view(), history, now));
  });
  app.get('/api/proxy/:type', (c) => {
    const type = c.req.param('type');
    if (!PROXY_TYPES.some((known) => known === type)) return failure(c, 404, `no proxy type "${type}"`);
    const now = sample();
    return c.json({ proxies: proxyList(history, type, now) });
  });
  app.get('/api/proxy/:type/:name', (c) =>
    oneProxy(c, c.req.param('name'), (type) => type === c.req.param('type')),
  );
  app.get('/api/proxies/:name', (c) => oneProxy(c, c.req.param('name'), () => true));
  app.delete('/api/proxies', (c) => {
    if (c.req.query('status') !== 'offline') return failure(c, 400, 'status: only "offline" can be deleted');
    sample();
    history.dropOffline();
    return c.body(null, 200);
  });
  app.get('/api/traffic/:name', (c) => {
    const now = sample();
    const record = history.proxies.get(c.req.param('name'));
    if (record === undefined) return failure(c, 404, `no proxy "${c.req.param('name')}"`);
    return c.json(proxyTraffic(record, now));
  });
  app.get('/api/clients', (c) => {
    const status = c.req.query('status');
    if (status !== undefined && !['online', 'offline', 'all'].includes(status)) {
      return failure(c, 400, `status: "${status}" is not one of online, offline, all`);
    }
    sample();
    const { user, clientId, runId } = c.req.query();
    return c.json(clientList(history, { user, clientId, runId, status }));
  });
  app.get('/api/clients/:key', (c) => {
    sample();
    const record = history.clients.get(c.req.param('key'));
    return record === undefined
      ? failure(c, 404, `no client "${c.req.param('key')}"`)
      : c.json(clientObject(record));
  });
  app.get('/api/edge/router', (c) => c.json(routerObject(state)));
  for (const path of READ_ONLY) app.all(path, (c) => failure(c, 405, `${c.req.method} is not allowed here`));
  app.notFound((c) => failure(c, 404, `nothing at ${c.req.path}`));
  return app;
}

/** Paths that answer other methods with 405. */
const READ_ONLY = [
  '/',
  '/static/',
  '/metrics',
  '/api/serverinfo',
  '/api/proxy/:type',
  '/api/proxy/:type/:name',
  '/api/proxies',
  '/api/proxies/:name',
  '/api/traffic/:name',
  '/api/clients',
  '/api/clients/:key',
  '/api/edge/router',
];

/** What the page shows beyond frps's API: the node, its readiness, services by name. */
function routerObject(state: RouterState): object {
  const view = state.view();
  return {
    node: state.node,
    ready: state.ready,
    port: view.port ?? null,
    totals: view.totals,
    services: groupServices(view.proxies).map((group) => ({
      name: group.name,
      namespace: group.namespace,
      protocol: group.protocol,
      targetPort: group.targetPort ?? null,
      localPort: group.remotePort ?? view.port ?? null,
      providers: group.providers.map(({ identity, proxy }) => ({
        id: proxy.name,
        type: proxy.type,
        node: identity.node,
        connections: proxy.connections,
      })),
    })),
    visitors: view.visitors.map(({ target, remoteAddr, connections, bytesIn, bytesOut, loginMetas }) => ({
      target,
      remoteAddr,
      connections,
      bytesIn,
      bytesOut,
      pod: loginMetas['pod'] ?? '',
    })),
  };
}
