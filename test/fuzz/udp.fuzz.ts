/**
 * Throws damaged UDPPacket messages at what carries datagrams: a link, and the bridge between wire protocols. They may
 * only end with a typed error, once, and hold no more than one message. FUZZ_SEED repeats a run, FUZZ_MS sets its time.
 */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import type { ByteStream, ByteStreamHandler } from '../../src/tunnel/byte-stream.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { message } from '../../src/tunnel/frp/message.ts';
import { UdpLink } from '../../src/tunnel/frp/udp-link.ts';
import { createDecoder, encodeMessage } from '../../src/tunnel/frp/wire-protocol.ts';
import type { WireProtocol } from '../../src/tunnel/frp/wire-protocol.ts';
import { bridgeDatagrams } from '../../src/tunnel/frps/udp-bridge.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';

/** A transport under the test's control. */
class Wire implements ByteStream {
  handler: ByteStreamHandler | undefined;
  readonly written: Uint8Array[] = [];
  destroyed: Error | undefined;
  isDestroyed = false;
  queuedBytes = 0;
  write(chunk: Uint8Array): void {
    this.written.push(chunk);
  }
  end(): void {}
  destroy(err?: Error): void {
    this.isDestroyed = true;
    this.destroyed ??= err;
  }
  pause(): void {}
  resume(): void {}
  setHandler(handler: ByteStreamHandler): void {
    this.handler = handler;
  }
}

const ADDRESSES = [
  undefined,
  null,
  {},
  'x',
  1,
  [],
  { IP: '192.0.2.1', Port: 4000, Zone: '' },
  { IP: 'fe80::1', Port: 4000, Zone: 'eth0' },
  { IP: '', Port: 0, Zone: '' },
  { IP: 'host.example.org', Port: 53, Zone: '' },
  { IP: '192.0.2.1', Port: -1, Zone: '' },
  { IP: '192.0.2.1', Port: 65_536, Zone: '' },
  { IP: '192.0.2.1', Port: 1.5 },
  { IP: ['192.0.2.1'], Port: 1 },
  { IP: '::1', Port: 1, Zone: 'z'.repeat(100) },
  { IP: '::1', Port: 1, Zone: 7 },
  { __proto__: { IP: '::1', Port: 1 } },
];
const CONTENTS = [
  undefined,
  null,
  '',
  'aGVsbG8=',
  'aGVsbG8',
  '####',
  7,
  {},
  ['a'],
  'A'.repeat(9000),
  '\u0000',
];

/** One message in either framing, right or nearly so. */
function someMessage(wire: WireProtocol): Buffer {
  if (random() < 0.3) {
    const c = Buffer.alloc(below(2000), below(256));
    return encodeMessage(
      wire,
      message('UDPPacket', { c, r: { ip: '192.0.2.1', port: below(65_536), zone: '' } }),
    );
  }
  if (random() < 0.2)
    return encodeMessage(wire, pick([message('Ping'), message('Pong'), message('CloseProxy')]));
  const json = Buffer.from(JSON.stringify({ c: pick(CONTENTS), l: pick(ADDRESSES), r: pick(ADDRESSES) }));
  const header = Buffer.alloc(wire === 'v1' ? 9 : 10);
  if (wire === 'v1') {
    header.write('u');
    header.writeUInt32BE(json.length, 5);
  } else {
    header.writeUInt16BE(16, 0);
    header.writeUInt32BE(json.length + 2, 4);
    header.writeUInt16BE(13, 8);
  }
  return Buffer.concat([header, json]);
}

/** Some messages with some damage, in pieces. */
function* someWire(wire: WireProtocol): Generator<Buffer> {
  const bytes = Buffer.concat(Array.from({ length: 1 + below(5) }, () => someMessage(wire)));
  for (let count = below(3); count > 0; count--) bytes[below(bytes.length)] = below(256);
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + below(2000));
    yield bytes.subarray(at, end);
    at = end;
  }
}

test('a link of datagrams survives any messages, damage and splits', async () => {
  await fuzz('udp link', () => {
    const wire = pick(['v1', 'v2'] as const);
    const clock = new FakeClock();
    const stream = new Wire();
    let closes = 0;
    const link = new UdpLink(
      stream,
      {
        onDatagram: ({ user }) => {
          assert.equal(closes, 0, 'a datagram after the end');
          assert.ok(user === undefined || user.ip === '' || isIP(user.ip) !== 0);
        },
        onClose: (err) => {
          closes += 1;
          assert.ok(err === undefined || err instanceof TunnelError);
        },
      },
      { clock, wire, pingMs: 30_000, deadAfterMs: 60_000 },
    );
    for (const chunk of someWire(wire)) stream.handler?.onData(chunk);
    link.close();
    assert.equal(closes, 1);
    assert.equal(clock.pendingTimers, 0);
  });
});

test('the bridge between wire protocols passes datagrams and Ping only, whatever it gets', async () => {
  await fuzz('udp bridge', () => {
    const [visitorWire, providerWire] = pick([
      ['v1', 'v2'],
      ['v2', 'v1'],
    ] as const);
    const visitor = new Wire();
    const bridged = bridgeDatagrams(visitor, visitorWire, providerWire);
    const toProvider = createDecoder(providerWire);
    bridged.setHandler({
      onData: (chunk) => toProvider.push(chunk),
      onEnd: () => {},
      onDrain: () => {},
      onClose: () => {},
    });
    for (const chunk of someWire(visitorWire)) visitor.handler?.onData(chunk);
    for (const chunk of someWire(providerWire)) bridged.write(chunk);
    const toVisitor = createDecoder(visitorWire);
    for (const chunk of visitor.written) toVisitor.push(Buffer.from(chunk));
    for (let value = toProvider.next(); value !== undefined; value = toProvider.next())
      assert.equal(value.name, 'UDPPacket');
    for (let value = toVisitor.next(); value !== undefined; value = toVisitor.next())
      assert.ok(value.name === 'UDPPacket' || value.name === 'Ping');
    assert.ok(!visitor.isDestroyed || visitor.destroyed instanceof TunnelError);
  });
});
