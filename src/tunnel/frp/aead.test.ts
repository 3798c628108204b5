import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import type { ByteStream } from '../byte-stream.ts';
import { errorCode } from '../../lib/errors.ts';
import { TUNNEL_ERRORS } from '../errors.ts';
import { aeadStream, deriveAeadKey, MAX_RECORD_BYTES, transcriptHash } from './aead.ts';
import { message } from './message.ts';
import { encodeV2 } from './v2.ts';

const CLIENT_HELLO = Buffer.from(
  '{"bootstrap":{"transport":"tcp","tls":true,"tcpMux":true},"capabilities":{"message":{"codecs":["json"]},' +
    '"crypto":{"algorithms":["aes-256-gcm","xchacha20-poly1305"],"clientRandom":"ERERERERERERERERERERERERERERERERERERERERERE="}}}',
);
const SERVER_HELLO = Buffer.from(
  '{"selected":{"message":{"codec":"json"},"crypto":{"algorithm":"aes-256-gcm",' +
    '"serverRandom":"IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="}}}',
);
const HASH = 'f6a087d3cae76b455383f27a7bf82553094ec19df7276af461d9d55163fe21e4';
const KEY = '5e5d5703ed7054d5624d1105b8af24960c47d074b046186a4f00d124e092559c';
const NONCE = 'a0a1a2a3a4a5a6a7a8a9aaab';
const HEADER_RECORD = '000000187d16487140dd5f51d593af03ea91bac1935523ceccc3c0ad';
const PAYLOAD_RECORD = '00000014b3547db83a5160244fa976b59f16a1a7de23afca';
const GOLDEN = Buffer.from(`${NONCE}${HEADER_RECORD}${PAYLOAD_RECORD}`, 'hex');

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

test("hashes the hellos and derives the keys to frp's values", () => {
  assert.equal(CLIENT_HELLO.length, 228);
  assert.equal(SERVER_HELLO.length, 140);
  assert.equal(transcriptHash(CLIENT_HELLO, SERVER_HELLO).toString('hex'), HASH);
  const derived = (
    token: string,
    algorithm: string,
    direction: 'client-to-server' | 'server-to-client',
  ): string => deriveAeadKey(token, hex(HASH), algorithm, direction).toString('hex');
  assert.equal(derived('12345678', 'aes-256-gcm', 'client-to-server'), KEY);
  assert.equal(
    derived('12345678', 'aes-256-gcm', 'server-to-client'),
    '171ad684b3abdb64c6425e372d95a66f0c5122b229c82bc02b4847d6ba7959f5',
  );
  assert.equal(
    derived('', 'aes-256-gcm', 'client-to-server'),
    'f7c0806af36bb4b9da298ac296ffb8d662f54d2dd54f4c1dc4992f6f856f5b9e',
  );
  assert.equal(
    derived('12345678', 'xchacha20-poly1305', 'server-to-client'),
    'a07db6e72aa9e70031be1a73d665d68ab9c6adf6dbf3dcf9fcf03b67f66a34c9',
  );
  assert.equal(
    deriveAeadKey('token', Buffer.alloc(32, 0x44), 'xchacha20-poly1305', 'client-to-server').toString('hex'),
    'a058cd025d96985febebff79a19f62b715e053913dfc747705914c624bf3d495',
  );
});

/** A stream of records on one side of a pair, and what the other side sees. */
function sealing(nonce = NONCE): { sealed: ByteStream; seen: ReturnType<typeof collect> } {
  const [left, right] = createStreamPair();
  const seen = collect(right);
  return { sealed: aeadStream(left, { send: hex(KEY), receive: hex(KEY) }, () => hex(nonce)), seen };
}

/** Feeds bytes to a stream of records, in pieces, then ends; answers what it delivered. */
async function open(pieces: readonly Buffer[], key = KEY): Promise<ReturnType<typeof collect>> {
  const [left, right] = createStreamPair();
  collect(left);
  const opened = aeadStream(right, { send: hex(key), receive: hex(key) });
  const seen = collect(opened);
  for (const piece of pieces) left.write(piece);
  left.end();
  await waitFor(() => seen.hasEnded || seen.isClosed, { what: 'end or close', intervalMs: 1 });
  opened.destroy();
  return seen;
}

test("seals to frp's bytes, and opens them", async () => {
  const { sealed, seen } = sealing();
  const ping = encodeV2(message('Ping'));
  sealed.write(ping.subarray(0, 8));
  sealed.write(ping.subarray(8));
  await waitFor(() => seen.bytes === GOLDEN.length, { what: 'records' });
  assert.equal(Buffer.concat(seen.chunks).toString('hex'), GOLDEN.toString('hex'));
  assert.deepEqual(Buffer.concat((await open([GOLDEN])).chunks), ping);
});

test('opens records at every split point, and byte by byte', async () => {
  const ping = encodeV2(message('Ping'));
  for (let at = 0; at <= GOLDEN.length; at++) {
    const seen = await open(
      [GOLDEN.subarray(0, at), GOLDEN.subarray(at)].filter((piece) => piece.length > 0),
    );
    assert.deepEqual(Buffer.concat(seen.chunks), ping, `split at ${at}`);
    assert.equal(seen.hasEnded, true);
  }
  assert.deepEqual(Buffer.concat((await open([...GOLDEN].map((byte) => Buffer.from([byte])))).chunks), ping);
});

test('an end at a record border is clean, any other is refused', async () => {
  const borders = new Map([
    [0, 0],
    [12, 0],
    [40, 8],
    [GOLDEN.length, 12],
  ]);
  for (let at = 0; at <= GOLDEN.length; at++) {
    const seen = await open(at === 0 ? [] : [GOLDEN.subarray(0, at)]);
    const wanted = borders.get(at);
    assert.equal(seen.hasEnded, wanted !== undefined, `cut at ${at}`);
    if (wanted === undefined) assert.equal(errorCode(seen.error), TUNNEL_ERRORS.protocol);
    else assert.equal(seen.bytes, wanted);
  }
});

test('refuses a stream with any single bit changed, and delivers nothing of the changed record', async () => {
  for (let bit = 0; bit < GOLDEN.length * 8; bit++) {
    const bytes = Buffer.from(GOLDEN);
    const at = bit >> 3;
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
    // In two pieces, so that a good first record is delivered before the second comes.
    const seen = await open([bytes.subarray(0, 40), bytes.subarray(40)]);
    assert.equal(seen.hasEnded, false, `bit ${bit}`);
    assert.equal(errorCode(seen.error), TUNNEL_ERRORS.protocol, `bit ${bit}`);
    assert.equal(seen.bytes, at < 40 ? 0 : 8, `bit ${bit}`);
  }
});

for (const [what, bytes] of [
  ['records out of order', hex(`${NONCE}${PAYLOAD_RECORD}${HEADER_RECORD}`)],
  ['a record played twice', hex(`${NONCE}${HEADER_RECORD}${HEADER_RECORD}`)],
  ['a record left out', hex(`${NONCE}${PAYLOAD_RECORD}`)],
  ['a record shorter than its tag', hex(`${NONCE}0000000f${'00'.repeat(15)}`)],
  ['a record longer than any', hex(`${NONCE}00010011`)],
  ['a record of four gigabytes', hex(`${NONCE}ffffffff`)],
] as const) {
  test(`refuses ${what}`, async () => {
    assert.equal(errorCode((await open([bytes])).error), TUNNEL_ERRORS.protocol);
  });
}

test('refuses everything under another token or another transcript', async () => {
  for (const key of [
    deriveAeadKey('wrong', hex(HASH), 'aes-256-gcm', 'client-to-server'),
    deriveAeadKey(
      '12345678',
      transcriptHash(Buffer.concat([CLIENT_HELLO, Buffer.from(' ')]), SERVER_HELLO),
      'aes-256-gcm',
      'client-to-server',
    ),
    deriveAeadKey('12345678', hex(HASH), 'aes-256-gcm', 'server-to-client'),
  ]) {
    const seen = await open([GOLDEN], key.toString('hex'));
    assert.equal(errorCode(seen.error), TUNNEL_ERRORS.protocol);
    assert.equal(seen.bytes, 0);
  }
});

test('counts nonces up over all bytes, and seals nothing once they are used up', async () => {
  for (const [start, possible] of [
    ['00000000000000000000ffff', 3],
    ['ffffffffffffffffffffffff', 1],
    ['fffffffffffffffffffffffe', 2],
  ] as const) {
    const { sealed, seen } = sealing(start);
    const sender = collect(sealed);
    for (let count = 0; count < possible; count++) sealed.write(Buffer.from('abc'));
    await waitFor(() => seen.bytes === 12 + possible * 23, { what: 'records' });
    assert.equal((await open(seen.chunks)).text(), 'abc'.repeat(possible));
    if (start.startsWith('00')) continue;
    sealed.write(Buffer.from('abc'));
    await waitFor(() => sender.isClosed, { what: 'close' });
    assert.equal(errorCode(sender.error), TUNNEL_ERRORS.protocol);
    assert.equal(seen.bytes, 12 + possible * 23);
  }
});

test('refuses a peer that goes on after its nonces are used up', async () => {
  const { sealed, seen } = sealing('ffffffffffffffffffffffff');
  sealed.write(Buffer.from('abc'));
  await waitFor(() => seen.bytes === 35, { what: 'a record' });
  const after = await open([...seen.chunks, hex(PAYLOAD_RECORD)]);
  assert.equal(errorCode(after.error), TUNNEL_ERRORS.protocol);
});

test('splits a long write into records, and accepts an empty record', async () => {
  const { sealed, seen } = sealing();
  const long = Buffer.alloc(2 * MAX_RECORD_BYTES + 1, 'x');
  sealed.write(long);
  sealed.write(Buffer.alloc(0));
  await waitFor(() => seen.bytes === long.length + 12 + 3 * 20, { what: 'three records' });
  assert.equal((await open(seen.chunks)).text(), long.toString());

  // What another implementation may send: a tag and nothing else.
  const { createCipheriv } = await import('node:crypto');
  const cipher = createCipheriv('aes-256-gcm', hex(KEY), hex(NONCE));
  cipher.setAAD(hex(`${NONCE}00000010`));
  cipher.final();
  const empty = await open([Buffer.concat([hex(`${NONCE}00000010`), cipher.getAuthTag()])]);
  assert.equal(empty.hasEnded, true);
  assert.equal(empty.chunks.length, 0);
});

for (const pieceBytes of [1, 13, 1000]) {
  test(`carries bytes and both ends in pieces of ${pieceBytes}`, async () => {
    const [left, right] = createStreamPair({ pieceBytes });
    const [near, far] = [
      aeadStream(left, { send: hex(KEY), receive: Buffer.alloc(32, 1) }),
      aeadStream(right, { send: Buffer.alloc(32, 1), receive: hex(KEY) }),
    ];
    const [atNear, atFar] = [collect(near), collect(far)];
    near.write(Buffer.from('question'.repeat(500)));
    near.end();
    await waitFor(() => atFar.hasEnded, { what: 'end' });
    assert.equal(atFar.text(), 'question'.repeat(500));
    far.write(Buffer.from('answer'));
    far.end();
    await waitFor(() => atNear.isClosed && atFar.isClosed, { what: 'close' });
    assert.equal(atNear.text(), 'answer');
  });
}

test('a side that never writes sends nothing, not even a nonce', async () => {
  const { sealed, seen } = sealing();
  sealed.end();
  await waitFor(() => seen.hasEnded, { what: 'end' });
  assert.equal(seen.bytes, 0);
});
