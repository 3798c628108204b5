import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TUNNEL_ERRORS } from '../errors.ts';
import { message } from './message.ts';
import type { Message } from './message.ts';
import { encodeV1, MAX_BODY_BYTES, V1Decoder } from './v1.ts';

const VECTORS: readonly [string, Message, string][] = [
  ['an empty Ping', message('Ping'), '6800000000000000027b7d'],
  ['an empty ReqWorkConn', message('ReqWorkConn'), '7200000000000000027b7d'],
  [
    'a LoginResp',
    message('LoginResp', { version: '0.70.1', run_id: '0123456789abcdef' }),
    '3100000000000000307b2276657273696f6e223a22302e37302e31222c2272756e5f6964223a2230313233343536373839616263646566227d',
  ],
  [
    'a UDPPacket',
    message('UDPPacket', { c: Buffer.from('hello'), r: { ip: '127.0.0.1', port: 40_000, zone: '' } }),
    '75000000000000003e7b2263223a22614756736247383d222c2272223a7b224950223a223132372e302e302e31222c22506f7274223a34303030302c225a6f6e65223a22227d7d',
  ],
];

for (const [what, value, hex] of VECTORS) {
  test(`encodes ${what} to frp's bytes and decodes it back`, () => {
    assert.equal(encodeV1(value).toString('hex'), hex);
    assert.deepEqual(decodeAll([Buffer.from(hex, 'hex')]).messages, [value]);
  });
}

function decodeAll(chunks: readonly Buffer[]): { messages: Message[]; rest: Buffer } {
  const decoder = new V1Decoder();
  const messages: Message[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let next = decoder.next(); next !== undefined; next = decoder.next()) messages.push(next);
  }
  return { messages, rest: decoder.takeRest() };
}

test('decodes messages at every split point', () => {
  const wire = Buffer.concat(VECTORS.map(([, value]) => encodeV1(value)));
  const wanted = VECTORS.map(([, value]) => value);
  for (let at = 0; at <= wire.length; at++) {
    assert.deepEqual(decodeAll([wire.subarray(0, at), wire.subarray(at)]).messages, wanted, `split at ${at}`);
  }
});

test('keeps the bytes behind a message for the next layer', () => {
  const decoder = new V1Decoder();
  decoder.push(
    Buffer.concat([encodeV1(message('StartWorkConn', { proxy_name: 'web' })), Buffer.from('GET /')]),
  );
  assert.equal(decoder.next()?.name, 'StartWorkConn');
  assert.equal(decoder.takeRest().toString(), 'GET /');
  assert.equal(decoder.takeRest().length, 0);
});

function frame(type: string, json: string): Buffer {
  const header = Buffer.alloc(9);
  header.write(type);
  header.writeUInt32BE(Buffer.byteLength(json), 5);
  return Buffer.concat([header, Buffer.from(json)]);
}

test('reads members as Go does: unknown ones ignored, without case, null as zero', () => {
  const { messages } = decodeAll([
    frame('o', '{"Version":"0.33.0","METAS":null,"user":null,"nonsense":[1],"pool_count":3}'),
  ]);
  assert.deepEqual(messages, [message('Login', { version: '0.33.0', pool_count: 3 })]);
});

test('a member called __proto__ does no harm', () => {
  const { messages } = decodeAll([frame('o', '{"__proto__":{"user":"x"},"metas":{"__proto__":"y"}}')]);
  const [login] = messages;
  assert.equal(login?.name === 'Login' && login.body.user, '');
  assert.equal(({} as { user?: string }).user, undefined);
});

for (const [what, bytes] of [
  ['an unknown type', frame('?', '{}')],
  ['a length of two to the 32', Buffer.from('6f0000000100000000', 'hex')],
  ['a negative length', Buffer.from('6fffffffffffffffff', 'hex')],
  ['a body one byte too large', frame('o', `"${'x'.repeat(MAX_BODY_BYTES - 1)}"`)],
  ['text that is no JSON', frame('o', '{"version":')],
  ['a list instead of an object', frame('o', '[]')],
  ['a number where a text belongs', frame('o', '{"user":5}')],
  ['a fraction where a whole number belongs', frame('o', '{"timestamp":1.5}')],
  ['a text inside a map of texts that is none', frame('o', '{"metas":{"a":1}}')],
  ['a port out of range', frame('u', '{"r":{"IP":"127.0.0.1","Port":70000,"Zone":""}}')],
] as const) {
  test(`refuses ${what}`, () => {
    assert.throws(() => decodeAll([bytes]), { code: TUNNEL_ERRORS.protocol });
  });
}

test('accepts a body of exactly the largest size', () => {
  const json = `{"user":"${'x'.repeat(MAX_BODY_BYTES - 11)}"}`;
  assert.equal(json.length, MAX_BODY_BYTES);
  assert.equal(decodeAll([frame('o', json)]).messages.length, 1);
});

test('refuses to encode a message that frp would refuse to read', () => {
  const huge = message('NewProxy', { metas: { note: 'x'.repeat(MAX_BODY_BYTES) } });
  assert.throws(() => encodeV1(huge), { code: TUNNEL_ERRORS.limit });
});
