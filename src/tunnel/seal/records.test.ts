/** Records: what one side seals the other opens, in any pieces, and nothing else. */
import assert from 'node:assert/strict';
import { createHash, randomFillSync } from 'node:crypto';
import { test } from 'node:test';
import { createRandom } from '../../../test/support/random.ts';
import { agreedKeys } from '../../../test/support/seal-pair.ts';
import { CipherState } from './aead.ts';
import { SEAL_ERRORS } from './errors.ts';
import {
  MAX_TEXT_BYTES,
  RECORD_OVERHEAD_BYTES,
  RecordReader,
  RecordWriter,
  REKEY_RECORDS,
} from './records.ts';

const TAMPERED = { code: SEAL_ERRORS.tampered };
const KEY = Buffer.alloc(32, 9);

const writer = (): RecordWriter => new RecordWriter(new CipherState(KEY));
const reader = (): RecordReader => new RecordReader(new CipherState(KEY));

/** All that a reader gives out for a wire, pushed in the given pieces. */
function open(wire: Buffer, pieces: readonly number[] = [wire.length], into = reader()) {
  const texts: Buffer[] = [];
  let at = 0;
  for (const piece of pieces) {
    into.push(wire.subarray(at, at + piece));
    at += piece;
    for (let record = into.next(); record !== undefined; record = into.next()) texts.push(record.text);
  }
  return { text: Buffer.concat(texts), hasEnded: into.hasEnded };
}

test('texts of every size around a record come back, each record no larger than the limit', () => {
  for (const size of [
    0,
    1,
    15,
    16,
    MAX_TEXT_BYTES - 1,
    MAX_TEXT_BYTES,
    MAX_TEXT_BYTES + 1,
    3 * MAX_TEXT_BYTES,
    100_000,
  ]) {
    const text = randomFillSync(Buffer.alloc(size));
    const wire = writer().data(text);
    const records = Math.max(1, Math.ceil(size / MAX_TEXT_BYTES));
    assert.equal(wire.length, size + records * RECORD_OVERHEAD_BYTES);
    assert.ok(open(wire).text.equals(text));
  }
});

test('the wire may be split at every byte, and delivered byte by byte', () => {
  const out = writer();
  const wire = Buffer.concat([out.data(Buffer.from('hello ')), out.data(Buffer.from('world')), out.end()]);
  for (let at = 0; at <= wire.length; at++) {
    const { text, hasEnded } = open(wire, [at, wire.length - at]);
    assert.equal(text.toString(), 'hello world');
    assert.ok(hasEnded);
  }
  assert.equal(
    open(
      wire,
      Array.from(wire, () => 1),
    ).text.toString(),
    'hello world',
  );
});

test('every flipped bit is noticed, and nothing of its record comes out', () => {
  const wire = writer().data(Buffer.from('a secret text'));
  for (let bit = 0; bit < wire.length * 8; bit++) {
    const changed = Buffer.from(wire);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const into = reader();
    // A larger length makes the reader wait for more: then what follows cannot verify either.
    into.push(Buffer.concat([changed, Buffer.alloc(MAX_TEXT_BYTES + RECORD_OVERHEAD_BYTES)]));
    assert.throws(() => into.next(), TAMPERED, `bit ${bit}`);
    assert.throws(() => into.next(), TAMPERED, 'it stays failed');
  }
});

test('records that are left out, repeated, swapped, sent back or of another stream are refused', () => {
  const { visitor, provider } = agreedKeys();
  const out = new RecordWriter(visitor.send);
  const [first, second] = [out.data(Buffer.from('one')), out.data(Buffer.from('two'))];
  const fresh = (): RecordReader => reader();
  const same = writer();
  const [a, b] = [same.data(Buffer.from('one')), same.data(Buffer.from('two'))];
  assert.throws(() => open(b, [b.length], fresh()), TAMPERED, 'left out');
  assert.throws(() => open(Buffer.concat([a, a]), undefined, fresh()), TAMPERED, 'repeated');
  assert.throws(() => open(Buffer.concat([b, a]), undefined, fresh()), TAMPERED, 'swapped');
  assert.throws(() => open(first, undefined, new RecordReader(visitor.receive)), TAMPERED, 'reflected');
  assert.throws(
    () => open(first, undefined, new RecordReader(agreedKeys().provider.receive)),
    TAMPERED,
    'another stream',
  );
  assert.equal(
    open(Buffer.concat([first, second]), undefined, new RecordReader(provider.receive)).text.toString(),
    'onetwo',
  );
});

test('the end is authentic: data cannot become an end, nor an end data, and nothing may follow it', () => {
  const empty = writer().data(new Uint8Array());
  empty[0] = 1;
  assert.throws(() => open(empty), TAMPERED);
  const end = writer().end();
  end[0] = 0;
  assert.throws(() => open(end), TAMPERED);
  const out = writer();
  assert.throws(() => open(Buffer.concat([out.end(), out.data(Buffer.from('more'))])), TAMPERED);
});

test('headers that nobody honest sends are refused before anything is waited for', () => {
  for (const header of [
    [2, 0, 0],
    [255, 0, 1],
    [1, 0, 1],
    [0, 0x80, 1],
    [0, 255, 255],
  ]) {
    const into = reader();
    into.push(Buffer.from(header));
    assert.throws(() => into.next(), TAMPERED, String(header));
  }
});

test('both sides change to the next key at the same record, and the old key opens nothing more', () => {
  const out = writer();
  const into = reader();
  const wire = Buffer.concat(Array.from({ length: REKEY_RECORDS }, () => out.data(new Uint8Array())));
  open(wire, undefined, into);
  const next = out.data(Buffer.from('under the next key'));
  const old = new CipherState(KEY);
  const nothing = Buffer.alloc(RECORD_OVERHEAD_BYTES);
  for (let count = 0; count < REKEY_RECORDS; count++)
    old.encryptInto(nothing, 0, new Uint8Array(), new Uint8Array());
  assert.equal(old.counter, REKEY_RECORDS);
  assert.equal(old.decrypt(next.subarray(3), next.subarray(0, 3)), undefined);
  assert.equal(open(next, undefined, into).text.toString(), 'under the next key');
});

test('many records in random pieces come back whole', () => {
  const random = createRandom(20_261_122);
  const below = (limit: number): number => Math.floor(random() * limit);
  const out = writer();
  const into = reader();
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  for (let round = 0; round < 300; round++) {
    const texts = Array.from({ length: below(4) }, () => randomFillSync(Buffer.alloc(below(40_000))));
    for (const text of texts) sent.update(text);
    const wire = Buffer.concat(texts.map((text) => out.data(text)));
    const pieces: number[] = [];
    for (let left = wire.length; left > 0; left -= pieces.at(-1) ?? 0)
      pieces.push(Math.min(left, 1 + below(70_000)));
    received.update(open(wire, pieces, into).text);
  }
  assert.equal(received.digest('hex'), sent.digest('hex'));
});
