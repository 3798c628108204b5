/** The dashboard's HTTP application: page, frps's JSON API, metrics, health. Where it listens is not its concern. */
import { Hono } from 'hono';
import type { Clock } from '../../lib/clock.ts';
import type { Registry } from '../../lib/metrics.ts';
import { registrations } from '../maintenance-object.ts';
import type { RouterState } from '../router.ts';
import { groupServices } from '../services.ts';
import { guardAccess } from './access.ts';
import type { History } from './history.ts';
import page from './page.html';
import { v1Routes } from './routes-v1.ts';
import type { Route } from './routes-v1.ts';
import { v2Routes } from './routes-v2.ts';

/** What the application shows. */
export interface DashboardDeps {
  state: RouterState;
  history: History;
  registry: Registry;
  clock: Clock;
  /** Where the page of terminals is, for the links to it; undefined for none. */
  terminalUrl?: string | undefined;
}

/** The page is one file with its own script and style, and fetches only from here. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Creates the application. */
export function createDashboardApp(deps: DashboardDeps): Hono {
  const { state, registry, clock } = deps;
  const app = new Hono();
  app.all('/healthz', (c) => c.body(null, 200));
  app.use(async (c, next) => {
    if (!isDecodable(c.req.path)) return c.text('400 Bad Request', 400);
    // Hono answers HEAD by GET's route; frps refuses it where it refuses every method but GET
    if (c.req.method === 'HEAD' && c.req.path.startsWith('/api/')) return c.body(null, 405);
    return next();
  });
  const guard = guardAccess(() => state.config?.dashboard, clock);
  for (const { method, path, answer } of [...pageRoutes(deps), ...v1Routes(deps), ...v2Routes(deps)])
    app.on(method, path, guard, answer);
  app.all('/', guard, (c) => c.redirect('/static/', 301));
  app.all('/metrics', guard, async (c) => {
    if (state.config?.dashboard?.hasMetrics !== true) return c.notFound();
    c.header('content-type', registry.contentType);
    return c.body(await registry.metrics());
  });
  // As frps: what is not there and what is not allowed is said to everybody, and without a body to parse.
  const paths = new Set(
    app.routes.filter(({ path }) => /^\/(?:api|static)\//u.test(path)).map(({ path }) => path),
  );
  for (const path of paths) app.all(path, (c) => c.body(null, 405));
  app.notFound((c) => c.text('404 page not found\n', 404));
  return app;
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

function pageRoutes({ state, terminalUrl }: DashboardDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/static/',
      answer(c) {
        c.header('content-security-policy', PAGE_POLICY);
        c.header('cache-control', 'no-cache');
        return c.html(page);
      },
    },
    { method: 'GET', path: '/api/edge/router', answer: (c) => c.json(routerObject(state, terminalUrl)) },
  ];
}

/** What the page shows beyond frps's API: the node, its readiness, services by name. */
function routerObject(state: RouterState, terminalUrl: string | undefined): object {
  const view = state.view();
  return {
    node: state.node,
    ready: state.ready,
    port: view.port ?? null,
    limits: limitsOf(state),
    totals: view.totals,
    terminal: terminalUrl ?? null,
    nodes: [...registrations(view.proxies)].map(([object, { nodeName, isLost }]) => ({
      object,
      node: nodeName,
      state: isLost ? 'silent' : 'online',
    })),
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

/** The limits in force, for people: what a client may be refused for. */
function limitsOf({ config }: RouterState): object {
  const server = config?.server;
  return {
    allowPorts: (server?.allowPorts ?? []).map(({ start, end }) =>
      start === end ? `${start}` : `${start}-${end}`,
    ),
    maxPortsPerClient: server?.maxPortsPerClient ?? 0,
    maxPoolCount: server?.maxPoolCount ?? 0,
    maxClients: server?.limits.maxSessions ?? 0,
    maxProxiesPerClient: server?.limits.maxProxiesPerSession ?? 0,
    userConnTimeoutSeconds: (server?.userConnTimeoutMs ?? 0) / 1000,
    tlsForce: server?.tls.force ?? false,
    hasToken: (server?.token ?? '') !== '',
    policy: config?.policy ?? '',
  };
}
