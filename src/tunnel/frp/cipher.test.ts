import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { authKey, isAuthKey } from './auth.ts';
import { cipherStream, deriveKey } from './cipher.ts';
import { message } from './message.ts';
import { encodeV1 } from './v1.ts';

test("derives frp's keys", () => {
  assert.equal(deriveKey('12345678').toString('hex'), 'b7eac3f66310824c114f56f8274fdfea');
  assert.equal(deriveKey('').toString('hex'), 'cdc9dc4c472c37331281df4c232a8407');
});

test("computes frp's proof of a token", () => {
  assert.equal(authKey('12345678', 1_700_000_000), '3d8aac6cc09d79da303be74c311e5808');
  assert.equal(authKey('', 1_700_000_000), '24920decf83f6960b80f737a28eeafc1');
  assert.equal(isAuthKey('3d8aac6cc09d79da303be74c311e5808', '12345678', 1_700_000_000), true);
  assert.equal(isAuthKey('3d8aac6cc09d79da303be74c311e5808', '12345678', 1_700_000_001), false);
  assert.equal(isAuthKey('', '', 0), false);
});

test('encrypts a control stream to the bytes that frp expects', async () => {
  const [left, right] = createStreamPair();
  const seen = collect(right);
  const iv = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
  const secured = cipherStream(left, deriveKey('12345678'), () => iv);
  secured.write(encodeV1(message('Ping')));
  secured.write(encodeV1(message('ReqWorkConn')));
  await waitFor(() => seen.bytes === 38, { what: 'ciphertext' });
  assert.equal(
    Buffer.concat(seen.chunks).toString('hex'),
    '000102030405060708090a0b0c0d0e0f4498a24026e4cf47613434ac3402bd6e3812075141b0',
  );
});

for (const pieceBytes of [1, 15, 17, 1000]) {
  test(`carries bytes and both ends encrypted in pieces of ${pieceBytes}`, async () => {
    const [left, right] = createStreamPair({ pieceBytes });
    const key = deriveKey('secret');
    const near = cipherStream(left, key);
    const far = cipherStream(right, key);
    const atNear = collect(near);
    const atFar = collect(far);
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

test('a side that never writes sends nothing, not even an IV', async () => {
  const [left, right] = createStreamPair();
  const seen = collect(right);
  cipherStream(left, deriveKey('x')).end();
  await waitFor(() => seen.hasEnded, { what: 'end' });
  assert.equal(seen.bytes, 0);
});
