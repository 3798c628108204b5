/** Providers whose path is gone without a sign: their connections go to others, and come back with them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBlackHole } from '../../../test/support/black-hole.ts';
import {
  ask,
  listenTcp,
  listenVisitor,
  publish,
  startClient,
  startServer,
} from '../../../test/support/frp-pair.ts';
import type { Cleanup } from '../../../test/support/frp-pair.ts';
import { checkLeaks } from '../../../test/support/leak-check.ts';
import { SOON_MS, waitFor } from '../../../test/support/wait.ts';
import type { FrpServerHooks } from './types.ts';

checkLeaks();

const NAMES = ['web.default.a', 'web.default.b'];
/** Takes the first provider that admits the visitor, so that it is a's turn whenever a is not passed over. */
const pickFirst: FrpServerHooks['pickProvider'] = ({ admits }) => NAMES.find(admits);

function listenText(t: Cleanup, text: string): Promise<number> {
  return listenTcp(t, (socket) => {
    socket.resume();
    socket.on('end', () => socket.end(text));
  });
}

test('a provider that falls silent is passed over within seconds, without one failed connection', async (t) => {
  const server = await startServer(t, { userConnTimeoutMs: 60_000 }, { pickProvider: pickFirst });
  const port = server.port as number;
  const hole = await startBlackHole(t, port);
  // Without a pool each connection waits for a sign of life of its provider.
  const [a, b, consumer] = await Promise.all([
    startClient(t, hole.port, { poolCount: 0 }),
    startClient(t, port, { poolCount: 0 }),
    startClient(t, port),
  ]);
  await publish(a, await listenText(t, 'a'), { name: 'web.default.a' });
  await publish(b, await listenText(t, 'b'), { name: 'web.default.b' });
  const visitor = await listenVisitor(t, consumer, { proxyName: 'web.default' });
  assert.equal((await ask(visitor, '')).toString(), 'a');
  hole.hold();
  const began = performance.now();
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask(visitor, '')));
  assert.deepEqual(answers.map(String), ['b', 'b', 'b', 'b', 'b']);
  assert.ok(performance.now() - began < SOON_MS, 'they waited for the silent one'); // 1 s; a minute if nobody noticed
  assert.equal((await ask(visitor, '')).toString(), 'b');
});

test('a lone provider that falls silent is waited for', async (t) => {
  const server = await startServer(t, { userConnTimeoutMs: 4000 }, { pickProvider: pickFirst });
  const port = server.port as number;
  const hole = await startBlackHole(t, port);
  const [a, consumer] = await Promise.all([
    startClient(t, hole.port, { poolCount: 0 }),
    startClient(t, port),
  ]);
  await publish(a, await listenText(t, 'a'), { name: 'web.default.a' });
  const visitor = await listenVisitor(t, consumer, { proxyName: 'web.default.a' });
  assert.equal((await ask(visitor, '')).toString(), 'a');
  hole.hold();
  const began = performance.now();
  const answer = await ask(visitor, '').catch(() => ''); // an end or an error, as it comes
  assert.equal(String(answer), '');
  assert.ok(performance.now() - began > 2000, 'nobody waited');
});

test('a watched client whose path is gone logs in on a new one within seconds', async (t) => {
  const server = await startServer(t);
  const hole = await startBlackHole(t, server.port as number);
  const client = await startClient(t, hole.port, { isWatched: true });
  await publish(client, await listenText(t, 'a'), { name: 'web.default.a' });
  const before = server.sessions()[0]?.remoteAddr;
  const began = performance.now();
  hole.hold();
  const isBack = (): boolean => {
    const [proxy] = server.proxies();
    return proxy !== undefined && proxy.remoteAddr !== before && !proxy.isLost;
  };
  // not as late as an unwatched one, which finds out after 30 s and 10 s
  await waitFor(isBack, { what: 'the client on a new connection', timeoutMs: 25_000 });
  t.diagnostic(`logged in again after ${Math.round(performance.now() - began)} ms`);
});
