/** Tests of the byte that tells a visitor whether the provider's target took its connection. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { errorCode } from '../lib/errors.ts';
import { confirmationOf, confirmedStream, confirmingStream, payloadOf } from './confirmation.ts';

function setUp(pieceBytes?: number) {
  const clock = new FakeClock();
  const [near, far] = createStreamPair(pieceBytes === undefined ? {} : { pieceBytes });
  const visitor = confirmedStream(near, 'web.default.pod-1');
  const state = confirmationOf(visitor);
  assert.ok(state);
  let accepted = 0;
  state.onAccepted(() => {
    accepted++;
  });
  const received = collect(visitor);
  return {
    clock,
    near,
    far,
    visitor,
    state,
    received,
    accepted: () => accepted,
    ...confirmingStream(far, clock),
  };
}

test('an accepted connection carries the byte in front of the first data, and both ways after it', async () => {
  for (const pieceBytes of [undefined, 1]) {
    const { clock, visitor, state, received, accepted, stream, confirmation } = setUp(pieceBytes);
    const provided = collect(stream);
    visitor.write(Buffer.from('question'));
    assert.equal(state.state, 'pending');
    confirmation.accept();
    stream.write(Buffer.from('answer'));
    await waitFor(() => received.text() === 'answer' && provided.text() === 'question', {
      what: 'both ways',
    });
    assert.deepEqual([state.state, state.provider, accepted()], ['accepted', 'web.default.pod-1', 1]);
    assert.equal(clock.pendingTimers, 0);
    stream.write(Buffer.from(', more'));
    stream.end();
    visitor.end();
    await waitFor(() => received.isClosed && provided.isClosed, { what: 'both closed' });
    assert.deepEqual([received.text(), received.error], ['answer, more', undefined]);
  }
});

test('a target that is silent, or ends without a word, is confirmed alone', async () => {
  const silent = setUp();
  silent.confirmation.accept();
  silent.clock.advance(9);
  await new Promise(setImmediate);
  assert.equal(silent.state.state, 'pending');
  silent.clock.advance(1);
  await waitFor(() => silent.state.state === 'accepted', { what: 'accepted' });
  assert.equal(silent.received.bytes, 0);
  const ended = setUp();
  ended.confirmation.accept();
  ended.stream.end();
  await waitFor(() => ended.received.hasEnded, { what: 'ended' });
  assert.deepEqual([ended.state.state, ended.clock.pendingTimers], ['accepted', 0]);
});

test('a refusal ends the visitor’s stream with its own code', async () => {
  const { state, received, accepted, confirmation, far } = setUp();
  confirmation.refuse();
  await waitFor(() => received.isClosed, { what: 'closed' });
  assert.deepEqual(
    [state.state, errorCode(received.error), accepted()],
    ['refused', 'EDGE_ERR_TUNNEL_TARGET_REFUSED', 0],
  );
  await waitFor(() => far.isClosed, { what: 'the provider’s end closed' });
});

test('anything else in front, an early end or a reset is a failure and no refusal', async () => {
  const garbage = setUp();
  garbage.far.write(Buffer.from('HTTP'));
  await waitFor(() => garbage.received.isClosed, { what: 'closed' });
  assert.deepEqual(
    [garbage.state.state, errorCode(garbage.received.error), garbage.received.bytes],
    ['pending', 'EDGE_ERR_TUNNEL_PROTOCOL', 0],
  );
  const early = setUp();
  early.far.end();
  await waitFor(() => early.received.isClosed, { what: 'closed' });
  assert.deepEqual(
    [early.state.state, errorCode(early.received.error)],
    ['pending', 'EDGE_ERR_TUNNEL_UNCONFIRMED'],
  );
  const reset = setUp();
  reset.stream.destroy(new Error('gone'));
  await waitFor(() => reset.received.isClosed, { what: 'closed' });
  assert.equal(reset.state.state, 'pending');
});

test('the payload below a confirmed stream can be looked at, other streams are their own', () => {
  const { visitor, near } = setUp();
  assert.equal(payloadOf(visitor), near);
  assert.equal(payloadOf(near), near);
  assert.equal(confirmationOf(near), undefined);
});
