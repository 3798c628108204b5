/** frps's JSON API as it was before 0.70 (frp protocol 7.2): paths, parameters and error bodies. */
import type { Context } from 'hono';
import type { DashboardDeps } from './app.ts';
import { clientList, clientObject, proxyList, proxyStats, proxyTraffic, serverInfo } from './frps-api.ts';

/** One path of the dashboard and who answers there. */
export interface Route {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  answer: (c: Context) => Response | Promise<Response>;
}

const NO_PROXY = 'no proxy info found';

function failure(c: Context, code: 400 | 404, message: string): Response {
  return c.json({ Code: code, Msg: message }, code);
}

/** A parameter of the path, percent-decoded. */
export function pathParameter(c: Context, name: string): string {
  return c.req.param(name) ?? '';
}

/** The routes. Each answer takes in what the server reports first. */
export function v1Routes({ state, history, clock }: DashboardDeps): Route[] {
  const sample = (): Date => {
    const now = clock.wallNow();
    history.sample(state.view(), now);
    return now;
  };
  const oneProxy = (c: Context, isWanted: (type: string) => boolean): Response => {
    const now = sample();
    const record = history.proxies.get(pathParameter(c, 'name'));
    return record === undefined || !isWanted(record.info.type)
      ? failure(c, 404, NO_PROXY)
      : c.json(proxyStats(record, now));
  };
  return [
    {
      method: 'GET',
      path: '/api/serverinfo',
      answer(c) {
        const now = sample();
        return c.json(serverInfo(state.config, state.view(), history, now));
      },
    },
    {
      method: 'GET',
      path: '/api/proxy/:type',
      answer(c) {
        const now = sample();
        return c.json({ proxies: proxyList(history, pathParameter(c, 'type'), now) });
      },
    },
    {
      method: 'GET',
      path: '/api/proxy/:type/:name',
      answer: (c) => oneProxy(c, (type) => type === pathParameter(c, 'type')),
    },
    { method: 'GET', path: '/api/proxies/:name', answer: (c) => oneProxy(c, () => true) },
    {
      method: 'DELETE',
      path: '/api/proxies',
      answer(c) {
        if (c.req.query('status') !== 'offline') return failure(c, 400, 'status only support offline');
        sample();
        history.dropOffline();
        return c.json({ Code: 200, Msg: 'success' });
      },
    },
    {
      method: 'GET',
      path: '/api/traffic/:name',
      answer(c) {
        const now = sample();
        const record = history.proxies.get(pathParameter(c, 'name'));
        return record === undefined ? failure(c, 404, NO_PROXY) : c.json(proxyTraffic(record, now));
      },
    },
    {
      method: 'GET',
      path: '/api/clients',
      answer(c) {
        sample();
        const { user, clientId, runId, status } = c.req.query();
        return c.json(clientList(history, { user, clientId, runId, status }));
      },
    },
    {
      method: 'GET',
      path: '/api/clients/:key',
      answer(c) {
        sample();
        const key = pathParameter(c, 'key');
        const record = history.clients.get(key);
        return record === undefined
          ? failure(c, 404, `client ${key} not found`)
          : c.json(clientObject(record));
      },
    },
  ];
}
