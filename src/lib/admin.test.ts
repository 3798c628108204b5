/** Tests of the health and metrics surface. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAdminApp } from './admin.ts';
import { createRegistry } from './metrics.ts';

function appWith(problems: Record<string, string | undefined>) {
  const checks = Object.keys(problems).map((name) => ({ name, problem: () => problems[name] }));
  return createAdminApp({ registry: createRegistry('router', '1.2.3', 'abc'), checks });
}

test('is alive whatever its checks say', async () => {
  const app = appWith({ api: 'not connected' });
  for (const path of ['/healthz', '/livez']) {
    const response = await app.request(path);
    assert.equal(response.status, 200);
    assert.equal(await response.text(), 'ok');
  }
});

test('is ready when every check is, and says nothing more', async () => {
  const response = await appWith({ api: undefined, tunnel: undefined }).request('/readyz');
  assert.equal(response.status, 200);
  assert.equal(await response.text(), 'ok');
});

test('lists each check with its reason when one is not ready', async () => {
  const response = await appWith({ api: undefined, tunnel: 'port in use' }).request('/readyz');
  assert.equal(response.status, 503);
  assert.equal(await response.text(), '[+]api ok\n[-]tunnel not ready: port in use\nnot ready\n');
});

test('lists each check on request also when all are ready', async () => {
  const response = await appWith({ api: undefined }).request('/readyz?verbose');
  assert.equal(response.status, 200);
  assert.equal(await response.text(), '[+]api ok\nok\n');
});

test('asks the checks anew each time', async () => {
  const problems: Record<string, string | undefined> = { api: 'starting' };
  const app = appWith(problems);
  assert.equal((await app.request('/readyz')).status, 503);
  problems['api'] = undefined;
  assert.equal((await app.request('/readyz')).status, 200);
});

test('serves metrics in the Prometheus text format with the build', async () => {
  const response = await appWith({}).request('/metrics');
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain/u);
  const text = await response.text();
  assert.match(text, /^edge_build_info\{component="router",version="1\.2\.3",commit="abc"\} 1$/mu);
  assert.match(text, /^process_resident_memory_bytes /mu);
});
