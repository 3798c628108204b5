/** Tests of moving a connection to another provider: when it is safe, what is sent again, when it is over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { errorCode } from '../lib/errors.ts';
import { HIGH_WATER_BYTES } from '../tunnel/byte-stream.ts';
import { confirmedStream, confirmingStream } from '../tunnel/confirmation.ts';
import { YamuxError } from '../tunnel/yamux/errors.ts';
import type { OpenedStream } from './connector.ts';
import { retryingStream } from './retrying-stream.ts';

/** Providers that a connection meets one after the other; each opening is held until `release`. */
function setUp({ isHeld = false, hasOther = false } = {}) {
  const clock = new FakeClock();
  const providers: (ReturnType<typeof confirmingStream> & { received: ReturnType<typeof collect> })[] = [];
  const outcomes: [string, string][] = [];
  let isRouterSilent = false;
  const moves: string[] = [];
  let release = (): void => {};
  let failure: Error | undefined;
  const open = (): OpenedStream => {
    const at = providers.length + 1;
    const [near, far] = createStreamPair();
    const { stream, confirmation } = confirmingStream(far, clock);
    providers.push({ stream, confirmation, received: collect(stream) });
    return {
      stream: confirmedStream(near, `p${at}`),
      router: `r${at}`,
      isRouterSilent: () => isRouterSilent,
    };
  };
  const stream = retryingStream(open(), {
    clock,
    acceptTimeoutMs: 3000,
    async reopen() {
      if (isHeld)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      if (failure !== undefined) throw failure;
      return open();
    },
    onMoved: ({ router }) => moves.push(router),
    onAccepted: (provider) => outcomes.push(['accepted', provider]),
    watch: {
      hasOther: () => hasOther,
      late: (provider) => outcomes.push(['late', provider]),
      failed(provider, isSilent) {
        outcomes.push([isSilent ? 'silent' : 'failed', provider]);
        return false;
      },
    },
  });
  const received = collect(stream);
  return {
    clock,
    stream,
    received,
    providers,
    outcomes,
    moves,
    loseRouter: (): void => {
      isRouterSilent = true;
    },
    release: () => release(),
    failWith: (err: Error): void => {
      failure = err;
    },
  };
}

test('what a refused provider was sent goes to the next one, the end too', async () => {
  const { stream, received, providers, outcomes, moves } = setUp();
  stream.write(Buffer.from('one '));
  stream.write(Buffer.from('two'));
  stream.end();
  providers[0]?.confirmation.refuse();
  await waitFor(() => providers[1]?.received.hasEnded === true, { what: 'all of it at the second' });
  assert.equal(providers[1]?.received.text(), 'one two');
  providers[1]?.confirmation.accept();
  providers[1]?.stream.write(Buffer.from('answer'));
  providers[1]?.stream.end();
  await waitFor(() => received.isClosed, { what: 'closed' });
  assert.deepEqual([received.text(), received.error], ['answer', undefined]);
  assert.deepEqual(outcomes, [
    ['failed', 'p1'],
    ['accepted', 'p2'],
  ]);
  assert.deepEqual(moves, ['r2']);
});

test('a provider that is lost is left when nothing was sent, and not after the first byte', async () => {
  const early = setUp();
  early.providers[0]?.stream.destroy(new Error('gone'));
  await waitFor(() => early.providers.length === 2, { what: 'a second provider' });
  early.stream.write(Buffer.from('late'));
  await waitFor(() => early.providers[1]?.received.text() === 'late', { what: 'payload' });
  early.providers[1]?.stream.destroy(new Error('gone too'));
  await waitFor(() => early.received.isClosed, { what: 'closed' });
  assert.ok(early.received.error);
  assert.equal(early.providers.length, 2);
});

test('after a provider has accepted nothing is sent again', async () => {
  const { stream, received, providers, outcomes } = setUp();
  providers[0]?.confirmation.accept();
  providers[0]?.stream.write(Buffer.from('hello'));
  await waitFor(() => received.text() === 'hello', { what: 'hello' });
  stream.write(Buffer.from('x'));
  providers[0]?.stream.destroy(new Error('gone'));
  await waitFor(() => received.isClosed, { what: 'closed' });
  assert.equal(providers.length, 1);
  assert.deepEqual(outcomes, [['accepted', 'p1']]);
});

test('an application that sends more than is kept stays with its provider', async () => {
  const { stream, received, providers } = setUp();
  stream.write(Buffer.alloc(40_000));
  stream.write(Buffer.alloc(40_000));
  providers[0]?.confirmation.refuse();
  await waitFor(() => received.isClosed, { what: 'closed' });
  assert.equal(errorCode(received.error), 'EDGE_ERR_TUNNEL_TARGET_REFUSED');
  assert.equal(providers.length, 1);
});

test('without a stream the source is held back, and let go with the next one', async () => {
  const { stream, received, providers, release } = setUp({ isHeld: true });
  providers[0]?.confirmation.refuse();
  await waitFor(() => stream.queuedBytes > HIGH_WATER_BYTES, { what: 'held back' });
  stream.write(Buffer.from('meanwhile'));
  const { drains } = received;
  release();
  await waitFor(() => providers[1]?.received.text() === 'meanwhile', { what: 'payload' });
  assert.ok(received.drains > drains);
  assert.equal(stream.queuedBytes, 0);
});

test('a silent provider is late, then left, unless it may have got something', async () => {
  const quiet = setUp();
  quiet.clock.advance(499);
  assert.deepEqual(quiet.outcomes, []);
  quiet.clock.advance(1);
  assert.deepEqual(quiet.outcomes, [['late', 'p1']]);
  quiet.clock.advance(2499);
  assert.equal(quiet.providers.length, 1);
  quiet.clock.advance(1);
  await waitFor(() => quiet.providers.length === 2, { what: 'a second provider' });
  assert.deepEqual(quiet.outcomes[1], ['silent', 'p1']);
  const asked = setUp({ hasOther: true });
  asked.stream.write(Buffer.from('x'));
  asked.clock.advance(3000);
  await new Promise(setImmediate);
  assert.equal(asked.providers.length, 1);
  assert.deepEqual(asked.outcomes, [
    ['late', 'p1'],
    ['silent', 'p1'],
  ]);
});

test('where there is another provider a silent one is left after a second', async () => {
  const { clock, providers, outcomes } = setUp({ hasOther: true });
  clock.advance(999);
  await new Promise(setImmediate);
  assert.equal(providers.length, 1);
  clock.advance(1);
  await waitFor(() => providers.length === 2, { what: 'a second provider' });
  assert.deepEqual(outcomes, [
    ['late', 'p1'],
    ['silent', 'p1'],
  ]);
});

test('a provider behind a Router that is silent or gone is not blamed', async () => {
  const { clock, providers, outcomes, loseRouter } = setUp();
  loseRouter();
  clock.advance(3000);
  await waitFor(() => providers.length === 2, { what: 'a second try' });
  providers[1]?.stream.destroy(new YamuxError('timeout', 'peer is silent'));
  await waitFor(() => providers.length === 3, { what: 'a third try' });
  assert.deepEqual(outcomes, []);
});

test('when there is nobody else the reason is why the connection ends', async () => {
  const { received, providers, failWith } = setUp();
  failWith(new Error('nobody left'));
  providers[0]?.confirmation.refuse();
  await waitFor(() => received.isClosed, { what: 'closed' });
  assert.equal(received.error?.message, 'nobody left');
});

test('an application that leaves while a stream is opened leaves nothing behind', async () => {
  const { stream, received, providers, release, clock } = setUp({ isHeld: true });
  providers[0]?.confirmation.refuse();
  await waitFor(() => stream.queuedBytes > HIGH_WATER_BYTES, { what: 'held back' });
  stream.destroy(new Error('application left'));
  await waitFor(() => received.isClosed, { what: 'closed' });
  release();
  await waitFor(() => providers[1]?.received.isClosed === true, { what: 'the late stream closed' });
  clock.advance(5000); // the refusal lingers, then its stream goes too
  assert.equal(clock.pendingTimers, 0);
});

test('a stream whose provider does not confirm stays as it is', () => {
  const [near] = createStreamPair();
  const never = (): never => assert.fail('not to be called');
  const options = {
    clock: new FakeClock(),
    acceptTimeoutMs: 1,
    reopen: never,
    onMoved: never,
    onAccepted: never,
    watch: { hasOther: never, late: never, failed: never },
  };
  assert.equal(retryingStream({ stream: near, router: 'r', isRouterSilent: never }, options), near);
});
