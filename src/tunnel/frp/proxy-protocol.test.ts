import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TUNNEL_ERRORS } from '../errors.ts';
import { decodeProxyHeader, encodeProxyHeader, plainAddress } from './proxy-protocol.ts';
import type { ProxyAddresses } from './proxy-protocol.ts';

const PROTOCOL = { code: TUNNEL_ERRORS.protocol };
const V4: ProxyAddresses = {
  transport: 'tcp',
  sourceAddr: '127.0.0.1',
  sourcePort: 40_000,
  destinationAddr: '127.0.0.1',
  destinationPort: 6000,
};
const V6: ProxyAddresses = { ...V4, sourceAddr: '2001:db8::7', destinationAddr: '::1' };
const V6_FULL = { ...V6, sourceAddr: '2001:db8:0:0:0:0:0:7', destinationAddr: '0:0:0:0:0:0:0:1' };
const SIGNATURE = '0d0a0d0a000d0a515549540a';

test('version 1 is one line of text', () => {
  assert.equal(encodeProxyHeader('v1', V4).toString(), 'PROXY TCP4 127.0.0.1 127.0.0.1 40000 6000\r\n');
  assert.equal(encodeProxyHeader('v1', V6).toString(), 'PROXY TCP6 2001:db8::7 ::1 40000 6000\r\n');
  assert.equal(encodeProxyHeader('v1', { ...V4, transport: 'udp' }).toString(), 'PROXY UNKNOWN\r\n');
});

test('version 2 is binary', () => {
  assert.equal(
    encodeProxyHeader('v2', V4).toString('hex'),
    '0d0a0d0a000d0a515549540a2111000c7f0000017f0000019c401770',
  );
  assert.equal(
    encodeProxyHeader('v2', { ...V6, transport: 'udp' }).toString('hex'),
    `${SIGNATURE}2122002420010db8000000000000000000000007${'0'.repeat(31)}19c401770`,
  );
});

test('what is encoded is decoded again, from pieces too', () => {
  for (const [version, given, wanted] of [
    ['v1', V4, V4],
    ['v1', V6, V6],
    ['v1', { ...V4, transport: 'udp' }, undefined],
    ['v2', V4, V4],
    ['v2', V6, V6_FULL],
    ['v2', { ...V4, transport: 'udp' }, { ...V4, transport: 'udp' }],
    [
      'v2',
      { ...V6, sourceAddr: '64:ff9b::192.0.2.33' },
      { ...V6_FULL, sourceAddr: '64:ff9b:0:0:0:0:c000:221' },
    ],
  ] as const) {
    const header = encodeProxyHeader(version, given);
    const wire = Buffer.concat([header, Buffer.from('GET /')]);
    for (let length = 0; length < header.length; length++) {
      assert.equal(decodeProxyHeader(wire.subarray(0, length)), undefined);
    }
    assert.deepEqual(decodeProxyHeader(wire), { version, addresses: wanted, length: header.length });
  }
});

test('an IPv4 address inside IPv6 is sent as IPv4', () => {
  const header = encodeProxyHeader('v1', { ...V4, sourceAddr: '::ffff:192.0.2.1' });
  assert.equal(header.toString(), 'PROXY TCP4 192.0.2.1 127.0.0.1 40000 6000\r\n');
  assert.equal(plainAddress('fe80::1%eth0'), 'fe80::1');
});

test('addresses of different families, or none, make no header', () => {
  for (const changes of [{ sourceAddr: '::1' }, { destinationAddr: '::1' }, { sourceAddr: 'unix' }]) {
    assert.throws(() => encodeProxyHeader('v2', { ...V4, ...changes }), PROTOCOL);
  }
});

test('LOCAL, UNKNOWN and other families have no addresses', () => {
  for (const [bytes, length] of [
    [Buffer.from(`${SIGNATURE}20000000`, 'hex'), 16],
    [Buffer.from(`${SIGNATURE}2011000c7f0000017f0000019c401770`, 'hex'), 28],
    [Buffer.from(`${SIGNATURE}21310002abcd`, 'hex'), 18],
    [Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), 35],
  ] as const) {
    assert.deepEqual(decodeProxyHeader(bytes)?.addresses, undefined);
    assert.equal(decodeProxyHeader(bytes)?.length, length);
  }
});

test('extensions of version 2 belong to the header', () => {
  const header = decodeProxyHeader(
    Buffer.from(`${SIGNATURE}211100107f0000017f0000019c40177004000100`, 'hex'),
  );
  assert.deepEqual(header, { version: 'v2', addresses: V4, length: 32 });
});

for (const [what, bytes] of [
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\n')],
  ['a line that does not end', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`)],
  ['a family that is none', Buffer.from('PROXY TCP5 127.0.0.1 127.0.0.1 1 2\r\n')],
  ['an address of the other family', Buffer.from('PROXY TCP4 ::1 ::1 1 2\r\n')],
  ['a port that is too large', Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 1 65536\r\n')],
  ['a port that is no number', Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 1 0x2\r\n')],
  ['a missing port', Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 1\r\n')],
  ['too many fields', Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 1 2 3\r\n')],
  ['an unknown command', Buffer.from(`${SIGNATURE}2211000c7f0000017f0000019c401770`, 'hex')],
  ['another version', Buffer.from(`${SIGNATURE}3111000c7f0000017f0000019c401770`, 'hex')],
  ['addresses that are cut off', Buffer.from(`${SIGNATURE}2111000b7f0000017f0000019c4017`, 'hex')],
  ['a huge length', Buffer.from(`${SIGNATURE}2111ffff`, 'hex')],
] as const) {
  test(`a header with ${what} is refused`, () => {
    assert.throws(() => decodeProxyHeader(bytes), PROTOCOL);
  });
}
