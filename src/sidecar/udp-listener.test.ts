/** Tests of mapped UDP ports: who hears what, which connection carries it, conflicts, ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { freePort } from '../../test/support/ports.ts';
import { createStreamPair } from '../../test/support/stream-pair.ts';
import { createUser, openUdp } from '../../test/support/udp-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { UdpLink } from '../tunnel/frp/udp-link.ts';
import { startUdpListener } from './udp-listener.ts';

checkLeaks();

const HOST = '127.0.66.11';

/** A listener whose connections lead to echoes that say which connection it was. */
async function setUp(t: TestContext, clock: Clock = systemClock) {
  const port = await freePort(HOST);
  const links: UdpLink[] = [];
  const carriers = new Map<string, number>();
  const failures: unknown[] = [];
  const state = { isOffline: false };
  const listener = startUdpListener(
    {
      host: HOST,
      port,
      open: () => {
        if (state.isOffline) return Promise.reject(new Error('offline'));
        const [near, far] = createStreamPair();
        const name = links.length;
        const link: UdpLink = new UdpLink(
          far,
          {
            onDatagram: ({ payload, user }) =>
              link.send({ payload: Buffer.from(`${name} ${payload.toString('latin1')}`, 'latin1'), user }),
            onClose: () => {},
          },
          { clock },
        );
        links.push(link);
        return Promise.resolve({ stream: near, router: `router-${name}` });
      },
      onCarrier: (router, isOpen) => carriers.set(router, (carriers.get(router) ?? 0) + (isOpen ? 1 : -1)),
      onFailure: (err) => failures.push(err),
      onChange: () => {},
    },
    { clock, log: silentLogger },
  );
  t.after(() => listener.close());
  return { port, listener, links, carriers, failures, state };
}

/** Sends once and waits for the echo; answers which connection carried it. */
async function carrierOf(
  user: Awaited<ReturnType<typeof createUser>>,
  port: number,
  text: string,
): Promise<number> {
  user.socket.send(text, port, HOST);
  const answer = await waitFor(() => user.heard.find((each) => each.endsWith(` ${text}`)), { what: text });
  return Number(answer.split(' ')[0]);
}

const listening = (listener: { state: string }): Promise<unknown> =>
  waitFor(() => listener.state === 'listening', { what: 'listening' });

test('each user hears its own answers, over one connection as long as it lasts', async (t) => {
  const { port, listener, links, carriers } = await setUp(t);
  await listening(listener);
  const users = await Promise.all(Array.from({ length: 20 }, () => createUser(t)));
  const first = await Promise.all(users.map((user, at) => carrierOf(user, port, `first ${at}`)));
  const second = await Promise.all(users.map((user, at) => carrierOf(user, port, `second ${at}`)));
  assert.deepEqual(second, first);
  assert.equal(links.length, 16);
  assert.equal(new Set(first).size, 16);
  assert.ok(users.every(({ heard }) => heard.length === 2));
  assert.equal(listener.counters.flows, 20);
  assert.equal(listener.counters.dropped, 0);
  assert.ok(listener.counters.bytesIn >= 20 * 'first 0second 0'.length);
  assert.ok(listener.counters.bytesOut > listener.counters.bytesIn);
  listener.close();
  assert.ok([...carriers.values()].every((open) => open === 0));
});

test('a connection that breaks is replaced with the next datagram, for its flows only', async (t) => {
  const { port, listener, links, carriers } = await setUp(t);
  await listening(listener);
  const [a, b] = await Promise.all([createUser(t), createUser(t)]);
  assert.equal(await carrierOf(a, port, 'a1'), 0);
  assert.equal(await carrierOf(b, port, 'b1'), 1);
  links[0]?.close();
  await waitFor(() => carriers.get('router-0') === 0, { what: 'the loss noticed' });
  assert.equal(await carrierOf(a, port, 'a2'), 2);
  assert.equal(await carrierOf(b, port, 'b2'), 1);
});

test('flows end after a minute of silence, and their connections with them', async (t) => {
  const clock = new FakeClock();
  const { port, listener, carriers } = await setUp(t, clock);
  await listening(listener);
  await carrierOf(await createUser(t), port, 'x');
  assert.equal(listener.counters.flows, 1);
  await clock.advanceAsync(60_000);
  assert.equal(listener.counters.flows, 0);
  assert.equal(listener.counters.flowsTotal, 1);
  await clock.advanceAsync(60_000);
  await waitFor(() => carriers.get('router-0') === 0, { what: 'the connection closed' });
  assert.equal(clock.pendingTimers, 0);
});

test('a stopping listener serves the flows it has and takes no others', async (t) => {
  const { port, listener } = await setUp(t);
  await listening(listener);
  const [old, late] = await Promise.all([createUser(t), createUser(t)]);
  await carrierOf(old, port, 'x');
  listener.stopAccepting();
  late.socket.send('late', port, HOST);
  await waitFor(() => listener.counters.dropped === 1, { what: 'the refusal' });
  await carrierOf(old, port, 'y');
  assert.deepEqual(late.heard, []);
});

test('datagrams that nobody can carry are counted, and later ones are carried', async (t) => {
  const clock = new FakeClock();
  const { port, listener, failures, state } = await setUp(t, clock);
  await listening(listener);
  state.isOffline = true;
  const user = await createUser(t);
  user.socket.send('lost', port, HOST);
  await waitFor(() => failures.length === 1, { what: 'the failure' });
  assert.equal(listener.counters.dropped, 1);
  state.isOffline = false;
  await clock.advanceAsync(1000);
  await carrierOf(user, port, 'carried');
});

test('a taken address is tried again until it is free', async (t) => {
  const clock = new FakeClock();
  const port = await freePort(HOST);
  const other = await openUdp(t, port, HOST);
  const listener = startUdpListener(
    {
      host: HOST,
      port,
      open: () => Promise.reject(new Error('unused')),
      onCarrier: () => {},
      onFailure: () => {},
      onChange: () => {},
    },
    { clock, log: silentLogger },
  );
  t.after(() => listener.close());
  await waitFor(() => listener.state === 'failed', { what: 'the conflict' });
  assert.match(listener.error ?? '', /address already in use/u);
  await new Promise<void>((resolve) => {
    other.close(() => resolve());
  });
  await clock.advanceAsync(3000);
  await listening(listener);
  assert.equal(listener.error, undefined);
});
