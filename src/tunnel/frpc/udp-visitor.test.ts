import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { createStreamPair } from '../../../test/support/stream-pair.ts';
import { UDP_PING_MS, UdpLink } from '../frp/udp-link.ts';
import type { Datagram } from '../frp/udp-link.ts';
import { UdpVisitor } from './udp-visitor.ts';
import type { UdpVisitorConnection } from './udp-visitor.ts';

const USER = { ip: '192.0.2.1', port: 4000, zone: '' };
const datagram = (text: string): Datagram => ({ payload: Buffer.from(text), user: USER });

function setUp(options: { isPinging?: boolean } = {}) {
  const clock = new FakeClock();
  const opening: {
    resolve(connection: UdpVisitorConnection): void;
    reject(err: Error): void;
    signal: AbortSignal;
  }[] = [];
  const failures: unknown[] = [];
  const answers: string[] = [];
  const carried: string[] = [];
  const visitor = new UdpVisitor({
    clock,
    open: (signal) =>
      new Promise((resolve, reject) => {
        opening.push({ resolve, reject, signal });
      }),
    onDatagram: ({ payload }) => answers.push(payload.toString()),
    onFailure: (err) => failures.push(err),
  });
  /** Lets the oldest attempt succeed; answers the provider's end. */
  const succeed = async (): Promise<UdpLink> => {
    const [near, far] = createStreamPair();
    const link = new UdpLink(
      far,
      { onDatagram: ({ payload }) => carried.push(payload.toString()), onClose: () => {} },
      { clock, ...(options.isPinging === true ? { pingMs: UDP_PING_MS } : {}) },
    );
    opening.shift()?.resolve({ stream: near });
    await clock.advanceAsync(0);
    return link;
  };
  return { clock, opening, failures, answers, carried, visitor, succeed };
}

test('the first datagram opens a connection, further ones wait for it', async () => {
  const { clock, opening, carried, answers, visitor, succeed } = setUp();
  for (const text of ['a', 'b', 'c']) visitor.send(datagram(text));
  assert.equal(visitor.phase, 'opening');
  assert.equal(opening.length, 1);
  const far = await succeed();
  visitor.send(datagram('d'));
  await clock.advanceAsync(0);
  assert.deepEqual(carried, ['a', 'b', 'c', 'd']);
  far.send(datagram('answer'));
  await clock.advanceAsync(0);
  assert.deepEqual(answers, ['answer']);
  visitor.close();
  assert.equal(visitor.phase, 'closed');
  assert.equal(clock.pendingTimers, 0);
});

test('the queue is bounded while a connection is opened', async () => {
  const { carried, visitor, succeed } = setUp();
  for (let at = 0; at < 1500; at++) visitor.send(datagram(`${at}`));
  await succeed();
  assert.equal(carried.length, 1024);
  assert.equal(carried[0], '476');
  assert.equal(visitor.counters.dropped, 476);
});

test('a failure loses what waited; the next try comes with a datagram a moment later', async () => {
  const { clock, opening, failures, carried, visitor, succeed } = setUp();
  visitor.send(datagram('lost'));
  opening.shift()?.reject(new Error('offline'));
  await clock.advanceAsync(0);
  assert.equal(failures.length, 1);
  visitor.send(datagram('lost too'));
  assert.equal(opening.length, 0);
  assert.equal(visitor.counters.dropped, 2);
  await clock.advanceAsync(200);
  visitor.send(datagram('carried'));
  await succeed();
  assert.deepEqual(carried, ['carried']);
});

test('a provider that neither answers nor pings for 60 s is left; the next datagram opens anew', async () => {
  const { clock, opening, visitor, succeed } = setUp();
  visitor.send(datagram('a'));
  await succeed();
  for (let at = 0; at < 5; at++) {
    await clock.advanceAsync(11_900);
    visitor.send(datagram('again'));
  }
  assert.equal(visitor.phase, 'open');
  await clock.advanceAsync(500);
  assert.equal(visitor.phase, 'idle');
  visitor.send(datagram('b'));
  assert.equal(opening.length, 1);
  await succeed();
  assert.equal(visitor.counters.opened, 2);
});

test('a connection on which only pings come is closed after a minute or two', async () => {
  const { clock, visitor, succeed } = setUp({ isPinging: true });
  visitor.send(datagram('a'));
  const far = await succeed();
  await clock.advanceAsync(60_000);
  assert.equal(visitor.phase, 'open');
  await clock.advanceAsync(60_000);
  assert.equal(visitor.phase, 'idle');
  far.close();
  assert.equal(clock.pendingTimers, 0);
});

test('closing gives up an attempt that is under way', async () => {
  const { opening, visitor, clock } = setUp();
  visitor.send(datagram('a'));
  visitor.close();
  assert.equal(opening[0]?.signal.aborted, true);
  const [near, far] = createStreamPair();
  opening[0]?.resolve({ stream: near });
  await clock.advanceAsync(0);
  assert.equal(far.isClosed, true);
  visitor.send(datagram('b'));
  assert.equal(opening.length, 1);
});
