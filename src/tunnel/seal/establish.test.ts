/** Handshakes over a stream: who gets a sealed one, who is refused, and that nothing is left behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { PARAMETERS } from '../../../test/support/seal-pair.ts';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import type { PairEnd, StreamPairOptions } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import type { ByteStream } from '../byte-stream.ts';
import { SEAL_ERRORS } from './errors.ts';
import { HANDSHAKE_TIMEOUT_MS, sealAsProvider, sealAsVisitor } from './establish.ts';
import { ANSWER_BYTES, OPENING_BYTES, ProviderHandshake, VisitorHandshake } from './handshake.ts';
import type { SealParameters } from './handshake.ts';
import { createSealKeys } from './keys.ts';
import { acceptPayload, openPayload, SEAL_METAS } from './negotiation.ts';
import { RecordWriter } from './records.ts';
import { isSealed } from './sealed-stream.ts';

interface Outcome {
  stream: ByteStream | undefined;
  code: string | undefined;
}

function outcome(promise: Promise<ByteStream>): Promise<Outcome> {
  return promise.then(
    (stream) => ({ stream, code: undefined }),
    (err: unknown) => ({ stream: undefined, code: (err as { code: string }).code }),
  );
}

async function handshake(
  visitor: Partial<SealParameters> = {},
  provider: Partial<SealParameters> = {},
  options: StreamPairOptions = {},
): Promise<{ visitor: Outcome; provider: Outcome; clock: FakeClock; raw: [PairEnd, PairEnd] }> {
  const raw = createStreamPair(options);
  const clock = new FakeClock();
  const both = await Promise.all([
    outcome(sealAsVisitor(raw[0], { ...PARAMETERS, ...visitor }, clock)),
    outcome(sealAsProvider(raw[1], { ...PARAMETERS, ...provider }, clock)),
  ]);
  return { visitor: both[0], provider: both[1], clock, raw };
}

test('two ends with the same secret get a sealed stream that carries both ways', async () => {
  for (const pieceBytes of [1, 7, 1000]) {
    const { visitor, provider, clock } = await handshake({}, {}, { pieceBytes });
    assert.ok(visitor.stream !== undefined && provider.stream !== undefined);
    assert.ok(isSealed(visitor.stream) && isSealed(provider.stream));
    const [atVisitor, atProvider] = [collect(visitor.stream), collect(provider.stream)];
    visitor.stream.write(Buffer.from('ping'));
    provider.stream.write(Buffer.from('pong'));
    visitor.stream.end();
    provider.stream.end();
    await waitFor(() => atVisitor.isClosed && atProvider.isClosed, { what: 'both closed' });
    assert.deepEqual([atVisitor.text(), atProvider.text()], ['pong', 'ping']);
    assert.deepEqual([atVisitor.error, atProvider.error], [undefined, undefined]);
    assert.equal(clock.pendingTimers, 0);
  }
});

test('another secret or another service is refused, and both ends learn it', async () => {
  for (const change of [{ psk: Buffer.alloc(32, 8) }, { service: 'web.prod' }]) {
    const { visitor, provider } = await handshake(change);
    assert.equal(provider.code, SEAL_ERRORS.secret);
    assert.equal(visitor.code, SEAL_ERRORS.refused);
  }
});

test('a visitor that wants one port is not led to another, one that wants any is', async () => {
  const misrouted = await handshake({ port: 443 });
  assert.equal(misrouted.provider.code, SEAL_ERRORS.misrouted);
  assert.equal(misrouted.visitor.code, SEAL_ERRORS.refused);
  assert.ok((await handshake({ port: 0 })).provider.stream !== undefined);
});

test('every flipped bit of a handshake message is refused', () => {
  const known = { code: /^EDGE_ERR_SEAL_(?:UNSEALED|SECRET|REFUSED)$/u };
  for (let bit = 0; bit < OPENING_BYTES * 8; bit++) {
    const opening = flip(new VisitorHandshake(PARAMETERS).opening(), bit);
    const provider = new ProviderHandshake(PARAMETERS);
    assert.throws(() => {
      provider.checkStart(opening);
      provider.answer(opening);
    }, known);
  }
  for (let bit = 0; bit < ANSWER_BYTES * 8; bit++) {
    const visitor = new VisitorHandshake(PARAMETERS);
    const answer = flip(new ProviderHandshake(PARAMETERS).answer(visitor.opening()).answer, bit);
    assert.throws(() => {
      visitor.answerBytes(answer);
      visitor.finish(answer);
    }, known);
  }
});

function flip(bytes: Buffer, bit: number): Buffer {
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes;
}

test('an opening that is played again gets no further than its answer', async () => {
  const opening = new VisitorHandshake(PARAMETERS).opening();
  const [attacker, raw] = createStreamPair();
  const clock = new FakeClock();
  const provider = outcome(sealAsProvider(raw, PARAMETERS, clock));
  const seen = collect(attacker);
  attacker.write(opening);
  await waitFor(() => seen.bytes === ANSWER_BYTES, { what: 'the answer' });
  // The best an attacker has: a record of a stream that was sealed with the same secret.
  const other = new ProviderHandshake(PARAMETERS).answer(new VisitorHandshake(PARAMETERS).opening());
  attacker.write(new RecordWriter(other.keys.receive).data(Buffer.alloc(0)));
  assert.equal((await provider).code, SEAL_ERRORS.tampered);
});

test('what was said sealed to one visitor cannot be answered to another', () => {
  const [one, other] = [new VisitorHandshake(PARAMETERS), new VisitorHandshake(PARAMETERS)];
  const { answer } = new ProviderHandshake(PARAMETERS).answer(one.opening());
  other.opening();
  assert.throws(() => other.finish(answer), { code: SEAL_ERRORS.secret });
});

test('a visitor that reflects the opening to its sender is refused', async () => {
  const [raw, mirror] = createStreamPair();
  const visitor = outcome(sealAsVisitor(raw, PARAMETERS, new FakeClock()));
  mirror.setHandler({
    onData: (chunk) => mirror.write(chunk),
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => {},
  });
  mirror.resume();
  assert.equal((await visitor).code, SEAL_ERRORS.unsealed);
});

test('a peer that does not seal is told apart from one with another secret', async () => {
  const [raw, peer] = createStreamPair();
  const provider = outcome(sealAsProvider(raw, PARAMETERS, new FakeClock()));
  peer.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  assert.equal((await provider).code, SEAL_ERRORS.unsealed);
  const [raw2, peer2] = createStreamPair();
  const visitor = outcome(sealAsVisitor(raw2, PARAMETERS, new FakeClock()));
  peer2.write(Buffer.from('220 mail.example.org ESMTP\r\n'));
  assert.equal((await visitor).code, SEAL_ERRORS.unsealed);
});

test('a handshake cut off at any byte, or one that hangs, ends with an error', async () => {
  const opening = new VisitorHandshake(PARAMETERS).opening();
  for (let bytes = 0; bytes <= opening.length; bytes++) {
    const [raw, peer] = createStreamPair();
    const provider = outcome(sealAsProvider(raw, PARAMETERS, new FakeClock()));
    peer.write(opening.subarray(0, bytes));
    peer.end();
    assert.equal((await provider).code, SEAL_ERRORS.closed, `${bytes} bytes`);
  }
  const clock = new FakeClock();
  const [left, right] = createStreamPair();
  const hanging = [
    outcome(sealAsProvider(left, PARAMETERS, clock)),
    outcome(sealAsVisitor(right, PARAMETERS, clock)),
  ];
  left.pause();
  right.pause();
  clock.advance(HANDSHAKE_TIMEOUT_MS);
  for (const end of hanging) assert.match((await end).code ?? '', /_(?:TIMEOUT|CLOSED)$/u);
  await waitFor(() => left.isClosed && right.isClosed, { what: 'both closed' });
  assert.equal(clock.pendingTimers, 0);
});

test('both ends seal when both offer it or one requires it, and a required seal asks nobody', async () => {
  const policy = { ...PARAMETERS, isRequired: false };
  const required = { ...PARAMETERS, isRequired: true };
  const offer = (seal: typeof policy | undefined) => (seal === undefined ? {} : { seal });
  const clock = new FakeClock();
  for (const [mine, metas] of [
    [undefined, SEAL_METAS],
    [policy, {}],
    [policy, { seal: '2' }],
  ] as const) {
    const [a, b] = createStreamPair();
    assert.equal(await openPayload(a, offer(mine), metas, clock), a);
    assert.deepEqual(await acceptPayload(b, offer(mine), metas, clock), { stream: b, isSealed: false });
  }
  for (const [mine, metas] of [
    [policy, SEAL_METAS],
    [required, {}],
  ] as const) {
    const [a, b] = createStreamPair();
    const ends = await Promise.all([
      openPayload(a, { seal: mine }, metas, clock),
      acceptPayload(b, { seal: mine }, metas, clock).then(({ stream }) => stream),
    ]);
    assert.deepEqual(ends.map(isSealed), [true, true]);
  }
});

test('keys differ by secret, service and use, and do not change between versions', () => {
  const keys = createSealKeys();
  const { psk, accessKey } = keys.derive('a secret', 'web.default');
  const others = [keys.derive('a secret', 'web.prod'), keys.derive('another', 'web.default')];
  const all = new Set([
    psk.toString('hex'),
    accessKey,
    ...others.flatMap((other) => [other.psk.toString('hex'), other.accessKey]),
  ]);
  assert.equal(all.size, 6);
  assert.deepEqual(createSealKeys().derive('a secret', 'web.default'), { psk, accessKey });
  assert.equal(psk.toString('hex'), 'c8041d1a580829da41af92206d5cce20404f9e1b268825e0de992b513c10ea72');
  assert.equal(accessKey, '32e7e9edecd4e5a46929e2e788e9504f36fa5b88a9708d2441ec341f9a5bda56');
});
