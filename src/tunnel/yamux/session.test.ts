import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import type { StreamPairOptions } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { YAMUX_ERRORS } from './errors.ts';
import type { YamuxConfig } from './config.ts';
import { YamuxSession } from './session.ts';
import type { YamuxStream } from './stream.ts';

interface Pair {
  client: YamuxSession;
  server: YamuxSession;
  accepted: YamuxStream[];
  closed: { client?: Error | undefined; server?: Error | undefined; count: number };
  clock: FakeClock;
}

function createPair(options: StreamPairOptions = {}, config: Partial<YamuxConfig> = {}): Pair {
  const [a, b] = createStreamPair(options);
  const clock = new FakeClock();
  const accepted: YamuxStream[] = [];
  const closed: Pair['closed'] = { count: 0 };
  const client = new YamuxSession(
    a,
    'client',
    {
      onStream: (stream) => stream.destroy(),
      onClose: (err) => {
        closed.client = err;
        closed.count += 1;
      },
    },
    { clock },
    config,
  );
  const server = new YamuxSession(
    b,
    'server',
    {
      onStream: (stream) => accepted.push(stream),
      onClose: (err) => {
        closed.server = err;
        closed.count += 1;
      },
    },
    { clock },
    config,
  );
  return { client, server, accepted, closed, clock };
}

async function openOne(pair: Pair): Promise<[YamuxStream, YamuxStream]> {
  const before = pair.accepted.length;
  const stream = pair.client.openStream();
  await waitFor(() => pair.accepted.length > before, { what: 'accepted stream' });
  return [stream, pair.accepted.at(-1) as YamuxStream];
}

for (const pieceBytes of [1, 7, 4096, undefined]) {
  test(`carries bytes both ways when the transport delivers ${pieceBytes ?? 'whole chunks'}`, async () => {
    const pair = createPair(pieceBytes === undefined ? {} : { pieceBytes });
    const [local, remote] = await openOne(pair);
    const atRemote = collect(remote);
    const atLocal = collect(local);
    local.write(Buffer.from('hello '));
    local.write(Buffer.alloc(9000, 'x'));
    remote.write(Buffer.from('answer'));
    local.end();
    await waitFor(() => atRemote.hasEnded && atLocal.bytes === 6, { what: 'data and end' });
    assert.equal(atRemote.text(), `hello ${'x'.repeat(9000)}`);
    remote.write(Buffer.from(' tail'));
    remote.end();
    await waitFor(() => atLocal.isClosed && atRemote.isClosed, { what: 'both closed' });
    assert.equal(atLocal.text(), 'answer tail');
    assert.equal(atLocal.error, undefined);
    assert.equal(pair.client.streamCount + pair.server.streamCount, 0);
  });
}

test('a sender stops at the window of a reader that is paused, and goes on when it reads', async () => {
  const pair = createPair();
  const [local, remote] = await openOne(pair);
  local.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  for (let i = 0; i < 40; i++) local.write(Buffer.alloc(64 * 1024, i));
  await waitFor(() => local.queuedBytes === 40 * 64 * 1024 - 256 * 1024, { what: 'window used up' });
  const atRemote = collect(remote);
  await waitFor(() => atRemote.bytes === 40 * 64 * 1024, { what: 'all bytes' });
  for (let i = 0; i < 40; i++) {
    assert.equal(Buffer.concat(atRemote.chunks)[i * 64 * 1024], i, `byte of write ${i}`);
  }
  assert.equal(local.queuedBytes, 0);
});

test('onDrain comes once the queue has fallen to the low mark', async () => {
  const pair = createPair();
  const [local, remote] = await openOne(pair);
  const atLocal = collect(local);
  local.write(Buffer.alloc(3 * 1024 * 1024));
  assert.equal(atLocal.drains, 0);
  collect(remote);
  await waitFor(() => atLocal.drains === 1 && local.queuedBytes === 0, { what: 'drain' });
});

test('a stalled stream does not hold up another one', async () => {
  const pair = createPair();
  const [stalled] = await openOne(pair);
  const [lively, livelyRemote] = await openOne(pair);
  stalled.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  stalled.write(Buffer.alloc(8 * 1024 * 1024));
  const seen = collect(livelyRemote);
  lively.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  lively.write(Buffer.alloc(1024 * 1024, 1));
  await waitFor(() => seen.bytes === 1024 * 1024, { what: 'the lively stream' });
});

test('a reset reaches the peer as an error and leaves the other streams alone', async () => {
  const pair = createPair();
  const [first, firstRemote] = await openOne(pair);
  const [second, secondRemote] = await openOne(pair);
  const atFirstRemote = collect(firstRemote);
  const atSecondRemote = collect(secondRemote);
  collect(first);
  collect(second);
  first.write(Buffer.from('lost?'));
  first.destroy(new Error('broken'));
  second.write(Buffer.from('fine'));
  await waitFor(() => atFirstRemote.isClosed && atSecondRemote.bytes === 4, { what: 'reset and data' });
  assert.equal((atFirstRemote.error as { code?: string } | undefined)?.code, YAMUX_ERRORS.reset);
  assert.equal(atSecondRemote.isClosed, false);
});

test('windows grow while a stream keeps the path busy, and never past the limit', async () => {
  const pair = createPair({}, { maxWindowBytes: 1024 * 1024 });
  const [local, remote] = await openOne(pair);
  collect(local);
  const atRemote = collect(remote);
  local.write(Buffer.alloc(8 * 1024 * 1024));
  await waitFor(() => atRemote.bytes === 8 * 1024 * 1024, { what: 'all bytes' });
  remote.pause();
  local.write(Buffer.alloc(4 * 1024 * 1024));
  const mib = 1024 * 1024;
  await waitFor(() => local.queuedBytes <= 3.5 * mib, { what: 'a send window of at least half a MiB' });
  assert.ok(local.queuedBytes >= 3 * mib, `sent past the window limit: ${local.queuedBytes} bytes queued`);
});

test('refuses streams beyond the limit and says so on the own side', async () => {
  const pair = createPair({}, { maxStreams: 2 });
  await openOne(pair);
  await openOne(pair);
  assert.throws(() => pair.client.openStream(), { code: YAMUX_ERRORS.exhausted });
});

test('own streams beyond the unacknowledged limit wait and open later, with their data', async () => {
  let isHeld = true;
  const pair = createPair({ isHeld: () => isHeld }, { maxUnacknowledged: 2 });
  const streams = Array.from({ length: 10 }, (_, at) => {
    const stream = pair.client.openStream();
    collect(stream);
    stream.write(Buffer.from(`stream ${at}`));
    stream.end();
    return stream;
  });
  isHeld = false;
  await waitFor(() => pair.accepted.length === streams.length, { what: 'all streams' });
  const texts = pair.accepted.map((stream) => collect(stream));
  await waitFor(() => texts.every((seen) => seen.hasEnded), { what: 'all ends' });
  assert.deepEqual(
    texts.map((seen) => seen.text()),
    streams.map((_, at) => `stream ${at}`),
  );
});

test('leave() lets open streams finish and refuses new ones on both sides', async () => {
  const pair = createPair();
  const [local, remote] = await openOne(pair);
  pair.server.leave();
  const atRemote = collect(remote);
  collect(local);
  await waitFor(
    () => {
      try {
        pair.client.openStream().destroy();
        return false;
      } catch {
        return true;
      }
    },
    { what: 'go-away' },
  );
  local.write(Buffer.from('still here'));
  await waitFor(() => atRemote.text() === 'still here', { what: 'data after go-away' });
});

test('closing a session fails its streams and tells the peer', async () => {
  const pair = createPair();
  const [local] = await openOne(pair);
  const atLocal = collect(local);
  pair.server.close();
  await waitFor(() => pair.closed.count === 2 && atLocal.isClosed, { what: 'close' });
  assert.notEqual(atLocal.error, undefined);
  assert.throws(() => pair.client.openStream(), { code: YAMUX_ERRORS.closed });
});

test('a peer that is silent after a ping ends the session; one that sends anything does not', async () => {
  let isHeld = false;
  const pair = createPair({ isHeld: () => isHeld }, { keepaliveMs: 1000, pingTimeoutMs: 500 });
  await waitFor(() => pair.client.roundTripMs !== undefined, { what: 'first ping' });
  isHeld = true;
  pair.clock.advance(1000);
  assert.equal(pair.client.isClosed, false);
  pair.clock.advance(500);
  assert.equal(pair.client.isClosed, true);
  await waitFor(() => pair.closed.client !== undefined, { what: 'onClose' });
  assert.equal((pair.closed.client as { code?: string }).code, YAMUX_ERRORS.timeout);
  isHeld = false;
});

test('after a pause of this process a peer has a moment more, in which what it sent meanwhile is read', async () => {
  for (const hasAnswered of [true, false]) {
    let isHeld = false;
    const pair = createPair({ isHeld: () => isHeld }, { keepaliveMs: 1000, pingTimeoutMs: 5000 });
    await waitFor(() => pair.client.roundTripMs !== undefined, { what: 'first ping' });
    isHeld = true;
    pair.clock.advance(1000); // a ping is on its way
    pair.clock.sleep(60_000);
    assert.equal(pair.client.isClosed, false);
    if (hasAnswered) {
      isHeld = false;
      pair.server.openStream(); // whatever goes next takes along what was held
      await waitFor(() => pair.client.silentMs === 0, { what: 'an answer' });
    }
    pair.clock.advance(1000);
    assert.equal(pair.client.isClosed, !hasAnswered);
    isHeld = false;
  }
});

test('a probe asks a peer that has been quiet, and tells for how long the answer is owed', async () => {
  let isHeld = false;
  const pair = createPair({ isHeld: () => isHeld }, { keepaliveMs: 100_000 });
  await waitFor(() => pair.client.roundTripMs !== undefined, { what: 'first ping' });
  assert.equal(pair.client.probe(), false, 'a peer that has just answered is asked again');
  pair.clock.advance(1000);
  assert.equal(pair.client.silentMs, 0, 'a quiet peer that was not asked owes an answer');
  isHeld = true;
  assert.equal(pair.client.probe(), true);
  pair.clock.advance(700);
  assert.equal(pair.client.probe(), true);
  assert.equal(pair.client.silentMs, 700);
  isHeld = false;
  pair.server.openStream(); // whatever goes next takes along what was held
  await waitFor(() => pair.client.silentMs === 0, { what: 'the answer' });
  assert.equal(pair.client.probe(), false);
});

test('a half-closed stream that stays silent is reset', async () => {
  const pair = createPair({}, { closeTimeoutMs: 1000, openTimeoutMs: 1000, keepaliveMs: 100_000 });
  const [local, remote] = await openOne(pair);
  const atLocal = collect(local);
  const atRemote = collect(remote);
  local.end();
  await waitFor(() => atRemote.hasEnded, { what: 'end' });
  pair.clock.advance(900);
  remote.write(Buffer.from('x'));
  await waitFor(() => atLocal.bytes === 1, { what: 'late byte' });
  pair.clock.advance(300);
  assert.equal(atLocal.isClosed, false);
  pair.clock.advance(2000);
  await waitFor(() => atLocal.isClosed, { what: 'reset' });
  assert.equal((atLocal.error as { code?: string }).code, YAMUX_ERRORS.timeout);
});
