import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { createStreamPair } from '../../../test/support/stream-pair.ts';
import type { StreamPairOptions } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { LOW_WATER_BYTES } from '../byte-stream.ts';
import { TUNNEL_ERRORS } from '../errors.ts';
import { message } from './message.ts';
import { UdpLink, userAddress, userKey } from './udp-link.ts';
import type { Datagram, UdpLinkOptions } from './udp-link.ts';
import { encodeMessage } from './wire-protocol.ts';

const USER = { ip: '192.0.2.1', port: 4000, zone: '' };

interface Recorded {
  link: UdpLink;
  heard: Datagram[];
  closed: (Error | undefined)[];
}

function record(stream: ConstructorParameters<typeof UdpLink>[0], options: UdpLinkOptions): Recorded {
  const heard: Datagram[] = [];
  const closed: (Error | undefined)[] = [];
  const link = new UdpLink(
    stream,
    { onDatagram: (datagram) => heard.push(datagram), onClose: (err) => closed.push(err) },
    options,
  );
  return { link, heard, closed };
}

function createPair(
  options: Partial<UdpLinkOptions> = {},
  stream: StreamPairOptions = {},
): { clock: FakeClock; a: Recorded; b: Recorded } {
  const clock = new FakeClock();
  const [left, right] = createStreamPair(stream);
  return { clock, a: record(left, { clock, ...options }), b: record(right, { clock, wire: options.wire }) };
}

for (const wire of ['v1', 'v2'] as const) {
  test(`carries datagrams of any bytes and their users in pieces of any size, ${wire}`, async () => {
    const { a, b } = createPair({ wire }, { pieceBytes: 7 });
    const payloads = [Buffer.alloc(0), Buffer.from([0, 255, 10]), Buffer.alloc(1400, 7)];
    for (const payload of payloads) a.link.send({ payload, user: USER });
    a.link.send({ payload: Buffer.from('x'), user: undefined });
    await waitFor(() => b.heard.length === 4, { what: 'all datagrams' });
    assert.deepEqual(
      b.heard.map(({ payload }) => payload),
      [...payloads, Buffer.from('x')],
    );
    assert.deepEqual(b.heard[0]?.user, USER);
    assert.equal(b.heard[3]?.user, undefined);
    assert.equal(a.link.counters.sent, 4);
    assert.equal(b.link.counters.bytesReceived, 1404);
    a.link.close();
    b.link.close();
  });
}

test('v1 carries 7600 bytes, drops what is larger than a message and goes on', async () => {
  const { a, b } = createPair();
  a.link.send({ payload: Buffer.alloc(7600), user: USER });
  a.link.send({ payload: Buffer.alloc(7700), user: USER });
  a.link.send({ payload: Buffer.from('after'), user: USER });
  await waitFor(() => b.heard.length === 2, { what: 'what fits' });
  assert.equal(a.link.counters.oversized, 1);
  assert.equal(b.heard[1]?.payload.toString(), 'after');
});

test('a busy connection makes datagrams wait, the oldest go first and are counted', async () => {
  let isHeld = true;
  const { a, b } = createPair({}, { isHeld: () => isHeld });
  const payload = Buffer.alloc(1000);
  let sent = 0;
  for (; sent * 1000 < LOW_WATER_BYTES + 3_000_000; sent++) {
    const numbered = Buffer.from(payload);
    numbered.writeUInt32BE(sent);
    a.link.send({ payload: numbered, user: USER });
  }
  assert.equal(a.link.queue.size, 1024);
  const { dropped } = a.link.queue;
  assert.ok(dropped > 0);
  isHeld = false;
  a.link.send({ payload: Buffer.from('last'), user: USER });
  await waitFor(() => b.heard.at(-1)?.payload.toString() === 'last', { what: 'the last datagram' });
  assert.equal(b.heard.length, sent + 1 - dropped - 1);
  assert.equal(b.heard.at(-2)?.payload.readUInt32BE(), sent - 1);
});

test('a provider pings every 30 s, and 60 s of silence are the end', async () => {
  const clock = new FakeClock();
  const [left, right] = createStreamPair();
  const provider = record(left, { clock, pingMs: 30_000 });
  const server = record(right, { clock, deadAfterMs: 60_000 });
  for (let minute = 0; minute < 5; minute++) await clock.advanceAsync(60_000);
  assert.equal(server.closed.length, 0);
  assert.equal(server.heard.length, 0);
  provider.link.close();
  await waitFor(() => server.closed.length === 1, { what: 'the end' });
  assert.equal(clock.pendingTimers, 0);

  const [, silent] = createStreamPair();
  const alone = record(silent, { clock, deadAfterMs: 60_000 });
  await clock.advanceAsync(59_999);
  assert.equal(alone.closed.length, 0);
  await clock.advanceAsync(1);
  assert.equal((alone.closed[0] as { code?: string }).code, TUNNEL_ERRORS.timeout);
  assert.equal(clock.pendingTimers, 0);
});

test('other messages are skipped, and what is no message ends the link', async () => {
  const clock = new FakeClock();
  const [left, right] = createStreamPair();
  const { heard, closed } = record(right, { clock });
  left.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  left.write(encodeMessage('v1', message('Pong')));
  left.write(encodeMessage('v1', message('UDPPacket', { c: Buffer.from('x'), r: USER })));
  await waitFor(() => heard.length === 1, { what: 'the datagram' });
  left.write(Buffer.from('no message'));
  await waitFor(() => closed.length === 1, { what: 'the end' });
  assert.equal((closed[0] as { code?: string }).code, TUNNEL_ERRORS.protocol);
});

test('an address that is none ends the link', async () => {
  for (const user of [
    { ip: 'host.example.org', port: 1, zone: '' },
    { ip: '::1', port: 1, zone: 'x'.repeat(65) },
  ]) {
    const [left, right] = createStreamPair();
    const { heard, closed } = record(right, { clock: new FakeClock() });
    left.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    left.write(encodeMessage('v1', message('UDPPacket', { c: Buffer.from('x'), r: user })));
    await waitFor(() => closed.length === 1, { what: 'the end' });
    assert.equal((closed[0] as { code?: string }).code, TUNNEL_ERRORS.protocol);
    assert.equal(heard.length, 0);
  }
});

test('addresses go on the wire as Go writes them', () => {
  assert.deepEqual(userAddress('192.0.2.1', 53), { ip: '192.0.2.1', port: 53, zone: '' });
  assert.deepEqual(userAddress('::ffff:192.0.2.1', 53), { ip: '192.0.2.1', port: 53, zone: '' });
  assert.deepEqual(userAddress('fe80::1%eth0', 53), { ip: 'fe80::1', port: 53, zone: 'eth0' });
  assert.deepEqual(userAddress('::1', 53), { ip: '::1', port: 53, zone: '' });
  assert.notEqual(userKey({ ip: '::1', port: 2, zone: '' }), userKey({ ip: '::', port: 12, zone: '' }));
});
