/** The handshake against vectors that two other implementations of Noise agree on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import vectorFile from '../../../test/testdata/noise-nnpsk0.json' with { type: 'json' };
import { Initiator, keyPairFrom, PROTOCOL_NAME, Responder } from './noise.ts';
import type { TransportKeys } from './noise.ts';

const NOTHING = Buffer.alloc(0);
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

test('both halves produce every byte of the known handshakes, transport texts and rekeyed texts', () => {
  const { vectors } = vectorFile;
  assert.equal(vectors.length, 16);
  for (const vector of vectors) {
    assert.equal(vector.protocol_name, PROTOCOL_NAME);
    const [psk = ''] = vector.init_psks;
    const parameters = { psk: hex(psk), prologue: hex(vector.init_prologue) };
    const initiator = new Initiator({
      ...parameters,
      keyPairs: () => keyPairFrom(hex(vector.init_ephemeral)),
    });
    const responder = new Responder({
      ...parameters,
      keyPairs: () => keyPairFrom(hex(vector.resp_ephemeral)),
    });
    const [first, second, ...texts] = vector.messages;
    assert.ok(first !== undefined && second !== undefined && texts.length === 6);
    const opening = initiator.write(hex(first.payload));
    assert.equal(opening.toString('hex'), first.ciphertext);
    assert.deepEqual(responder.read(opening), hex(first.payload));
    const written = responder.write(hex(second.payload));
    assert.equal(written?.answer.toString('hex'), second.ciphertext);
    const read = initiator.read(hex(second.ciphertext));
    assert.deepEqual(read?.payload, hex(second.payload));
    assert.ok(written !== undefined && read !== undefined);
    assert.equal(read.keys.handshakeHash.toString('hex'), vector.handshake_hash);
    assert.equal(written.keys.handshakeHash.toString('hex'), vector.handshake_hash);
    let isRekeyed = false;
    for (const [at, { payload, ciphertext, rekeyed }] of texts.entries()) {
      if (rekeyed === true && !isRekeyed) {
        isRekeyed = true;
        for (const { send, receive } of [read.keys, written.keys]) {
          send.rekey();
          receive.rekey();
        }
      }
      const from: TransportKeys = at % 2 === 0 ? read.keys : written.keys;
      const to: TransportKeys = at % 2 === 0 ? written.keys : read.keys;
      const text = hex(payload);
      const sealed = Buffer.alloc(text.length + 16);
      from.send.encryptInto(sealed, 0, text, NOTHING);
      assert.equal(sealed.toString('hex'), ciphertext);
      assert.deepEqual(to.receive.decrypt(sealed, NOTHING), text);
    }
    assert.ok(isRekeyed);
  }
});

test('a public key of small order is refused', () => {
  const psk = Buffer.alloc(32, 1);
  const zero = keyPairFrom(Buffer.alloc(32, 2));
  zero.publicBytes = Buffer.alloc(32);
  const parameters = { psk, prologue: NOTHING };
  const responder = new Responder(parameters);
  assert.ok(
    responder.read(new Initiator({ ...parameters, keyPairs: () => zero }).write(NOTHING)) !== undefined,
  );
  assert.equal(responder.write(NOTHING), undefined);
});

test('a pre-shared key of the wrong size is a mistake of the caller', () => {
  assert.throws(() => new Initiator({ psk: Buffer.alloc(16), prologue: NOTHING }), RangeError);
});
