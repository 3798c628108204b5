import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameDecoder } from './decoder.ts';
import { YAMUX_ERRORS } from './errors.ts';
import { encodeHeader, FLAG, FRAME_TYPE } from './frame.ts';

function decodeAll(chunks: readonly Buffer[]): string[] {
  const events: string[] = [];
  let body = '';
  const decoder = new FrameDecoder({
    onHeader: (type, flags, streamId, length) => events.push(`${type} ${flags} ${streamId} ${length}`),
    onBody: (piece) => {
      body += piece.toString();
      return true;
    },
    onBodyEnd: () => {
      events.push(`body ${body}`);
      body = '';
    },
  });
  for (const chunk of chunks) decoder.push(chunk);
  return events;
}

// SYN with a 6 MiB window, data "hello" on stream 1, empty data with FIN, ping request 0
const WIRE = Buffer.from(
  `0001000100000001005c0000
   000000000000000100000005 68656c6c6f
   000000040000000100000000
   000200010000000000000000`.replaceAll(/\s/gu, ''),
  'hex',
);
const EVENTS = ['1 1 1 6029312', '0 0 1 5', 'body hello', '0 4 1 0', 'body ', '2 1 0 0'];

test('decodes frames that arrive in one chunk', () => {
  assert.deepEqual(decodeAll([WIRE]), EVENTS);
});

test('decodes the same frames at every split point', () => {
  for (let at = 0; at <= WIRE.length; at++) {
    assert.deepEqual(decodeAll([WIRE.subarray(0, at), WIRE.subarray(at)]), EVENTS, `split at ${at}`);
  }
});

test('decodes the same frames byte by byte', () => {
  assert.deepEqual(decodeAll([...WIRE].map((byte) => Buffer.from([byte]))), EVENTS);
});

test('a truncated stream yields a prefix of the events and no error', () => {
  for (let at = 0; at < WIRE.length; at++) {
    const events = decodeAll([WIRE.subarray(0, at)]);
    assert.deepEqual(events, EVENTS.slice(0, events.length), `cut at ${at}`);
  }
});

test('refuses an unknown version and an unknown type', () => {
  for (const hex of ['010000000000000000000000', '000400000000000000000000', '00ff00000000000000000000']) {
    assert.throws(() => decodeAll([Buffer.from(hex, 'hex')]), { code: YAMUX_ERRORS.protocol }, hex);
  }
});

test('encodes the headers of the specification', () => {
  assert.equal(
    encodeHeader(FRAME_TYPE.windowUpdate, FLAG.syn, 1, 0x5c0000).toString('hex'),
    '0001000100000001005c0000',
  );
  assert.equal(
    encodeHeader(FRAME_TYPE.windowUpdate, FLAG.rst, 1, 0).toString('hex'),
    '000100080000000100000000',
  );
  assert.equal(encodeHeader(FRAME_TYPE.ping, FLAG.ack, 0, 0).toString('hex'), '000200020000000000000000');
  assert.equal(encodeHeader(FRAME_TYPE.goAway, 0, 0, 0).toString('hex'), '000300000000000000000000');
});
