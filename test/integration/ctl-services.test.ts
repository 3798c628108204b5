/** `edge ctl services`, `trace` and `port-forward` beside a Router, sidecars and a service as real processes. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import type { Router } from '../../src/api/gen/types.ts';
import { runEdge, startEdge } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import { exchange, startNode, whenServed } from '../support/sidecar-world.ts';
import type { Node } from '../support/sidecar-world.ts';
import { waitFor } from '../support/wait.ts';

/** An echo service that can be stopped. */
async function startEcho(t: TestContext): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  const stop = (): Promise<void> => new Promise((resolve) => void server.close(() => resolve()));
  t.after(() => void server.close());
  return { port, stop };
}

/** Waits until the Router has told of a service with a provider. */
async function whenReported(node: Node, service: string): Promise<void> {
  const isReported = async (): Promise<boolean | undefined> => {
    const { status } = await node.client.get<Router>(ROUTERS, node.name);
    const found = status?.activeServices?.find(({ name }) => name === service);
    return found?.providers?.some(({ ready }) => ready);
  };
  await waitFor(isReported, { what: `${service} at the Router` });
}

async function startService(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const echo = await startEcho(t);
  const secret = { SIDECAR_SECRET_KEY: 's3cret' };
  const provider = await node.startSidecar('provider', {
    ...secret,
    SIDECAR_EXPORTED_SERVICES: `web=${echo.port},ntp=123/udp`,
  });
  const consumer = await node.startSidecar('consumer', { ...secret, SIDECAR_MAPPED_SERVICES: 'web,gone:81' });
  await whenServed(consumer, 'web');
  await whenReported(node, 'ntp'); // the consumer does not map it
  const ctl = (...args: string[]) => runEdge(['ctl', ...args, '--server', node.server], { env: secret });
  return { node, echo, provider, consumer, secret, ctl };
}

test('services are listed with their ports and providers, and where the sidecar has them', async (t) => {
  const { echo, consumer, ctl } = await startService(t);
  const { status, stdout } = await ctl('services', '--sidecar', consumer.admin);
  assert.equal(status, 0);
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(/ {2,}/u));
  assert.deepEqual(rows[0], ['NAMESPACE', 'NAME', 'PORT', 'READY', 'STATE', 'ADDRESS', 'ROUTERS']);
  const { services } = await consumer.status();
  const [web, gone] = services;
  assert.deepEqual(rows.slice(1), [
    ['default', 'gone', '81/TCP', '0/0', 'noProvider', gone?.address, '<none>'],
    ['default', 'ntp', '123/UDP', '1/1', 'ready', '<none>', 'node-1'],
    ['default', 'web', `${echo.port}/TCP`, '1/1', 'ready', web?.address, 'node-1'],
  ]);
  const json = await ctl('services', 'web', '-o', 'json', '--sidecar', 'http://127.0.0.1:1');
  const parsed = JSON.parse(json.stdout) as { name: string; providers: { id: string }[]; address: unknown }[];
  assert.deepEqual(
    parsed.map(({ name, providers, address }) => [name, providers.map(({ id }) => id), address]),
    [['web', ['web.default.provider'], null]],
  );
});

test('a trace shows every hop with its cost, and which one is broken', async (t) => {
  const { echo, consumer, ctl } = await startService(t);
  const trace = (service: string) => ctl('trace', service, '--sidecar', consumer.admin);
  const good = await trace('web');
  assert.equal(good.status, 0, good.stdout + good.stderr);
  const cost = String.raw` +\d+\.\d ms `;
  for (const line of [
    new RegExp(`ok  name ${cost} web\\.default\\.svc is 127\\.0\\.66\\.\\d+, by 127\\.0\\.0\\.2:\\d+`, 'u'),
    new RegExp(`ok  listener +127\\.0\\.66\\.\\d+:${echo.port}/TCP, listening`, 'u'),
    new RegExp(`ok  Router ${cost} node-1 \\(own\\) at 127\\.0\\.0\\.1:\\d+, online`, 'u'),
    /ok {4}provider +web\.default\.provider on node-1, ready/u,
    new RegExp(`ok    tunnel ${cost} to web\\.default\\.provider, sealed`, 'u'),
    new RegExp(`ok    target ${cost} web\\.default\\.provider is connected to it`, 'u'),
  ])
    assert.match(good.stdout, line);
  await echo.stop();
  const bad = await trace(`web.default:${echo.port}`);
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /!! {4}target +web\.default\.provider: .*does not accept connections/u);
  const gone = await trace('gone');
  assert.equal(gone.status, 1);
  assert.match(gone.stdout, /- {5}provider +none at node-1/u);
  const unknown = await trace('nobody');
  assert.equal(unknown.status, 1);
  assert.match(
    unknown.stderr,
    /service nobody\.default is not mapped .*\n.*it maps web\.default, gone\.default/u,
  );
  const nowhere = await ctl('trace', 'web', '--sidecar', 'http://127.0.0.1:1');
  assert.match(nowhere.stderr, /no sidecar answers at http:\/\/127\.0\.0\.1:1/u);
});

test('a forwarded port leads to the service, and ends with the signal', async (t) => {
  const { node, echo, secret, ctl } = await startService(t);
  const args = ['ctl', 'port-forward', 'web', `:${echo.port}`, '--server', node.server];
  const forward = startEdge(t, args, { env: secret });
  await forward.waitForLine(/^Forwarding from 127\.0\.0\.1:\d+ -> web\.default:\d+$/u);
  const port = Number(/127\.0\.0\.1:(\d+)/u.exec(forward.stdout)?.[1]);
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, at) => exchange('127.0.0.1', port, `n${at}`)),
  );
  assert.deepEqual(
    answers,
    Array.from({ length: 10 }, (_, at) => `n${at}`),
  );
  const taken = await ctl('port-forward', 'web', `${port}:${echo.port}`);
  assert.match(taken.stderr, /in use/u);
  assert.equal(taken.status, 1);
  forward.signal('SIGINT');
  await forward.assertExit(0);
  const other = await ctl('port-forward', 'web', '9');
  assert.match(
    other.stderr,
    new RegExp(`service web\\.default has no TCP port 9\\n.*it has ${echo.port}`, 'u'),
  );
  const unknown = await ctl('port-forward', 'nobody', '80');
  assert.match(unknown.stderr, /no Router knows service nobody\.default/u);
  const wrong = await ctl('port-forward', 'web', 'http');
  assert.match(wrong.stderr, /"http" is not \[LOCAL:\]PORT/u);
});
