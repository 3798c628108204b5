import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { TUNNEL_ERRORS } from '../errors.ts';
import { cipherStream, deriveKey } from './cipher.ts';
import { crc32c } from './crc32c.ts';
import { compressBlock, decompressBlock, maxCompressedBytes } from './snappy-block.ts';
import { SnappyDecoder, SnappyEncoder } from './snappy-framing.ts';
import { snappyStream } from './snappy.ts';

const PROTOCOL = { code: TUNNEL_ERRORS.protocol };
const HELLO = 'ff060000734e6150705901090000bb1f1c1968656c6c6f';

function compress(data: Buffer): Buffer {
  const output = Buffer.alloc(maxCompressedBytes(data.length));
  return output.subarray(0, compressBlock(data, output, 0));
}

function decodeAll(wire: Buffer, pieceBytes = wire.length): Buffer {
  const decoder = new SnappyDecoder();
  const out: Buffer[] = [];
  for (let at = 0; at < wire.length; at += pieceBytes) {
    decoder.push(wire.subarray(at, at + pieceBytes));
    for (let data = decoder.next(); data !== undefined; data = decoder.next()) out.push(Buffer.from(data));
  }
  assert.ok(decoder.isIdle);
  return Buffer.concat(out);
}

test('the checksum is CRC-32C', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe306_9283);
  assert.equal(crc32c(Buffer.alloc(0)), 0);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a91_36aa); // RFC 3720 B.4
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8_ab43);
});

test('a short write becomes the stream identifier and an uncompressed chunk', () => {
  const encoder = new SnappyEncoder();
  assert.equal(Buffer.concat(encoder.encode(Buffer.from('hello'))).toString('hex'), HELLO);
  assert.equal(Buffer.concat(encoder.encode(Buffer.from('hello'))).toString('hex'), HELLO.slice(20));
  assert.deepEqual(encoder.encode(Buffer.alloc(0)), []);
});

test('blocks of all shapes come back as they were', () => {
  const text = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(2000));
  const shapes = [
    Buffer.alloc(0),
    Buffer.from('a'),
    Buffer.alloc(65_536),
    Buffer.alloc(65_535, 'ab'),
    Buffer.alloc(70, 'abc'),
    text.subarray(0, 65_536),
    randomBytes(65_536),
    Buffer.concat([randomBytes(3000), Buffer.alloc(3000), randomBytes(300), Buffer.alloc(61, 'x')]),
    ...Array.from({ length: 130 }, (_, length) => Buffer.alloc(length, 'xy')),
  ];
  for (const shape of shapes) assert.deepEqual(decompressBlock(compress(shape)), shape);
  assert.ok(compress(text.subarray(0, 65_536)).length < 5000);
});

test('the block decoder reads literals and copies of every form', () => {
  const long = Buffer.alloc(300, 'z');
  for (const [hex, wanted] of [
    ['00', Buffer.alloc(0)],
    ['0508616263060300', Buffer.from('abcab')], // copy-2 of two, offset 3
    ['0a00611501', Buffer.alloc(10, 'a')], // copy-1 of nine, overlapping
    ['070461620f020000000063', Buffer.from('abababc')], // copy-4 of four
    ['ac02f42b01' + long.toString('hex'), long], // a literal with two length bytes
    ['ac02f82b0100' + long.toString('hex'), long], // with three
    ['ac02fc2b010000' + long.toString('hex'), long], // with four
  ] as const) {
    assert.deepEqual(decompressBlock(Buffer.from(hex, 'hex')), wanted, hex);
  }
});

for (const [what, hex] of [
  ['nothing at all', ''],
  ['a length that is cut off', '80'],
  ['a length of six bytes', '808080808001'],
  ['more than 65536 bytes, a bomb', 'ffffffff0f'],
  ['one byte too many', '81800400'],
  ['a literal longer than its input', '0510616263'],
  ['a literal longer than its length says', '01086162'],
  ['a literal whose length is cut off', '05f4'],
  ['a literal of four gigabytes', '05fcffffffff61'],
  ['a copy with offset zero', '0500611100'],
  ['a copy from before the start', '0500611102'],
  ['a copy beyond the end', '0200611d01'],
  ['a copy that is cut off', '0500610e'],
  ['fewer bytes than its length says', '050061'],
] as const) {
  test(`a block with ${what} is refused`, () => {
    assert.throws(() => decompressBlock(Buffer.from(hex, 'hex')), PROTOCOL);
  });
}

test('a stream decodes in pieces of any size', () => {
  const data = Buffer.concat([Buffer.alloc(200_000, 'abcdefgh'), randomBytes(100_000)]);
  const wire = Buffer.concat(new SnappyEncoder().encode(data));
  for (const pieceBytes of [1, 7, 1000, 70_000, wire.length])
    assert.deepEqual(decodeAll(wire, pieceBytes), data);
});

test('chunks that may be skipped are, and the identifier may come again', () => {
  const [head, chunk] = [HELLO.slice(0, 20), HELLO.slice(20)];
  const padding = 'fe030000000000';
  assert.equal(
    decodeAll(Buffer.from(head + padding + head + chunk + '80000000', 'hex'), 3).toString(),
    'hello',
  );
});

for (const [what, hex] of [
  ['that begins with a chunk', HELLO.slice(20)],
  ['with a wrong identifier', 'ff060000734e61507058'],
  ['with an identifier of another length', 'ff070000734e61507059'],
  ['with a wrong checksum', HELLO.replace('bb1f', 'bb1e')],
  ['with a chunk of an unknown type', `${HELLO.slice(0, 20)}02000000`],
  ['with a chunk too short for a checksum', `${HELLO.slice(0, 20)}01030000`],
  ['with an uncompressed chunk that is too long', `${HELLO.slice(0, 20)}01050001`],
  ['with a compressed chunk that is too long', `${HELLO.slice(0, 20)}00ffffff`],
] as const) {
  test(`a stream ${what} is refused`, () => {
    assert.throws(() => decodeAll(Buffer.from(hex, 'hex'), 5), PROTOCOL);
  });
}

test('the stream carries data both ways, and its end', async () => {
  const [left, right] = createStreamPair({ pieceBytes: 333 });
  const [a, b] = [snappyStream(left), snappyStream(right)];
  const [atA, atB] = [collect(a), collect(b)];
  a.write(Buffer.from('ping'));
  b.write(Buffer.alloc(100_000, 'pong'));
  a.end();
  await waitFor(() => atB.hasEnded && atA.bytes === 100_000, { what: 'both directions' });
  assert.equal(atB.text(), 'ping');
  b.end();
  await waitFor(() => atA.isClosed && atB.isClosed, { what: 'close' });
  assert.equal(atA.error, undefined);
});

test('a pause holds what is decompressed already, the end and the close', async () => {
  const [left, right] = createStreamPair();
  const b = snappyStream(right);
  const events: string[] = [];
  b.setHandler({
    onData: (chunk) => {
      events.push(`data ${chunk.length}`);
      b.pause();
    },
    onEnd: () => events.push('end'),
    onDrain: () => {},
    onClose: (err) => events.push(`close ${err === undefined}`),
  });
  const wire = Buffer.concat(new SnappyEncoder().encode(Buffer.alloc(150_000)));
  b.end();
  left.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  left.resume();
  left.write(wire);
  left.end();
  for (const size of [65_536, 65_536, 18_928]) {
    b.resume();
    await waitFor(() => events.at(-1) === `data ${size}`, { what: 'a chunk' });
    events.length = 0;
    await new Promise(setImmediate);
    assert.deepEqual(events, []);
  }
  b.resume();
  await waitFor(() => events.length === 2, { what: 'end and close' });
  assert.deepEqual(events, ['end', 'close true']);
});

test('damage and an end inside a chunk close both sides', async () => {
  for (const bytes of ['00', HELLO.slice(0, -2)]) {
    const [left, right] = createStreamPair();
    const peer = collect(left);
    const seen = collect(snappyStream(right));
    left.write(Buffer.from(bytes, 'hex'));
    left.end();
    await waitFor(() => seen.isClosed && peer.isClosed, { what: 'close' });
    assert.equal((seen.error as { code?: string } | undefined)?.code, TUNNEL_ERRORS.protocol);
    assert.equal(seen.hasEnded, false);
  }
});

test('compression comes before encryption', async () => {
  const [left, right] = createStreamPair();
  const seen = collect(right);
  const iv = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
  snappyStream(cipherStream(left, deriveKey('12345678'), () => iv)).write(Buffer.from('hello'));
  await waitFor(() => seen.bytes === 39, { what: 'bytes' });
  assert.equal(
    Buffer.concat(seen.chunks).toString('hex'),
    `${iv.toString('hex')}d39ea24055aaae17131648d73402067142467056025187`,
  );
});
