/** Tests of exported services: what is registered where, and connections to real targets. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeFrpClient } from '../../test/support/fake-frp-client.ts';
import { freePort } from '../../test/support/ports.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import { serveUdp } from '../../test/support/udp-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { systemClock } from '../lib/clock.ts';
import { errorCode } from '../lib/errors.ts';
import { silentLogger } from '../lib/log.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { confirmedStream, confirmingStream } from '../tunnel/confirmation.ts';
import { UdpLink } from '../tunnel/frp/udp-link.ts';
import { defineExports } from './export-definition.ts';
import { createExports } from './exports.ts';
import { parseHealthCheck } from './health-check.ts';
import type { RouterClient } from './router-clients.ts';
import type { ExportedService } from './services.ts';

const LIMITS = { connectTimeoutMs: 10_000, idleTimeoutMs: 0, maxConnections: 100 };

const service = (name: string, port: number, target = port): ExportedService => ({
  name,
  namespace: 'default',
  port,
  protocol: 'TCP',
  target: { host: '127.0.0.1', port: target },
});
const define = (services: readonly ExportedService[], secret = 's') =>
  defineExports(services, 'pod-1', () => ({ ...LIMITS, secretKey: secret }));

function online(name: string): { router: RouterClient; client: FakeFrpClient } {
  const client = new FakeFrpClient({} as never);
  client.phase = 'online';
  return { client, router: { name, client, address: { host: '192.0.2.1', port: 7000 } } };
}

/** A connection as the tunnel delivers it to a provider that confirms. */
const provide = (far: ByteStream) => confirmingStream(far, systemClock);

const create = () =>
  createExports({ clock: systemClock, log: silentLogger, identity: { pod: 'pod-1', node: 'node-1' } });

async function echoServer(t: TestContext, answer: (text: string) => string): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('end', () => socket.end(answer(text)));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test('the first port has the plain name, further ones end in their port', () => {
  const names = define([service('web', 80), service('web', 81), service('db', 3306)]).map(
    ({ proxyName }) => proxyName,
  );
  assert.deepEqual(names, ['web.default.pod-1', 'web.default.pod-1-81', 'db.default.pod-1']);
});

test('a service that begins to want a PROXY header is registered anew', () => {
  const exports = create();
  const { router, client } = online('a');
  exports.reconcile(define([service('web', 80)]), [router]);
  assert.equal(client.proxies.get('web.default.pod-1')?.proxyProtocol, undefined);
  exports.reconcile(define([{ ...service('web', 80), proxyProtocol: 'v2' }]), [router]);
  assert.equal(client.proxies.get('web.default.pod-1')?.proxyProtocol, 'v2');
  exports.withdraw();
});

test('TCP and UDP of one port have names of their own', () => {
  const udp = (name: string, port: number): ExportedService => ({ ...service(name, port), protocol: 'UDP' });
  const names = define([
    service('dns', 53),
    udp('dns', 53),
    service('dns', 54),
    udp('dns', 54),
    udp('ntp', 123),
  ]);
  assert.deepEqual(
    names.map(({ proxyName }) => proxyName),
    [
      'dns.default.pod-1',
      'dns.default.pod-1-53-udp',
      'dns.default.pod-1-54',
      'dns.default.pod-1-54-udp',
      'ntp.default.pod-1',
    ],
  );
});

test('datagrams reach the target, whose answers go back, and are counted', async (t) => {
  const target = await serveUdp(t, (payload) => Buffer.from(`re ${payload.toString()}`));
  const exports = create();
  t.after(() => exports.destroy());
  const { client, router } = online('a');
  const udp: ExportedService = { ...service('time', 123, target.port), protocol: 'UDP' };
  exports.reconcile(define([udp]), [router]);
  const proxy = client.proxies.get('time.default.pod-1');
  assert.equal(proxy?.type, 'sudp');
  assert.equal(proxy?.metas?.['protocol'], 'UDP');
  const [near, far] = createStreamPair();
  proxy?.onConnection({ stream: near });
  const heard: string[] = [];
  const visitor = new UdpLink(
    far,
    { onDatagram: ({ payload }) => heard.push(payload.toString()), onClose: () => {} },
    { clock: systemClock },
  );
  t.after(() => visitor.close());
  const user = { ip: '127.0.0.1', port: 4000, zone: '' };
  visitor.send({ payload: Buffer.from('hello'), user });
  await waitFor(() => heard.length === 1, { what: 'the answer' });
  assert.deepEqual(heard, ['re hello']);
  assert.deepEqual(exports.bytes, { in: 5, out: 8 });
  assert.equal(exports.status()[0]?.connections, 1);
  assert.equal(exports.connections, 0);
  exports.reconcile([], [router]);
  assert.deepEqual(exports.bytes, { in: 5, out: 8 });
});

test('every Router gets every export with its identity, once', () => {
  const exports = create();
  const a = online('a');
  const b = online('b');
  const definitions = define([service('web', 80)]);
  exports.reconcile(definitions, [a.router]);
  exports.reconcile(definitions, [a.router, b.router]);
  for (const { client } of [a, b]) {
    const proxy = client.proxies.get('web.default.pod-1');
    assert.equal(proxy?.type, 'stcp');
    assert.equal(proxy?.secretKey, 's');
    assert.deepEqual(proxy?.metas, {
      service: 'web',
      namespace: 'default',
      port: '80',
      protocol: 'TCP',
      node: 'node-1',
      pod: 'pod-1',
    });
  }
  assert.deepEqual(
    exports.status()[0]?.routers.map(({ name, phase }) => [name, phase]),
    [
      ['a', 'running'],
      ['b', 'running'],
    ],
  );
});

test('an export that goes is unregistered, one that stays is not touched', () => {
  const exports = create();
  const { client, router } = online('a');
  exports.reconcile(define([service('web', 80), service('db', 3306)]), [router]);
  const kept = client.proxies.get('web.default.pod-1');
  exports.reconcile(define([service('web', 80)]), [router]);
  assert.deepEqual([...client.proxies.keys()], ['web.default.pod-1']);
  assert.equal(client.proxies.get('web.default.pod-1'), kept);
});

test('another secret registers anew, another target does not', () => {
  const exports = create();
  const { client, router } = online('a');
  exports.reconcile(define([service('web', 80)]), [router]);
  const before = client.proxies.get('web.default.pod-1');
  exports.reconcile(define([service('web', 80, 8080)]), [router]);
  assert.equal(client.proxies.get('web.default.pod-1'), before);
  exports.reconcile(define([service('web', 80, 8080)], 'other'), [router]);
  assert.equal(client.proxies.get('web.default.pod-1')?.secretKey, 'other');
});

test('a replaced client gets the exports again', () => {
  const exports = create();
  const old = online('a');
  const definitions = define([service('web', 80)]);
  exports.reconcile(definitions, [old.router]);
  const fresh = online('a');
  exports.reconcile(definitions, [fresh.router]);
  assert.equal(fresh.client.proxies.size, 1);
});

test('a connection reaches the target and keeps half-close in both directions', async (t) => {
  const port = await echoServer(t, (text) => `got ${text}`);
  const exports = create();
  const { client, router } = online('a');
  exports.reconcile(define([service('web', 80, port)]), [router]);
  const [near, far] = createStreamPair();
  client.proxies.get('web.default.pod-1')?.onConnection({ stream: far });
  assert.equal(exports.connections, 1);
  assert.equal(exports.isBusy('a'), true);
  const received = collect(near);
  near.write(Buffer.from('hello'));
  near.end();
  await waitFor(() => received.isClosed, { what: 'connection closed' });
  assert.equal(received.text(), 'got hello');
  assert.equal(received.error, undefined);
  await waitFor(() => exports.connections === 0, { what: 'connection counted out' });
  assert.deepEqual(exports.bytes, { in: 5, out: 9 });
});

test('a target that refuses resets the stream and counts out', async () => {
  const exports = create();
  const { client, router } = online('a');
  exports.reconcile(define([service('web', 80, 1)]), [router]); // nothing listens on port 1
  const [near, far] = createStreamPair();
  client.proxies.get('web.default.pod-1')?.onConnection({ stream: far });
  const received = collect(near);
  await waitFor(() => received.isClosed, { what: 'stream reset' });
  assert.notEqual(received.error, undefined);
  assert.equal(exports.connections, 0);
});

for (const host of ['127.0.0.1', 'localhost']) {
  test(`a target that is where the service is mapped here is not dialled: ${host}`, async (t) => {
    let dialled = 0;
    const port = await echoServer(t, () => `${++dialled}`);
    const warnings: unknown[] = [];
    const exports = createExports({
      clock: systemClock,
      log: { ...silentLogger, warn: (_message, fields) => void warnings.push(fields?.['error']) },
      identity: { pod: 'pod-1', node: 'node-1' },
      isMappedAt: (key, address) => key === 'web.default' && address === '127.0.0.1',
    });
    const { client, router } = online('a');
    const target = { host, port };
    exports.reconcile(
      define([
        { ...service('web', 80), target },
        { ...service('db', 81), target },
      ]),
      [router],
    );
    const ask = async (name: string): Promise<string> => {
      const [near, far] = createStreamPair();
      client.proxies.get(`${name}.default.pod-1`)?.onConnection({ stream: far });
      const received = collect(near);
      near.end();
      await waitFor(() => received.isClosed, { what: 'the end' });
      return received.text();
    };
    assert.equal(await ask('web'), '');
    assert.match(String(warnings[0]), /127\.0\.0\.1 is where this service is mapped here/u);
    assert.equal(await ask('db'), '1', 'another service may lead there');
  });
}

test('open connections go on after a withdrawal, and end when destroyed', async (t) => {
  const port = await echoServer(t, () => '');
  const exports = create();
  const { client, router } = online('a');
  exports.reconcile(define([service('web', 80, port)]), [router]);
  const [near, far] = createStreamPair();
  client.proxies.get('web.default.pod-1')?.onConnection({ stream: far });
  const received = collect(near);
  exports.withdraw();
  assert.equal(client.proxies.size, 0);
  assert.equal(exports.connections, 1);
  exports.destroy();
  await waitFor(() => received.isClosed && exports.connections === 0, { what: 'connection destroyed' });
});

test('a service whose health check fails is registered as not ready, with a secret that nobody knows', async () => {
  const clock = new FakeClock();
  let failure: Error | undefined = new Error('connection refused');
  const exports = createExports({
    clock,
    log: silentLogger,
    identity: { pod: 'pod-1', node: 'node-1' },
    probe: () => (failure === undefined ? Promise.resolve() : Promise.reject(failure)),
  });
  const { router, client } = online('a');
  const healthCheck = parseHealthCheck({ interval: '1s' }, 'check');
  exports.reconcile(define([{ ...service('web', 80), healthCheck }]), [router]);
  const proxy = () => client.proxies.get('web.default.pod-1');
  assert.equal(proxy()?.metas?.['ready'], 'false');
  await clock.advanceAsync(0);
  assert.equal(proxy()?.metas?.['message'], '127.0.0.1:80: connection refused');
  assert.notEqual(proxy()?.secretKey, 's');
  assert.equal(proxy()?.confirm, true); // a connection that was let in before is answered, and tried elsewhere
  assert.deepEqual(exports.status()[0]?.health, {
    healthy: false,
    reason: '127.0.0.1:80: connection refused',
  });
  failure = undefined;
  await clock.advanceAsync(1000);
  assert.deepEqual([proxy()?.metas?.['ready'], proxy()?.secretKey, proxy()?.confirm], [undefined, 's', true]);
  assert.deepEqual(exports.status()[0]?.health, { healthy: true, reason: null });
  exports.withdraw();
  assert.equal(clock.pendingTimers, 0);
});

test('connections beyond the limit, and those whose target is away, are refused and counted', async (t) => {
  const exports = create();
  t.after(() => exports.destroy());
  const { router, client } = online('a');
  const limited = (port: number) =>
    defineExports([service('web', 80, port)], 'pod-1', () => ({
      ...LIMITS,
      maxConnections: 1,
      secretKey: 's',
    }));
  const visit = (): ReturnType<typeof collect> => {
    const [near, far] = createStreamPair();
    const visitor = confirmedStream(near, undefined);
    client.proxies.get('web.default.pod-1')?.onConnection(provide(far));
    return collect(visitor);
  };
  exports.reconcile(limited(await echoServer(t, (text) => text)), [router]);
  const first = visit();
  await waitFor(() => exports.connections === 1, { what: 'one open' });
  const second = visit();
  await waitFor(() => second.isClosed, { what: 'the second refused' });
  assert.equal(errorCode(second.error), 'EDGE_ERR_TUNNEL_TARGET_REFUSED');
  assert.equal(first.isClosed, false);
  exports.destroy();
  await waitFor(() => exports.connections === 0, { what: 'none open' });
  exports.reconcile(limited(await freePort()), [router]);
  const third = visit();
  await waitFor(() => third.isClosed, { what: 'the third refused' });
  assert.equal(errorCode(third.error), 'EDGE_ERR_TUNNEL_TARGET_REFUSED');
  assert.equal(exports.status()[0]?.refused, 2);
});
