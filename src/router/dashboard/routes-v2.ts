/** frps's second JSON API (frp protocol 7.3): every answer is `{code, msg, data}`, lists come in pages. */
import type { Context } from 'hono';
import type { DashboardDeps } from './app.ts';
import {
  clientDetail,
  clientListV2,
  pageOf,
  proxyListV2,
  proxyObject,
  pruneType,
  QueryError,
  systemInfo,
  trafficHistory,
  userList,
} from './frps-api-v2.ts';
import type { Query } from './frps-api-v2.ts';
import { pathParameter } from './routes-v1.ts';
import type { Route } from './routes-v1.ts';

const NO_PROXY = 'no proxy info found';

/** Something that is not there, with what to say about it. */
class NotFound extends Error {}

/** The routes. Each answer takes in what the server reports first. */
export function v2Routes({ state, history, clock }: DashboardDeps): Route[] {
  const route = (
    method: Route['method'],
    path: string,
    data: (parameter: (name: string) => string, query: Query, now: Date) => object,
  ): Route => ({
    method,
    path: `/api/v2/${path}`,
    answer: (c) =>
      answer(c, () => {
        const now = clock.wallNow();
        history.sample(state.view(), now);
        return data(
          (name) => pathParameter(c, name),
          (name) => c.req.query(name),
          now,
        );
      }),
  });
  const proxyNamed = (name: string) => {
    const record = history.proxies.get(name);
    if (record === undefined) throw new NotFound(NO_PROXY);
    return record;
  };
  return [
    route('GET', 'users', (_, query) => pageOf(userList(history, query), query)),
    route('GET', 'system/info', (_, __, now) => systemInfo(state.config, state.view(), history, now)),
    route('POST', 'system/prune', (_, query) => {
      const type = pruneType(query);
      return { type, ...history.dropOffline() };
    }),
    route('GET', 'clients', (_, query) => pageOf(clientListV2(history, query), query)),
    route('GET', 'clients/:key', (parameter) => {
      const key = parameter('key');
      const record = history.clients.get(key);
      if (record === undefined) throw new NotFound(`client ${key} not found`);
      return clientDetail(record, history);
    }),
    route('GET', 'proxies', (_, query, now) => pageOf(proxyListV2(history, query, now), query)),
    route('GET', 'proxies/:name', (parameter, _, now) => proxyObject(proxyNamed(parameter('name')), now)),
    route('GET', 'proxies/:name/traffic', (parameter, _, now) =>
      trafficHistory(proxyNamed(parameter('name')), now),
    ),
  ];
}

function answer(c: Context, data: () => object): Response {
  try {
    return c.json({ code: 200, msg: 'success', data: data() });
  } catch (err) {
    const code = err instanceof QueryError ? 400 : err instanceof NotFound ? 404 : undefined;
    if (code === undefined || !(err instanceof Error)) throw err;
    return c.json({ code, msg: err.message, data: null }, code);
  }
}
