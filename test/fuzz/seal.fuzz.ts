/**
 * Throws damaged, cut, repeated and foreign bytes at the handshake and the records of sealed streams: either exactly what
 * was sealed comes out, in order, or a SealError. FUZZ_SEED repeats a run, FUZZ_MS sets its time (3000).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CipherState } from '../../src/tunnel/seal/aead.ts';
import { SealError } from '../../src/tunnel/seal/errors.ts';
import { ProviderHandshake, VisitorHandshake } from '../../src/tunnel/seal/handshake.ts';
import {
  MAX_TEXT_BYTES,
  RECORD_OVERHEAD_BYTES,
  RecordReader,
  RecordWriter,
} from '../../src/tunnel/seal/records.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';
import { PARAMETERS } from '../support/seal-pair.ts';

/** Damages bytes in one of the ways a wire, or somebody on it, can. */
function damage(bytes: Buffer): Buffer {
  const at = below(bytes.length);
  switch (below(6)) {
    case 0: {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << below(8));
      return changed;
    }
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([below(256)]), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    case 4:
      return Buffer.concat([bytes, bytes]);
    default:
      return Buffer.from(Array.from({ length: below(120) }, () => below(256)));
  }
}

const KEY = Buffer.alloc(32, 3);
const TEXTS = ['', 'x', 'hello', 'a longer text that spans a little', 'z'.repeat(300)].map((text) =>
  Buffer.from(text),
);

/** Records of one stream, sealed once: what an attacker holds of it. */
const writer = new RecordWriter(new CipherState(KEY));
const sealed = Array.from({ length: 12 }, (_, index) => {
  const text = TEXTS[index % TEXTS.length] ?? Buffer.alloc(0);
  return index === 11 ? { text: Buffer.alloc(0), wire: writer.end() } : { text, wire: writer.data(text) };
});
const whole = Buffer.concat(sealed.map(({ text }) => text));

function someWire(): Buffer {
  const records = sealed.slice(0, 1 + below(sealed.length)).map(({ wire }) => wire);
  for (let count = below(3); count > 0; count--) {
    const at = below(records.length);
    const kind = below(4);
    if (kind === 0) records[at] = damage(records[at] ?? Buffer.alloc(1));
    else if (kind === 1) records.splice(at, 1);
    else if (kind === 2) records.splice(at, 0, pick(sealed).wire);
    else records.reverse();
    if (records.length === 0) break;
  }
  return Buffer.concat(records);
}

test('a reader gives out a beginning of what was sealed, or an error, and holds little', async () => {
  await fuzz('records', () => {
    const wire = someWire();
    const reader = new RecordReader(new CipherState(KEY));
    let out = 0;
    let records = 0;
    try {
      for (let at = 0; at < wire.length;) {
        const end = Math.min(wire.length, at + 1 + below(random() < 0.3 ? 8 : 600));
        reader.push(Buffer.from(wire.subarray(at, end)));
        at = end;
        for (let record = reader.next(); record !== undefined; record = reader.next()) {
          assert.ok(
            whole.subarray(out, out + record.text.length).equals(record.text),
            'what was sealed, in order',
          );
          out += record.text.length;
          records += 1;
          assert.equal(record.isEnd, records === sealed.length, 'the end is the end');
        }
      }
    } catch (err) {
      if (!(err instanceof SealError)) throw err;
      assert.throws(() => reader.next(), SealError, 'it stays failed');
    }
    assert.ok(records <= sealed.length);
  });
});

test('a reader refuses noise before it has taken more than a record', async () => {
  await fuzz('noise', () => {
    const reader = new RecordReader(new CipherState(KEY));
    const noise = Buffer.alloc(MAX_TEXT_BYTES + RECORD_OVERHEAD_BYTES);
    for (let at = 0; at < 3; at++) noise[at] = below(at === 0 ? 3 : 256);
    reader.push(noise);
    assert.throws(() => reader.next(), SealError);
  });
});

test('both halves of a handshake survive any bytes, and only honest ones succeed', async () => {
  const visitor = new VisitorHandshake(PARAMETERS);
  const opening = visitor.opening();
  const { answer } = new ProviderHandshake(PARAMETERS).answer(opening);
  await fuzz('handshake', () => {
    const isOpening = random() < 0.8; // an answer costs a key exchange
    const honest = isOpening ? opening : answer;
    const bytes = random() < 0.9 ? damage(honest) : pick([opening, answer]);
    const isHonest = bytes.length >= honest.length && bytes.subarray(0, honest.length).equals(honest);
    let hasSucceeded = false;
    try {
      if (isOpening) {
        const provider = new ProviderHandshake(PARAMETERS);
        provider.checkStart(bytes.subarray(0, 4));
        if (bytes.length < opening.length) return;
        provider.answer(bytes.subarray(0, opening.length));
      } else {
        const fresh = new VisitorHandshake(PARAMETERS);
        fresh.opening();
        const size = fresh.answerBytes(bytes.subarray(0, 4));
        if (bytes.length < size) return;
        fresh.finish(bytes.subarray(0, size));
      }
      hasSucceeded = true;
    } catch (err) {
      if (!(err instanceof SealError)) throw err;
    }
    // An answer belongs to the opening of another visitor, so that even the honest one must fail.
    assert.equal(hasSucceeded, isOpening && isHonest);
  });
});
