import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { HIGH_WATER_BYTES } from './byte-stream.ts';
import { TUNNEL_ERRORS } from './errors.ts';
import { relay } from './relay.ts';
import type { RelayStats } from './relay.ts';
import { socketStream } from './socket-stream.ts';

checkLeaks();

function joined(clock = new FakeClock(), idleTimeoutMs?: number) {
  const [user, a] = createStreamPair();
  const [b, service] = createStreamPair();
  const ended: RelayStats[] = [];
  const onClose = (stats: RelayStats): void => {
    ended.push(stats);
  };
  const handle = relay(a, b, { clock, onClose, ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }) });
  return { user, service, handle, ended, clock };
}

test('carries both directions, counts them and ends cleanly', async () => {
  const { user, service, ended } = joined();
  const atUser = collect(user);
  const atService = collect(service);
  user.write(Buffer.from('ping'));
  service.write(Buffer.from('pong!'));
  await waitFor(() => atService.bytes === 4 && atUser.bytes === 5, { what: 'data' });
  user.end();
  service.end();
  await waitFor(() => ended.length === 1, { what: 'end' });
  assert.deepEqual(ended, [{ bytesAToB: 4, bytesBToA: 5 }]);
});

test('after one side ended the other may still send', async () => {
  const { user, service } = joined();
  const atUser = collect(user);
  const atService = collect(service);
  user.end();
  await waitFor(() => atService.hasEnded, { what: 'end of the request' });
  service.write(Buffer.from('the tail'));
  service.end();
  await waitFor(() => atUser.hasEnded, { what: 'end of the answer' });
  assert.equal(atUser.text(), 'the tail');
});

test('an abort of one side aborts the other and is reported', async () => {
  const { user, service, ended } = joined();
  collect(user);
  const atService = collect(service);
  user.destroy(new Error('gone'));
  await waitFor(() => atService.isClosed && ended.length === 1, { what: 'abort' });
  assert.notEqual(ended[0]?.error, undefined);
});

test('stops reading a source whose destination does not drain', async () => {
  const { user, service, handle } = joined();
  collect(user);
  service.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  const chunk = Buffer.alloc(64 * 1024);
  for (let count = 0; count < 100; count++) user.write(chunk);
  await waitFor(() => handle.bytesAToB > HIGH_WATER_BYTES, { what: 'queue to fill' });
  assert.ok(handle.bytesAToB <= HIGH_WATER_BYTES + 100 * chunk.length);
  const atService = collect(service);
  await waitFor(() => atService.bytes === 100 * chunk.length, { what: 'all bytes' });
});

test('an idle relay is aborted only when nothing moves', async () => {
  const { user, service, ended, clock } = joined(new FakeClock(), 1000);
  const atService = collect(service);
  collect(user);
  user.write(Buffer.from('x'));
  await waitFor(() => atService.bytes === 1, { what: 'data' });
  clock.advance(1000);
  assert.equal(ended.length, 0);
  clock.advance(1000);
  await waitFor(() => ended.length === 1, { what: 'abort' });
  assert.equal((ended[0]?.error as { code?: string } | undefined)?.code, TUNNEL_ERRORS.timeout);
  assert.equal(clock.pendingTimers, 0);
});

/** A TCP server on loopback whose connections go to `onSocket`. */
async function listen(t: TestContext, onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onSocket);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A relay over real sockets in front of a service. */
async function front(t: TestContext, onService: (socket: Socket) => void): Promise<number> {
  const service = await listen(t, onService);
  return listen(t, (socket) => {
    const out = connect({ port: service, host: '127.0.0.1', allowHalfOpen: true });
    relay(socketStream(socket), socketStream(out), { clock: systemClock });
  });
}

test('over sockets: a client that shuts down its sending half gets the whole answer', async (t) => {
  const body = Buffer.alloc(5 * 1024 * 1024, 'z');
  const port = await front(t, (socket) => {
    socket.resume();
    socket.on('end', () => socket.end(body));
  });
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let bytes = 0;
  client.on('data', (chunk) => {
    bytes += chunk.length;
  });
  client.end('request');
  await new Promise<void>((resolve) => {
    client.on('close', () => resolve());
  });
  assert.equal(bytes, body.length);
});

test('over sockets: a reset of the service reaches the client as a reset, not as a clean end', async (t) => {
  const port = await front(t, (socket) => {
    socket.resume();
    socket.on('data', () => socket.resetAndDestroy());
  });
  const client = connect({ port, host: '127.0.0.1' });
  client.write('x');
  const err = await new Promise<NodeJS.ErrnoException>((resolve) => {
    client.on('error', resolve);
  });
  assert.equal(err.code, 'ECONNRESET');
});
