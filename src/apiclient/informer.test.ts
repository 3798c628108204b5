/** Tests of the informer against a server that fails in every way: the copy stays, follows, and learns what vanished. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeApiServer } from '../../test/support/fake-api-server.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { SOON_MS, waitFor } from '../../test/support/wait.ts';
import { API_VERSION, ROUTERS } from '../api/edge.ts';
import type { KubeObject } from '../api/meta.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { createApiClient } from './client.ts';
import { createInformer } from './informer.ts';
import type { Informer, InformerConfig } from './informer.ts';

checkLeaks();

function router(name: string, bindPort = 7000): KubeObject {
  return { apiVersion: API_VERSION, kind: 'Router', metadata: { name }, spec: { frps: { bindPort } } };
}

interface Setup {
  api: FakeApiServer;
  informer: Informer<KubeObject>;
  changes: string[];
  errors: unknown[];
}

async function setup(t: TestContext, options: Partial<InformerConfig> = {}): Promise<Setup> {
  const api = new FakeApiServer();
  api.put(router('a'));
  await api.start(t);
  const client = createApiClient({ server: api.url });
  const errors: unknown[] = [];
  const informer = createInformer<KubeObject>(
    { client, resource: ROUTERS, onError: (err) => errors.push(err), ...options },
    { clock: systemClock, log: silentLogger },
  );
  const changes: string[] = [];
  informer.onChange((name) => changes.push(name));
  t.after(async () => {
    await informer.stop();
    client.close();
  });
  return { api, informer, changes, errors };
}

const names = (informer: Informer<KubeObject>): string =>
  informer
    .list()
    .map((item) => item.metadata.name)
    .join();

test('it lists, follows changes and tells which names changed', async (t) => {
  const { api, informer, changes } = await setup(t);
  await informer.start();
  await informer.whenSynced();
  assert.equal(informer.hasSynced && informer.isConnected, true);
  assert.equal(informer.get('a')?.kind, 'Router');
  await waitFor(() => api.watchers === 1, { what: 'watch' });
  changes.length = 0;
  api.put(router('b'));
  api.put(router('b', 1));
  api.remove('a');
  await waitFor(() => names(informer) === 'b', { what: 'changes' });
  assert.deepEqual(changes, ['b', 'b', 'a']);
  assert.deepEqual(informer.get('b')?.spec, { frps: { bindPort: 1 } });
});

test('it starts before the server does', async (t) => {
  const { api, informer } = await setup(t);
  await api.stop();
  await informer.start();
  await waitFor(() => !informer.hasSynced, { what: 'no server yet' });
  await api.start(t);
  await informer.whenSynced();
  assert.equal(names(informer), 'a');
});

test('after a killed server comes back, what changed and what vanished is told soon', async (t) => {
  const { api, informer, changes, errors } = await setup(t);
  api.put(router('b'));
  await informer.start();
  await informer.whenSynced();
  await api.stop();
  await waitFor(() => !informer.isConnected, { what: 'noticed' });
  assert.equal(names(informer), 'a,b', 'the copy survives');
  assert.ok(errors.length > 0);
  api.remove('a');
  api.put(router('c'));
  changes.length = 0;
  await new Promise((resolve) => {
    setTimeout(resolve, 1500); // long enough for the back-off to reach its ceiling
  });
  await api.start(t);
  const isCaughtUp = () => informer.isConnected && names(informer) === 'b,c';
  await waitFor(isCaughtUp, { what: 'caught up', timeoutMs: SOON_MS });
  assert.deepEqual([...new Set(changes)].sort(), ['', 'a', 'c']);
});

test('a watch that ends is resumed where it was, without a new list', async (t) => {
  const { api, informer } = await setup(t);
  await informer.start();
  await waitFor(() => api.watchers === 1, { what: 'watch' });
  await new Promise((resolve) => {
    setTimeout(resolve, 1100); // a shorter watch without events counts as failed
  });
  api.requests.length = 0;
  api.endWatches();
  api.put(router('b'));
  await waitFor(() => names(informer) === 'a,b', { what: 'resumed' });
  assert.equal(api.requests.length, 1);
  assert.equal(informer.isConnected, true);
});

test('an expired version leads to a new list', async (t) => {
  const { api, informer, errors } = await setup(t);
  await informer.start();
  await waitFor(() => api.watchers === 1, { what: 'watch' });
  const status = { kind: 'Status', code: 410, reason: 'Expired' };
  api.objects.delete('a');
  api.inject(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
  await waitFor(() => names(informer) === '', { what: 'listed again' });
  assert.deepEqual(errors, []);
});

test('a path that goes silent is noticed within seconds', async (t) => {
  const { api, informer } = await setup(t);
  await informer.start();
  await waitFor(() => api.watchers === 1, { what: 'watch' });
  api.isHanging = true;
  await waitFor(() => !informer.isConnected, { what: 'silence noticed', timeoutMs: SOON_MS });
  api.isHanging = false;
  api.put(router('b'));
  await waitFor(() => informer.isConnected && names(informer) === 'a,b', {
    what: 'healed',
    timeoutMs: SOON_MS,
  });
});

test('garbage, refusals and unwanted objects change nothing in the copy', async (t) => {
  const { api, informer, errors } = await setup(t, {
    fieldSelector: 'metadata.name=a',
    isWanted: (item) => item.metadata.name === 'a',
  });
  api.isLying = true;
  api.put(router('z'));
  await informer.start();
  await waitFor(() => api.watchers === 1, { what: 'watch' });
  api.put(router('y'));
  api.inject('{"type":"ADDED","object":{}}\nnonsense\n');
  await waitFor(() => errors.length > 0, { what: 'garbage noticed' });
  assert.equal(names(informer), 'a');
  api.failWith = 403;
  api.cut();
  await waitFor(() => !informer.isConnected, { what: 'refused' });
  api.failWith = undefined;
  await waitFor(() => informer.isConnected, { what: 'accepted again' });
  assert.equal(names(informer), 'a');
});

test('waiting for a copy ends with the signal and with the informer', async (t) => {
  const { api, informer } = await setup(t);
  await api.stop();
  await informer.start();
  const giveUp = new AbortController();
  setTimeout(() => giveUp.abort(), 20);
  await informer.whenSynced(giveUp.signal);
  const waiting = informer.whenSynced();
  await informer.stop();
  await waiting;
  assert.equal(informer.hasSynced, false);
});
