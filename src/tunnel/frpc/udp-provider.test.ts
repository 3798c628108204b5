import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { checkLeaks } from '../../../test/support/leak-check.ts';
import { freePort } from '../../../test/support/ports.ts';
import { createStreamPair } from '../../../test/support/stream-pair.ts';
import { openUdp, serveUdp } from '../../../test/support/udp-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { UdpLink } from '../frp/udp-link.ts';
import { UdpProvider } from './udp-provider.ts';
import type { UdpProviderOptions } from './udp-provider.ts';

checkLeaks();

const user = (port: number) => ({ ip: '192.0.2.1', port, zone: '' });

function setUp(t: TestContext, port: number, options: Partial<UdpProviderOptions> = {}) {
  const clock = new FakeClock();
  const provider = new UdpProvider({
    clock,
    target: () => ({ host: '127.0.0.1', port }),
    maxLinks: 2,
    ...options,
  });
  t.after(() => provider.close());
  const connect = () => {
    const [near, far] = createStreamPair();
    const heard: string[] = [];
    const state = { isClosed: false };
    const link = new UdpLink(
      far,
      {
        onDatagram: ({ payload, user: to }) => heard.push(`${to?.port}:${payload.toString()}`),
        onClose: () => {
          state.isClosed = true;
        },
      },
      { clock },
    );
    provider.serve(near);
    const ask = (from: number, text: string): void =>
      link.send({ payload: Buffer.from(text), user: user(from) });
    return { heard, state, ask, link };
  };
  return { clock, provider, connect };
}

test('each user of each connection has a socket of its own for 30 s after its last datagram', async (t) => {
  const service = await serveUdp(t);
  const { clock, provider, connect } = setUp(t, service.port);
  const [a, b] = [connect(), connect()];
  a.ask(1, 'a1');
  a.ask(2, 'a2');
  b.ask(1, 'b1');
  await waitFor(() => a.heard.length + b.heard.length === 3, { what: 'three answers' });
  assert.deepEqual(a.heard.toSorted(), ['1:a1', '2:a2']);
  assert.deepEqual(b.heard, ['1:b1']);
  assert.equal(service.users.size, 3);
  await clock.advanceAsync(20_000);
  a.ask(1, 'again');
  await waitFor(() => a.heard.length === 3, { what: 'an answer' });
  assert.equal(service.users.size, 3);
  await clock.advanceAsync(10_000);
  assert.equal(provider.counters.flows, 1);
  await clock.advanceAsync(20_000);
  assert.equal(provider.counters.flows, 0);
  a.ask(1, 'anew');
  await waitFor(() => a.heard.length === 4, { what: 'an answer' });
  assert.equal(provider.counters.flowsTotal, 4);
});

test('users beyond the limit take the place of the one silent longest', async (t) => {
  const service = await serveUdp(t);
  const { provider, connect } = setUp(t, service.port, { maxFlows: 3 });
  const { ask, heard } = connect();
  for (let from = 1; from <= 5; from++) {
    ask(from, 'x');
    await waitFor(() => heard.length === from, { what: 'an answer' });
  }
  assert.equal(provider.counters.flows, 3);
  assert.equal(provider.counters.evicted, 2);
});

test('connections beyond the limit take the place of the oldest, whose sockets close', async (t) => {
  const service = await serveUdp(t);
  const { provider, connect } = setUp(t, service.port);
  const first = connect();
  first.ask(1, 'x');
  await waitFor(() => first.heard.length === 1, { what: 'an answer' });
  connect();
  connect();
  assert.equal(provider.counters.links, 2);
  assert.equal(provider.counters.flows, 0);
  await waitFor(() => first.state.isClosed, { what: 'the end of the first' });
  assert.equal(provider.counters.bytesIn, 1);
  assert.equal(provider.counters.bytesOut, 1);
});

test('answers too large for a message are dropped and counted, and a closed provider leaves no timer', async (t) => {
  const service = await serveUdp(t, (payload) => Buffer.alloc(payload.toString() === 'large' ? 9000 : 10));
  const { clock, provider, connect } = setUp(t, service.port);
  const { ask, heard, link } = connect();
  ask(1, 'large');
  ask(1, 'small');
  await waitFor(() => heard.length === 1, { what: 'the small answer' });
  assert.equal(provider.counters.dropped, 1);
  provider.close();
  assert.deepEqual([provider.counters.links, provider.counters.flows], [0, 0]);
  assert.equal(provider.counters.dropped, 1);
  link.close();
  assert.equal(clock.pendingTimers, 0);
});

test('a service that comes later, or again, is reached', async (t) => {
  const port = await freePort();
  const { provider, connect } = setUp(t, port);
  const { ask, heard } = connect();
  ask(1, 'lost');
  await waitFor(() => provider.counters.flowsTotal === 1 && provider.counters.flows === 0, {
    what: 'the refusal noticed',
  });
  const service = await openUdp(t, port);
  service.on('message', (payload, from) => service.send(payload, from.port, from.address));
  ask(1, 'carried');
  await waitFor(() => heard.length === 1, { what: 'the answer' });
});

test('an address that is its own gets no datagram, and costs no socket', async (t) => {
  const service = await serveUdp(t);
  const { provider, connect } = setUp(t, service.port, { isOwn: (address) => address === '127.0.0.1' });
  const a = connect();
  for (let round = 0; round < 3; round++) {
    a.ask(1, 'hello');
    await waitFor(() => provider.counters.flowsTotal === round + 1 && provider.counters.flows === 0, {
      what: 'a flow that failed',
    });
  }
  assert.deepEqual([service.users.size, a.heard.length], [0, 0]);
});
