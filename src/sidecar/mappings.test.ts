/** Tests of mapped services: listeners, connections through them, conflicts, what a change must not touch. */
import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { freePort } from '../../test/support/ports.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import type { Collected, PairEnd } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { systemClock } from '../lib/clock.ts';
import type { Clock } from '../lib/clock.ts';
import { errorCode } from '../lib/errors.ts';
import { silentLogger } from '../lib/log.ts';
import type { VisitorRequest } from '../tunnel/frpc/types.ts';
import { createConnector } from './connector.ts';
import type { RouterChoice } from './connector.ts';
import { createMappings } from './mappings.ts';
import type { MappingDefinition } from './mappings.ts';

checkLeaks();

function setUp(t: TestContext, clock: Clock = systemClock) {
  const visits: { request: VisitorRequest; far: PairEnd; received: Collected }[] = [];
  let isOnline = true;
  const choice: RouterChoice = {
    name: 'a',
    tier: 0,
    connections: 0,
    roundTripMs: undefined,
    proxyName: 'web.default',
    providers: [],
    client: {
      probe: () => 0,
      openVisitor(request) {
        const [near, far] = createStreamPair();
        visits.push({ request, far, received: collect(far) });
        return Promise.resolve(near);
      },
    },
  };
  const connector = createConnector({ clock: systemClock, random: () => 0, maxParked: 10 });
  const mappings = createMappings({
    clock,
    random: () => 0,
    log: silentLogger,
    connector,
    ejection: () => ({ afterFailures: 3, baseMs: 5000 }),
    choices: () => (isOnline ? [choice] : []),
    onChange: () => {},
  });
  t.after(() => {
    mappings.stopAccepting();
    mappings.destroy();
  });
  return {
    mappings,
    visits,
    setOnline: (value: boolean): void => {
      isOnline = value;
      connector.wake();
    },
  };
}

const definition = (port: number, options: Partial<MappingDefinition> = {}): MappingDefinition => ({
  key: 'web.default',
  address: '127.0.66.10',
  ports: [port],
  udpPorts: [],
  policy: 'roundRobin',
  secretKey: 's',
  parkTimeoutMs: 5000,
  connectTimeoutMs: 5000,
  idleTimeoutMs: 0,
  maxConnections: 100,
  locality: 'off',
  preferNode: '',
  ...options,
});

const isListening = (mappings: ReturnType<typeof setUp>['mappings']) =>
  waitFor(() => mappings.ports('web.default').every(({ state }) => state === 'listening'), {
    what: 'listening',
  });

function dial(
  t: TestContext,
  port: number,
  host = '127.0.66.10',
): { socket: Socket; text: () => string; closed: Promise<Error | undefined> } {
  const socket = connect({ host, port, allowHalfOpen: true });
  let text = '';
  let error: Error | undefined;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.on('end', () => socket.end());
  socket.on('error', (err) => {
    error = err;
  });
  t.after(() => void socket.destroy());
  const closed = new Promise<Error | undefined>((resolve) => {
    socket.on('close', () => resolve(error));
  });
  return { socket, text: () => text, closed };
}

test('a connection is carried with half-close and says where it came from', async (t) => {
  const { mappings, visits } = setUp(t);
  const port = await freePort('127.0.66.10');
  mappings.reconcile([definition(port)]);
  await isListening(mappings);
  const { socket, text, closed } = dial(t, port);
  socket.end('request');
  await waitFor(() => visits[0]?.received.hasEnded, { what: 'request arrived' });
  const [visit] = visits;
  assert.ok(visit);
  assert.equal(visit.received.text(), 'request');
  assert.equal(visit.request.secretKey, 's');
  assert.equal(visit.request.proxyName, 'web.default');
  assert.equal(visit.request.metas?.['localAddr'], `127.0.66.10:${port}`);
  assert.match(visit.request.metas?.['sourceAddr'] ?? '', /^127\.0\.0\.\d+:\d+$|^127\.0\.66\.10:\d+$/u);
  assert.equal(mappings.connections, 1);
  assert.equal(mappings.isBusy('a'), true);
  visit.far.write(Buffer.from('answer'));
  visit.far.end();
  assert.equal(await closed, undefined);
  assert.equal(text(), 'answer');
  await waitFor(() => mappings.connections === 0, { what: 'counted out' });
  const status = mappings.status()[0];
  assert.deepEqual([status?.connectionsTotal, status?.bytesIn, status?.bytesOut], [1, 7, 6]);
  assert.equal(mappings.isBusy('a'), false);
});

test('what an application sends before a Router is there is kept and sent later', async (t) => {
  const { mappings, visits, setOnline } = setUp(t);
  setOnline(false);
  const port = await freePort('127.0.66.10');
  mappings.reconcile([definition(port)]);
  await isListening(mappings);
  const { socket } = dial(t, port);
  socket.end('early');
  await waitFor(() => mappings.connections === 1, { what: 'accepted' });
  assert.equal(visits.length, 0);
  setOnline(true);
  await waitFor(() => visits[0]?.received.hasEnded, { what: 'request arrived' });
  assert.equal(visits[0]?.received.text(), 'early');
});

test('a connection that nobody can carry is reset when its time is up', async (t) => {
  const { mappings, setOnline } = setUp(t);
  setOnline(false);
  const port = await freePort('127.0.66.10');
  mappings.reconcile([definition(port, { parkTimeoutMs: 50 })]);
  await isListening(mappings);
  const err = await dial(t, port).closed;
  assert.equal(errorCode(err), 'ECONNRESET');
  await waitFor(() => mappings.connections === 0, { what: 'counted out' });
});

test('a service that is taken out stops listening; its connections and other services go on', async (t) => {
  const { mappings, visits } = setUp(t);
  const port = await freePort('127.0.66.10');
  const otherPort = await freePort('127.0.66.10');
  const other = definition(otherPort, { key: 'db.default' });
  mappings.reconcile([definition(port), other]);
  await isListening(mappings);
  const { socket, text } = dial(t, port);
  socket.write('a');
  await waitFor(() => visits[0]?.received.bytes === 1, { what: 'carried' });
  mappings.reconcile([other]);
  const refused = await dial(t, port).closed;
  assert.equal(errorCode(refused), 'ECONNREFUSED');
  visits[0]?.far.write(Buffer.from('still here'));
  await waitFor(() => text() === 'still here', { what: 'answer on the old connection' });
  dial(t, otherPort).socket.write('b');
  await waitFor(() => visits[1]?.received.bytes === 1, { what: 'other service carried' });
});

test('a port taken by another program concerns that service alone and is taken over when it is free', async (t) => {
  const clock = new FakeClock();
  const { mappings } = setUp(t, clock);
  const port = await freePort('127.0.66.10');
  const squatter = createServer();
  await new Promise<void>((resolve) => {
    squatter.listen(port, '127.0.66.10', resolve);
  });
  const otherPort = await freePort('127.0.66.10');
  mappings.reconcile([definition(port), definition(otherPort, { key: 'db.default' })]);
  await waitFor(() => mappings.ports('web.default')[0]?.state === 'failed', { what: 'conflict seen' });
  assert.match(mappings.ports('web.default')[0]?.error ?? '', /address already in use/u);
  await waitFor(() => mappings.ports('db.default')[0]?.state === 'listening', {
    what: 'other service up',
  });
  await new Promise<void>((resolve) => {
    squatter.close(() => resolve());
  });
  clock.advance(3000);
  await isListening(mappings);
  assert.equal(mappings.ports('web.default')[0]?.error, undefined);
});

test('a listener that is closed before it is up does not come up', async (t) => {
  const { mappings } = setUp(t);
  const port = await freePort('127.0.66.10');
  mappings.reconcile([definition(port)]);
  mappings.reconcile([]);
  const err = await dial(t, port).closed;
  assert.equal(errorCode(err), 'ECONNREFUSED');
});

test('at the end open and waiting connections are reset', async (t) => {
  const { mappings, visits, setOnline } = setUp(t);
  const port = await freePort('127.0.66.10');
  mappings.reconcile([definition(port)]);
  await isListening(mappings);
  const open = dial(t, port);
  await waitFor(() => visits.length === 1, { what: 'carried' });
  setOnline(false);
  const parked = dial(t, port);
  await waitFor(() => mappings.connections === 2, { what: 'parked' });
  mappings.stopAccepting();
  mappings.destroy();
  assert.notEqual(await open.closed, undefined);
  assert.notEqual(await parked.closed, undefined);
  await waitFor(() => mappings.connections === 0, { what: 'counted out' });
});

test('connections beyond the limit of a service are refused and counted', async (t) => {
  const { mappings, visits } = setUp(t);
  const port = await freePort();
  mappings.reconcile([definition(port, { maxConnections: 1 })]);
  await isListening(mappings);
  const first = dial(t, port);
  await waitFor(() => visits.length === 1, { what: 'the first connection' });
  const second = dial(t, port);
  assert.equal(errorCode(await second.closed), 'ECONNRESET');
  assert.deepEqual([mappings.status()[0]?.rejected, mappings.status()[0]?.connections], [1, 1]);
  assert.equal(first.socket.destroyed, false);
  visits[0]?.far.destroy(new Error('gone'));
  await waitFor(() => mappings.connections === 0, { what: 'none open' });
  dial(t, port);
  await waitFor(() => visits.length === 2, { what: 'room again' });
});

test('a connection without a byte is closed after its idle time', async (t) => {
  const clock = new FakeClock();
  const { mappings, visits } = setUp(t, clock);
  const port = await freePort();
  mappings.reconcile([definition(port, { idleTimeoutMs: 60_000 })]);
  await isListening(mappings);
  const { socket, closed } = dial(t, port);
  socket.write('x');
  await waitFor(() => visits[0]?.received.text() === 'x', { what: 'a byte' });
  clock.advance(60_000);
  assert.equal(mappings.connections, 1);
  clock.advance(60_000);
  assert.equal(errorCode(await closed), 'ECONNRESET');
});
