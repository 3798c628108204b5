/** The dashboard answers as frps does, to those who may ask. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Script } from 'node:vm';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import {
  sampleProxy,
  sampleSession,
  sampleVisitor,
  serviceMetas,
} from '../../../test/support/router-samples.ts';
import { createRegistry } from '../../lib/metrics.ts';
import type { ProxyInfo } from '../../tunnel/frps/types.ts';
import { buildConfig } from '../config.ts';
import type { DashboardConfig } from '../config.ts';
import { registerRouterMetrics } from '../metrics.ts';
import type { RouterState } from '../router.ts';
import { createDashboardApp } from './app.ts';
import { History } from './history.ts';

const OPEN: DashboardConfig = {
  addr: '127.0.0.1',
  port: 7500,
  user: '',
  password: '',
  tls: undefined,
  hasMetrics: true,
};

function setup(dashboard: DashboardConfig | undefined = OPEN) {
  const secrets = { readFile: () => '', readEnv: () => undefined, stamp: () => '' };
  const frps = { bindPort: 7000, allowPorts: [{ start: 7001, end: 7999 }, { single: 9000 }] };
  const config = {
    ...buildConfig({ frps }, { token: undefined, socketPath: undefined }, secrets),
    dashboard,
  };
  const proxies: ProxyInfo[] = [
    sampleProxy('web', {
      type: 'tcp',
      remotePort: 7001,
      clientId: 'laptop',
      user: 'alice',
      useEncryption: true,
    }),
    sampleProxy('mysql.default.pod-a', {
      metas: serviceMetas('mysql', 'default', 3306),
      connections: 2,
      totalConnections: 5,
      bytesIn: 100,
      bytesOut: 200,
      groupKey: 'secret',
    }),
  ];
  const state: RouterState = {
    node: 'node-1',
    config: dashboard === undefined ? undefined : config,
    ready: { isReady: true, reason: 'Serving', message: 'serving' },
    statusWrites: { writes: 4, failures: 1 },
    view: () => ({
      port: 7000,
      sessions: [sampleSession(), sampleSession({ runId: 'run-3', user: 'alice', clientId: 'laptop' })],
      proxies,
      visitors: [sampleVisitor('mysql.default')],
      totals: {
        bytesIn: 100,
        bytesOut: 200,
        connections: 7,
        openConnections: 2,
        refusedLogins: 1,
        queuedBytes: 0,
        droppedConnections: 0,
      },
    }),
  };
  const clock = new FakeClock();
  const history = new History();
  const registry = createRegistry('router', '1.2.3', 'abc');
  registerRouterMetrics(registry, state, history, () => new Date());
  const app = createDashboardApp({ state, history, registry, clock });
  const get = async (path: string, init?: RequestInit) => app.request(`http://127.0.0.1:7500${path}`, init);
  const json = async (path: string) => (await get(path)).json() as Promise<Record<string, unknown>>;
  return { get, json, proxies, clock };
}

test('server information has the fields of frps', async () => {
  const info = await setup().json('/api/serverinfo');
  assert.equal(info['bindPort'], 7000);
  assert.equal(info['allowPortsStr'], '7001-7999,9000');
  assert.equal(info['clientCounts'], 2);
  assert.equal(info['curConns'], 2);
  assert.equal(info['totalTrafficIn'], 100);
  assert.equal(info['heartbeatTimeout'], -1);
  assert.deepEqual(info['proxyTypeCount'], { tcp: 1, stcp: 1 });
  assert.ok(!('tlsForce' in info));
});

test('proxies are listed by type, found by name, and carry their configuration', async () => {
  const { json, get } = setup();
  const { proxies } = (await json('/api/proxy/stcp')) as { proxies: Record<string, unknown>[] };
  assert.equal(proxies.length, 1);
  assert.equal(proxies[0]?.['todayTrafficOut'], 200);
  assert.equal(proxies[0]?.['status'], 'online');
  assert.equal(proxies[0]?.['clientID'], 'run-1');
  assert.ok(!JSON.stringify(proxies).includes('secret'));
  const web = await json('/api/proxy/tcp/web');
  assert.equal((web['conf'] as Record<string, unknown>)['remotePort'], 7001);
  assert.equal(web['user'], 'alice');
  assert.equal((await json('/api/proxies/web'))['name'], 'web');
  assert.equal((await get('/api/proxy/udp/web')).status, 404);
  assert.equal((await get('/api/proxies/none')).status, 404);
  assert.deepEqual(await json('/api/proxy/nonsense'), { proxies: [] });
  assert.deepEqual(await json('/api/proxy/http'), { proxies: [] });
});

test('traffic is seven days, today first', async () => {
  const { json, get } = setup();
  const traffic = await json('/api/traffic/mysql.default.pod-a');
  assert.deepEqual(traffic['trafficIn'], [100, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(traffic['trafficOut'], [200, 0, 0, 0, 0, 0, 0]);
  assert.equal((await get('/api/traffic/none')).status, 404);
});

test('clients are listed, filtered and found by key', async () => {
  const { json, get } = setup();
  const all = (await json('/api/clients')) as unknown as Record<string, unknown>[];
  assert.deepEqual(
    all.map((client) => client['key']),
    ['run-1', 'alice.laptop'],
  );
  const alice = (await json('/api/clients?user=alice')) as unknown as unknown[];
  assert.equal(alice.length, 1);
  assert.deepEqual(await json('/api/clients?status=offline'), []);
  assert.equal((await json('/api/clients/alice.laptop'))['clientIP'], '192.0.2.7');
  assert.equal((await get('/api/clients/none')).status, 404);
  assert.equal(((await json('/api/clients?status=some')) as unknown as unknown[]).length, 2);
});

test('closed proxies are shown as offline until they are deleted', async () => {
  const { json, get, proxies } = setup();
  await json('/api/serverinfo');
  proxies.length = 0;
  const offline = await json('/api/proxies/web');
  assert.equal(offline['status'], 'offline');
  assert.equal(offline['conf'], null);
  assert.notEqual(offline['lastCloseTime'], '');
  assert.equal((await get('/api/proxies', { method: 'DELETE' })).status, 400);
  const deleted = await get('/api/proxies?status=offline', { method: 'DELETE' });
  assert.equal(deleted.status, 200);
  assert.deepEqual(await deleted.json(), { Code: 200, Msg: 'success' });
  assert.equal((await get('/api/proxies/web')).status, 404);
});

test('metrics carry the names of frps and edge', async () => {
  const text = await (await setup().get('/metrics')).text();
  assert.match(text, /^frp_server_client_counts 2$/mu);
  assert.match(text, /^frp_server_proxy_counts\{type="tcp"\} 1$/mu);
  assert.match(text, /^frp_server_connection_counts\{name="mysql\.default\.pod-a",type="stcp"\} 2$/mu);
  assert.match(text, /^frp_server_traffic_in\{name="mysql\.default\.pod-a",type="stcp"\} 100$/mu);
  assert.match(text, /^edge_router_connections_total 7$/mu);
  assert.match(text, /^edge_router_status_writes_total 4$/mu);
});

test('scraping twice counts nothing twice', async () => {
  const { get } = setup();
  await get('/metrics');
  assert.match(await (await get('/metrics')).text(), /^frp_server_traffic_out\{.*\} 200$/mu);
});

test('unknown paths are 404 and wrong methods 405, as frps says it, without a password too', async () => {
  const { get } = setup({ ...OPEN, user: 'admin', password: 'x' });
  for (const path of [
    '/none',
    '/api',
    '/api/none',
    '/api/v2/none',
    '/static',
    '/favicon.ico',
    '/api/serverinfo/',
  ]) {
    const missing = await get(path);
    assert.equal(missing.status, 404, path);
    assert.equal(await missing.text(), '404 page not found\n');
  }
  for (const [method, path] of [
    ['POST', '/api/serverinfo'],
    ['HEAD', '/api/serverinfo'],
    ['GET', '/api/proxies'],
    ['POST', '/api/v2/clients'],
    ['GET', '/api/v2/system/prune'],
    ['POST', '/static/'],
  ] as const) {
    const refused = await get(path, { method });
    assert.equal(refused.status, 405, `${method} ${path}`);
    assert.equal(await refused.text(), '');
  }
  assert.equal((await get('/api/v2/proxies/%zz')).status, 400);
});

test('metrics are served where the configuration says so', async () => {
  const { get } = setup({ ...OPEN, hasMetrics: false });
  assert.equal((await get('/metrics')).status, 404);
});

test('the page is served whole under /static/', async () => {
  const { get } = setup();
  const root = await get('/');
  assert.equal(root.status, 301);
  assert.equal(root.headers.get('location'), '/static/');
  const page = await get('/static/');
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/u);
  const html = await page.text();
  assert.match(html, /<table id="services">/u);
  assert.doesNotMatch(html, /(?:src|href)="(?!data:)/u);
  const script = /<script>(?<code>[\s\S]*)<\/script>/u.exec(html)?.groups?.['code'] ?? '';
  assert.ok(script.length > 0);
  assert.ok(new Script(script)); // parses
});

test('health needs no password and takes any method', async () => {
  const { get } = setup({ ...OPEN, user: 'admin', password: 'x' });
  assert.equal((await get('/healthz')).status, 200);
  assert.equal((await get('/healthz', { method: 'POST' })).status, 200);
});

test('a wrong or missing password is refused after 200 ms', async () => {
  const { get, clock } = setup({ ...OPEN, user: 'admin', password: 'pass:word' });
  const basic = (text: string) => ({
    headers: { authorization: `Basic ${Buffer.from(text).toString('base64')}` },
  });
  const late = async (init?: RequestInit): Promise<Response> => {
    let isAnswered = false;
    const answer = get('/api/serverinfo', init).finally(() => {
      isAnswered = true;
    });
    await clock.advanceAsync(199);
    assert.equal(isAnswered, false);
    await clock.advanceAsync(1);
    return answer;
  };
  const refused = await late();
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('www-authenticate'), 'Basic realm="Restricted"');
  for (const wrong of ['admin:wrong', ':', 'admin', 'pass:word'])
    assert.equal((await late(basic(wrong))).status, 401, wrong);
  assert.equal((await late({ headers: { authorization: 'Bearer x' } })).status, 401);
  assert.equal((await get('/api/serverinfo', basic('admin:pass:word'))).status, 200);
});

test('without a password only loopback is shown', async () => {
  const { get } = setup({ ...OPEN, addr: '0.0.0.0' });
  const refused = await get('/api/serverinfo');
  assert.equal(refused.status, 403);
  assert.match(((await refused.json()) as { Msg: string }).Msg, /dashboardUser/u);
  assert.equal((await get('/healthz')).status, 200);
});

test('a foreign host name is not served without a password', async () => {
  const { get } = setup();
  assert.equal((await get('/api/serverinfo', { headers: { host: 'attacker.example.org' } })).status, 403);
  assert.equal((await get('/api/serverinfo', { headers: { host: 'localhost:7500' } })).status, 200);
  assert.equal((await get('/api/serverinfo', { headers: { host: '[::1]:7500' } })).status, 200);
});

interface Answer {
  code: number;
  msg: string;
  data: Record<string, unknown> & { items: Record<string, unknown>[]; total: number };
}

function setupV2() {
  const { get, proxies } = setup();
  const v2 = async (path: string, init?: RequestInit): Promise<Answer> =>
    (await (await get(`/api/v2/${path}`, init)).json()) as Answer;
  const names = async (path: string): Promise<unknown[]> =>
    (await v2(path)).data.items.map((item) => item['name'] ?? item['key'] ?? item['user']);
  return { get, v2, names, proxies };
}

test('the second API lists proxies in pages, by type and name', async () => {
  const { v2, names } = setupV2();
  const all = await v2('proxies');
  assert.equal(all.code, 200);
  assert.equal(all.msg, 'success');
  assert.deepEqual(await names('proxies'), ['mysql.default.pod-a', 'web']);
  assert.deepEqual(await names('proxies?pageSize=1&page=2'), ['web']);
  assert.deepEqual(await names('proxies?page=3'), []);
  assert.deepEqual(await names('proxies?type=TCP'), ['web']);
  assert.deepEqual(await names('proxies?user='), ['mysql.default.pod-a']);
  assert.deepEqual(await names('proxies?clientID=laptop'), ['web']);
  assert.deepEqual(await names('proxies?q=MYSQL'), ['mysql.default.pod-a']);
  assert.deepEqual(await names('proxies?q=7001'), ['web']);
  assert.deepEqual(await names('proxies?status=offline'), []);
  assert.equal((await v2('proxies?pageSize=1')).data.total, 2);
});

test('the second API lists clients and users', async () => {
  const { v2, names } = setupV2();
  assert.deepEqual(await names('clients'), ['run-1', 'alice.laptop']);
  assert.deepEqual(await names('clients?user='), ['run-1']);
  assert.deepEqual(await names('clients?runID=run-3&clientID=laptop'), ['alice.laptop']);
  assert.deepEqual(await names('clients?q=LAPTOP'), ['alice.laptop']);
  assert.deepEqual((await v2('users')).data.items, [
    { user: '', clientCount: 1, proxyCount: 1 },
    { user: 'alice', clientCount: 1, proxyCount: 1 },
  ]);
  assert.deepEqual(await names('users?q=ALI'), ['alice']);
  const { status } = (await v2('clients/alice.laptop')).data;
  assert.deepEqual(status, { phase: 'online', curConns: 0, proxyCount: 1 });
});

test('the second API tells a proxy, its traffic by day, and what is gone', async () => {
  const { v2, proxies } = setupV2();
  proxies.push(sampleProxy('a/b %c', { bytesIn: 5 }));
  const name = encodeURIComponent('a/b %c');
  assert.equal((await v2(`proxies/${name}`)).data['name'], 'a/b %c');
  const traffic = (await v2(`proxies/${name}/traffic`)).data;
  const history = traffic['history'] as { date: string; trafficIn: number }[];
  assert.equal(traffic['unit'], 'bytes');
  assert.equal(history.length, 7);
  assert.equal(history[6]?.trafficIn, 5);
  assert.ok(history.every(({ date }, at) => at === 0 || date > (history[at - 1]?.date ?? '')));
  proxies.pop();
  const gone = (await v2(`proxies/${name}`)).data;
  assert.deepEqual(gone['spec'], { type: 'stcp', stcp: {} });
  assert.equal((gone['status'] as Record<string, unknown>)['phase'], 'offline');
  const pruned = await v2('system/prune?type=offline_proxies', { method: 'POST' });
  assert.deepEqual(pruned.data, { type: 'offline_proxies', cleared: 1, total: 3 });
});

for (const path of [
  'clients?page=0',
  'clients?page=x',
  'clients?pageSize=201',
  'clients?page=9007199254740993&pageSize=200',
  'clients?status=some',
  'proxies?type=ftp',
  'users?page=-1',
]) {
  test(`the second API refuses ${path}`, async () => {
    const { v2 } = setupV2();
    const { code, data } = await v2(path);
    assert.equal(code, 400);
    assert.equal(data, null);
  });
}

test('the second API answers mistakes in its own form', async () => {
  const { v2 } = setupV2();
  assert.deepEqual(await v2('proxies/none'), { code: 404, msg: 'no proxy info found', data: null });
  assert.deepEqual(await v2('clients/none'), { code: 404, msg: 'client none not found', data: null });
  assert.equal((await v2('system/prune', { method: 'POST' })).code, 400);
  assert.equal((await v2('system/prune?type=all', { method: 'POST' })).code, 400);
});
