/** A path that was asked for before leads where it led, whatever was asked for in between. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { CachedRouter } from './cached-router.ts';

test('known and new paths lead to their handlers with their parameters, also after thousands of others', async () => {
  const app = new Hono({ router: new CachedRouter() });
  app.use(async (c, next) => {
    await next();
    c.header('x-seen', c.req.path);
  });
  app.get('/:resource/:name', (c) => c.text(`get ${c.req.param('resource')} ${c.req.param('name')}`));
  app.put('/:resource/:name', (c) => c.text(`put ${c.req.param('name')}`));
  const ask = async (method: string, path: string) => {
    const answer = await app.request(path, { method });
    assert.equal(answer.headers.get('x-seen'), decodeURI(path));
    return answer.text();
  };
  for (let round = 0; round < 2; round++) {
    assert.equal(await ask('GET', '/routers/a'), 'get routers a');
    assert.equal(await ask('PUT', '/routers/a'), 'put a');
    assert.equal(await ask('GET', '/routers/a%20b'), 'get routers a b');
    assert.equal(await ask('GET', `/routers/${'x'.repeat(300)}`), `get routers ${'x'.repeat(300)}`);
    assert.equal((await app.request('/nowhere')).status, 404);
    for (let at = 0; at < 2500; at++) assert.equal(await ask('PUT', `/routers/n${at}`), `put n${at}`);
  }
});

test('a route that is added later is found, also by a path that was asked for before', () => {
  const router = new CachedRouter<string>();
  router.add('GET', '/a/:x', 'first');
  const handlers = () => router.match('GET', '/a/b')[0].map(([handler]) => handler);
  assert.deepEqual(handlers(), ['first']);
  router.add('GET', '/a/b', 'second');
  assert.deepEqual(handlers(), ['first', 'second']);
});
