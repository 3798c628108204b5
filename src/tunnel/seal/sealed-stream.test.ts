/** Sealed streams: a byte stream like any other, and an error where something was cut, changed or sent again. */
import assert from 'node:assert/strict';
import { createHash, randomFillSync } from 'node:crypto';
import { test } from 'node:test';
import { createRandom } from '../../../test/support/random.ts';
import { agreedKeys, createSealPair } from '../../../test/support/seal-pair.ts';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { HIGH_WATER_BYTES } from '../byte-stream.ts';
import type { ByteStreamHandler } from '../byte-stream.ts';
import { ReadBuffers, withLoan } from '../read-buffers.ts';
import { SEAL_ERRORS } from './errors.ts';
import { RecordWriter } from './records.ts';
import { isSealed, sealedStream } from './sealed-stream.ts';

const errorCodeOf = (err: Error | undefined): unknown => (err as { code?: unknown } | undefined)?.code;

/** A sealed reader of a wire that a test writes. */
function receiver() {
  const keys = agreedKeys();
  const [raw, link] = createStreamPair();
  const stream = sealedStream(raw, keys.provider, Buffer.alloc(0));
  return { stream, link, writer: new RecordWriter(keys.visitor.send) };
}

test('64 MiB in random pieces arrive whole in both directions, with backpressure', async () => {
  const TOTAL = 64 * 1024 * 1024;
  const { visitor, provider } = createSealPair({ pieceBytes: 50_000 });
  const random = createRandom(7);
  const block = randomFillSync(Buffer.alloc(300_000));
  const pumps = [visitor, provider].map((from, index) => {
    const to = index === 0 ? provider : visitor;
    const [sent, received] = [createHash('md5'), createHash('md5')];
    const state = {
      left: TOTAL,
      bytes: 0,
      hasEnded: false,
      mostQueued: 0,
      sent,
      received,
      fill: () => {},
      to,
    };
    state.fill = () => {
      while (state.left > 0 && from.queuedBytes <= HIGH_WATER_BYTES) {
        const size = Math.min(state.left, 1 + Math.floor(random() ** 3 * block.length));
        state.left -= size;
        const chunk = Buffer.from(block.subarray(0, size));
        sent.update(chunk);
        from.write(chunk);
        state.mostQueued = Math.max(state.mostQueued, from.queuedBytes);
        if (state.left === 0) from.end();
      }
    };
    return state;
  });
  for (const [index, end] of [visitor, provider].entries()) {
    const [mine, theirs] = [pumps[index], pumps[1 - index]];
    assert.ok(mine !== undefined && theirs !== undefined);
    end.setHandler({
      onData: (chunk) => {
        theirs.received.update(chunk);
        theirs.bytes += chunk.length;
        if (random() < 0.01) {
          end.pause();
          setImmediate(() => end.resume());
        }
      },
      onEnd: () => (theirs.hasEnded = true),
      onDrain: () => mine.fill(),
      onClose: () => {},
    });
    end.resume();
  }
  for (const pump of pumps) pump.fill();
  await waitFor(() => pumps.every((pump) => pump.hasEnded), { what: 'both ends', timeoutMs: 50_000 });
  for (const pump of pumps) {
    assert.equal(pump.bytes, TOTAL);
    assert.equal(pump.received.digest('hex'), pump.sent.digest('hex'));
    assert.ok(pump.mostQueued < HIGH_WATER_BYTES + 310_000, `${pump.mostQueued} bytes were queued`);
  }
});

test('a half-closed stream still carries the other direction', async () => {
  const { visitor, provider } = createSealPair();
  const [atVisitor, atProvider] = [collect(visitor), collect(provider)];
  visitor.write(Buffer.from('question'));
  visitor.end();
  visitor.write(Buffer.from('too late'));
  await waitFor(() => atProvider.hasEnded, { what: 'the end of the question' });
  assert.equal(atVisitor.hasEnded, false);
  provider.write(Buffer.from('answer'));
  provider.end();
  await waitFor(() => atVisitor.isClosed && atProvider.isClosed, { what: 'both closed' });
  assert.deepEqual([atProvider.text(), atVisitor.text()], ['question', 'answer']);
  assert.deepEqual([atProvider.error, atVisitor.error], [undefined, undefined]);
});

test('an abort of one end is an error at the other', async () => {
  const { visitor, provider } = createSealPair();
  const [atVisitor, atProvider] = [collect(visitor), collect(provider)];
  visitor.write(Buffer.from('half an ans'));
  await waitFor(() => atProvider.bytes > 0, { what: 'data' });
  const reason = new Error('changed my mind');
  visitor.destroy(reason);
  await waitFor(() => atVisitor.isClosed && atProvider.isClosed, { what: 'both closed' });
  assert.equal(atVisitor.error, reason);
  assert.ok(atProvider.error !== undefined);
  assert.equal(atProvider.hasEnded, false);
});

test('an end at every byte before the last record has come is an error', async () => {
  const { writer } = receiver();
  const bytes = Buffer.concat([
    writer.data(Buffer.from('one')),
    writer.data(Buffer.from('two')),
    writer.end(),
  ]).length;
  for (let cut = 0; cut <= bytes; cut++) {
    const { stream, link, writer: out } = receiver();
    const wire = Buffer.concat([out.data(Buffer.from('one')), out.data(Buffer.from('two')), out.end()]);
    const seen = collect(stream);
    link.write(wire.subarray(0, cut));
    link.end();
    if (cut === bytes) {
      await waitFor(() => seen.hasEnded, { what: 'the end' });
      continue;
    }
    await waitFor(() => seen.isClosed, { what: `a close after ${cut} bytes` });
    assert.equal(errorCodeOf(seen.error), SEAL_ERRORS.truncated, `${cut} bytes`);
    assert.equal(seen.hasEnded, false);
    assert.ok('onetwo'.startsWith(seen.text()));
  }
});

test('a changed record closes the stream, and what follows it is not read', async () => {
  const { stream, link, writer } = receiver();
  const seen = collect(stream);
  const bad = writer.data(Buffer.from('bad'));
  bad[5] = (bad[5] ?? 0) ^ 1;
  link.write(bad);
  link.write(writer.data(Buffer.from('good')));
  await waitFor(() => seen.isClosed, { what: 'close' });
  assert.equal(errorCodeOf(seen.error), SEAL_ERRORS.tampered);
  assert.equal(seen.bytes, 0);
});

test('a pause holds back the rest of a chunk, also when the chunk holds the end', async () => {
  const { stream, link, writer } = receiver();
  const seen: string[] = [];
  stream.setHandler({
    onData: (chunk) => {
      seen.push(chunk.toString());
      stream.pause();
    },
    onEnd: () => seen.push('end'),
    onDrain: () => {},
    onClose: () => {},
  });
  link.write(Buffer.concat([writer.data(Buffer.from('a')), writer.data(Buffer.from('b')), writer.end()]));
  link.end();
  for (const expected of [['a'], ['a', 'b'], ['a', 'b', 'end']]) {
    stream.resume();
    await waitFor(() => seen.length === expected.length, { what: expected.join() });
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    assert.deepEqual(seen, expected);
  }
});

test('what arrived behind the handshake is delivered after resume, not before', async () => {
  const keys = agreedKeys();
  const [raw, link] = createStreamPair();
  const rest = new RecordWriter(keys.visitor.send).data(Buffer.from('early'));
  const stream = sealedStream(raw, keys.provider, rest);
  assert.ok(isSealed(stream) && !isSealed(raw) && !link.isClosed);
  const seen = collect(stream);
  assert.equal(seen.bytes, 0);
  await waitFor(() => seen.text() === 'early', { what: 'early data' });
});

test('queued bytes are those of the stream beneath', () => {
  const { visitor } = createSealPair();
  visitor.write(Buffer.alloc(1000));
  assert.equal(visitor.queuedBytes, 1019);
});

test('what a paused reader leaves of a lent chunk is held until it is read', () => {
  const keys = agreedKeys();
  const [raw] = createStreamPair();
  let inner: ByteStreamHandler | undefined;
  raw.setHandler = (handler) => (inner = handler);
  const stream = sealedStream(raw, keys.provider, Buffer.alloc(0));
  const writer = new RecordWriter(keys.visitor.send);
  const buffers = new ReadBuffers();
  const { buffer, loan } = buffers.borrow();
  const wire = Buffer.concat([writer.data(Buffer.from('one')), writer.data(Buffer.from('two'))]);
  wire.copy(buffer);
  const texts: string[] = [];
  stream.setHandler({
    onData: (chunk) => {
      texts.push(chunk.toString());
      stream.pause();
    },
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => {},
  });
  stream.resume();
  assert.equal(
    withLoan(loan, () => inner?.onData(buffer.subarray(0, wire.length))),
    true,
  );
  loan.release();
  assert.deepEqual(texts, ['one']);
  assert.equal(buffers.idle, 0);
  const next = writer.data(Buffer.from('three'));
  stream.resume();
  withLoan(undefined, () => inner?.onData(next)); // before the rest was read
  assert.equal(buffers.idle, 1);
  stream.resume();
  withLoan(undefined, () => inner?.onData(writer.data(Buffer.from('four'))));
  assert.deepEqual(texts, ['one', 'two', 'three']);
});
