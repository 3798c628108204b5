/** The Frp Adapter through its application over a real store: answers, errors, bodies and who may ask. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { createHarness, NODE_MAINTENANCES } from '../../../test/support/apiserver-harness.ts';
import { createAuthenticator } from '../auth/authenticator.ts';
import { parseTokenFile } from '../auth/tokens.ts';
import { resources } from '../registry/resources.ts';
import { createAdapterApp } from './app.ts';
import { createNodeWriter } from './node-writer.ts';

const NAME = 'nodemaintenances-abc';
const NODE = { frp_server_ip_address: '203.0.113.7', unique_id: 'abc', port: '6022' };

async function start(t: TestContext, tokens?: string) {
  const api = await createHarness({});
  t.after(() => api.close());
  const resource = resources.get('nodemaintenances');
  assert.ok(resource);
  const app = createAdapterApp({
    nodes: createNodeWriter({ store: api.store, resource, clock: systemClock }),
    clock: systemClock,
    log: silentLogger,
    rules: {
      authenticate: createAuthenticator(tokens === undefined ? undefined : parseTokenFile(tokens, 'tokens')),
      isOpen: tokens === undefined,
      origins: [],
    },
    terminals: undefined,
    audit: undefined,
    notServing: () => undefined,
  });
  const send = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const answer = await app.request(
      path,
      {
        method,
        headers: { 'content-type': 'application/json', ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      },
      { transport: 'http' },
    );
    const value = (await answer.json()) as { code: number; data?: unknown; error?: { message: string } };
    assert.equal(value.code, answer.status);
    return value;
  };
  return { api, app, send };
}

test('a node is created, fetched, updated and set offline', async (t) => {
  const { api, send } = await start(t);
  const data = { frp_server_ip_address: '203.0.113.7', proxy_port: '6022', status: 'offline' };
  assert.deepEqual(await send('POST', '/frp_create', NODE), { code: 200, data });
  assert.deepEqual(await send('GET', `/frp_fetch/${NAME}`), { code: 200, data });
  const update = { ...NODE, port: 6023, status: 'online' };
  const online = { ...data, proxy_port: '6023', status: 'online' };
  assert.deepEqual(await send('PUT', '/frp_update', update), { code: 200, data: online });
  const object = (await api.send('GET', `${NODE_MAINTENANCES}/${NAME}`)).object as unknown as NodeMaintenance;
  assert.equal(object.spec.nodeName, 'node-abc');
  assert.deepEqual(object.spec.proxy, { type: 'FRP', endpoint: '' });
  assert.equal(object.status?.conditions?.[0]?.name, 'maintainable');
  assert.equal(object.metadata.generation, 2);
  assert.deepEqual(await send('PUT', '/nm_useless'), { code: 200, data: { changed: 1 } });
  assert.deepEqual(await send('PUT', '/nm_useless'), { code: 200, data: { changed: 0 } });
  assert.deepEqual((await send('GET', `/frp_fetch/${NAME}`)).data, { ...online, status: 'offline' });
});

test('an update creates what is missing, and one that changes nothing writes nothing', async (t) => {
  const { api, send } = await start(t);
  assert.equal((await send('PUT', '/frp_update', { ...NODE, status: 'online' })).code, 200);
  const { revision } = api.store;
  assert.equal((await send('PUT', '/frp_update', { ...NODE, status: 'online' })).code, 200);
  assert.equal(api.store.revision, revision);
});

test('bodies may be forms', async (t) => {
  const { app, send } = await start(t);
  const body = new URLSearchParams({ ...NODE, status: 'online' });
  const answer = await app.request('/frp_update', { method: 'PUT', body }, { transport: 'http' });
  assert.equal(answer.status, 200);
  assert.deepEqual((await send('GET', `/frp_fetch/${NAME}`)).data, {
    frp_server_ip_address: '203.0.113.7',
    proxy_port: '6022',
    status: 'online',
  });
});

test('what cannot be done is answered in the envelope, with the parameter at fault', async (t) => {
  const { app, send } = await start(t);
  assert.equal((await send('GET', `/frp_fetch/${NAME}`)).code, 404);
  assert.equal((await send('GET', '/nothing')).code, 404);
  await send('POST', '/frp_create', NODE);
  assert.equal((await send('POST', '/frp_create', NODE)).code, 409);
  for (const [field, value] of [
    ['unique_id', '../x'],
    ['port', '70000'],
    ['frp_server_ip_address', 'a b'],
    ['status', 'up'],
  ] as const) {
    const { code, error } = await send('PUT', '/frp_update', { ...NODE, status: 'online', [field]: value });
    assert.equal(code, 400);
    assert.match(error?.message ?? '', new RegExp(`^${field}: `, 'u'));
  }
  assert.equal((await send('PUT', '/frp_update', { ...NODE, pad: 'x'.repeat(20_000) })).code, 413);
  const broken = await app.request('/frp_create', { method: 'POST', body: '{' }, { transport: 'http' });
  assert.equal(broken.status, 400);
});

test('where tokens are asked for, only admin, cloud and router get in; web pages never do', async (t) => {
  const tokens = ['c,cloud,,cloud', 'r,router,,router', 'a,root,,admin', 's,side,,sidecar'].join('\n');
  const { send } = await start(t, tokens);
  const as = async (token: string): Promise<number> =>
    (await send('PUT', '/nm_useless', undefined, { authorization: `Bearer ${token}` })).code;
  assert.deepEqual([await as('c'), await as('r'), await as('a')], [200, 200, 200]);
  assert.equal(await as('s'), 403);
  assert.equal(await as('wrong'), 401);
  assert.equal((await send('PUT', '/nm_useless')).code, 401);
  const open = await start(t);
  assert.equal(
    (await open.send('PUT', '/nm_useless', undefined, { origin: 'http://x.example.org' })).code,
    403,
  );
});
