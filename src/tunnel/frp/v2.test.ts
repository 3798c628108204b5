import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TUNNEL_ERRORS } from '../errors.ts';
import { MESSAGES, message } from './message.ts';
import type { Message, MessageName } from './message.ts';
import { decodeV2Message, encodeV2, encodeV2Frame, MAX_V2_BODY_BYTES, V2_MAGIC, V2Decoder } from './v2.ts';
import type { V2Frame } from './v2.ts';
import { DetectingDecoder } from './wire-protocol.ts';
import { encodeV1 } from './v1.ts';

const PING = '0010000000000004000b7b7d';

test("has frp's magic and its bytes for an empty Ping", () => {
  assert.equal(V2_MAGIC.toString('hex'), '46525000020d0a');
  assert.equal(encodeV2(message('Ping')).toString('hex'), PING);
  assert.deepEqual(decodeAll([Buffer.from(PING, 'hex')]).messages, [message('Ping')]);
});

test("numbers the messages as frp's v2 does", () => {
  const order =
    'Login LoginResp NewProxy NewProxyResp CloseProxy NewWorkConn ReqWorkConn StartWorkConn NewVisitorConn ' +
    'NewVisitorConnResp Ping Pong UDPPacket NatHoleVisitor NatHoleClient NatHoleResp NatHoleSid NatHoleReport';
  for (const [index, name] of order.split(' ').entries()) {
    const frame = encodeV2(message(name as MessageName) as Message);
    assert.equal(frame.readUInt16BE(8), index + 1, name);
  }
  assert.equal(Object.keys(MESSAGES).length, order.split(' ').length);
});

function decodeAll(chunks: readonly Buffer[]): { messages: Message[]; rest: Buffer } {
  const decoder = new V2Decoder();
  const messages: Message[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let next = decoder.next(); next !== undefined; next = decoder.next()) messages.push(next);
  }
  return { messages, rest: decoder.takeRest() };
}

const SAMPLES: readonly Message[] = [
  message('Login', { version: '0.70.1', timestamp: 1_700_000_000, user: 'a' }),
  message('Ping'),
  message('UDPPacket', { c: Buffer.from('hello'), r: { ip: '192.0.2.1', port: 53, zone: '' } }),
  message('NatHoleReport', { sid: 'x', success: true }),
];

test('decodes messages at every split point, and byte by byte', () => {
  const wire = Buffer.concat(SAMPLES.map(encodeV2));
  for (let at = 0; at <= wire.length; at++) {
    assert.deepEqual(
      decodeAll([wire.subarray(0, at), wire.subarray(at)]).messages,
      SAMPLES,
      `split at ${at}`,
    );
  }
  assert.deepEqual(decodeAll([...wire].map((byte) => Buffer.from([byte]))).messages, SAMPLES);
});

test('gives nothing for a message that is cut off, wherever it is cut', () => {
  const wire = encodeV2(SAMPLES[0] as Message);
  for (let at = 0; at < wire.length; at++) {
    const { messages, rest } = decodeAll([wire.subarray(0, at)]);
    assert.deepEqual(messages, []);
    assert.deepEqual(rest, wire.subarray(0, at));
  }
});

test('keeps the bytes behind a message for the next layer', () => {
  const decoder = new V2Decoder();
  decoder.push(Buffer.concat([encodeV2(message('StartWorkConn')), Buffer.from('GET /')]));
  assert.equal(decoder.next()?.name, 'StartWorkConn');
  assert.equal(decoder.takeRest().toString(), 'GET /');
});

test('a message frame of exactly the largest size passes both ways, one byte more does not', () => {
  const fitting = message('Login', {
    user: 'x'.repeat(MAX_V2_BODY_BYTES - '{"user":"","client_spec":{}}'.length),
  });
  const wire = encodeV2(fitting);
  assert.equal(wire.length, 8 + 65_536);
  assert.deepEqual(decodeAll([wire]).messages, [fitting]);
  const larger = message('Login', { user: `${fitting.body.user}x` });
  assert.throws(() => encodeV2(larger), { code: TUNNEL_ERRORS.limit });
  assert.throws(() => encodeV2Frame({ type: 16, payload: Buffer.alloc(65_537) }), {
    code: TUNNEL_ERRORS.limit,
  });
});

function frame(type: number, payload: string): Buffer {
  return encodeV2Frame({ type, payload: Buffer.from(payload, 'latin1') });
}

for (const [what, bytes] of [
  ['flags', Buffer.from('0010000100000004000b7b7d', 'hex')],
  ['a length one byte too large', Buffer.from('0010000000010001', 'hex')],
  ['a length of four gigabytes', Buffer.from('00100000ffffffff', 'hex')],
  ['a hello among messages', frame(1, '{}')],
  ['a frame type nobody knows', frame(17, '\0\u000b{}')],
  ['a frame type of zero', frame(0, '\0\u000b{}')],
  ['an empty message frame', frame(16, '')],
  ['half a message id', frame(16, '\0')],
  ['a message id of zero', frame(16, '\0\0{}')],
  ['an unknown message id', frame(16, '\0\u0013{}')],
  ['a message without JSON', frame(16, '\0\u000b')],
  ['a message that is a list', frame(16, '\0\u000b[]')],
  ['a member of the wrong type', frame(16, '\0\u000b{"timestamp":"now"}')],
] as const) {
  test(`refuses ${what}`, () => {
    assert.throws(() => decodeAll([bytes]), { code: TUNNEL_ERRORS.protocol });
  });
}

test('tells hellos to whoever asked for them, and goes on with messages', () => {
  const hellos: V2Frame[] = [];
  const decoder = new V2Decoder((hello) => hellos.push(hello));
  decoder.push(Buffer.concat([frame(1, '{"a":1}'), encodeV2(message('Ping'))]));
  assert.equal(decoder.next()?.name, 'Ping');
  assert.deepEqual(hellos, [{ type: 1, payload: Buffer.from('{"a":1}') }]);
  assert.throws(() => decodeV2Message({ type: 1, payload: Buffer.from('{}') }), {
    code: TUNNEL_ERRORS.protocol,
  });
});

test('the magic in front of a connection selects v2, at every split; its absence v1', () => {
  for (const [wire, bytes] of [
    ['v2', Buffer.concat([V2_MAGIC, encodeV2(message('NewWorkConn', { run_id: 'a' })), Buffer.from('rest')])],
    ['v1', Buffer.concat([encodeV1(message('NewWorkConn', { run_id: 'a' })), Buffer.from('rest')])],
  ] as const) {
    for (let at = 0; at <= bytes.length; at++) {
      const decoder = new DetectingDecoder(() => {});
      decoder.push(bytes.subarray(0, at));
      const early = decoder.next();
      decoder.push(bytes.subarray(at));
      assert.deepEqual(early ?? decoder.next(), message('NewWorkConn', { run_id: 'a' }));
      assert.equal(decoder.wireProtocol, wire);
      assert.equal(decoder.takeRest().toString(), 'rest');
    }
  }
});

test('a magic that goes wrong at any byte is no message of v1 either', () => {
  for (let at = 1; at < V2_MAGIC.length; at++) {
    const bytes = Buffer.from(V2_MAGIC);
    bytes[at] = 0x7f;
    const decoder = new DetectingDecoder(() => {});
    decoder.push(bytes.subarray(0, at));
    assert.equal(decoder.next(), undefined);
    decoder.push(bytes.subarray(at));
    assert.throws(() => decoder.next(), { code: TUNNEL_ERRORS.protocol });
  }
});
