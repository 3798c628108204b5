/** The cache: fresh, expired, out of reach, out of room. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { AnswerCache } from '../answer-cache.ts';
import { Counters } from '../counters.ts';
import { FailureMemory } from '../failure-memory.ts';
import { emptyReply, parseQuery, RCODE } from '../wire.ts';
import { createCacheHandler } from './cache.ts';
import type { Answer } from '../chain.ts';
import type { Query, Reply } from '../wire.ts';

const LIMITS = { staleMs: 3_600_000, staleWaitMs: 1800, staleRecheckMs: 5000 };
const FAILURE = emptyReply('forward', RCODE.SERVFAIL);

function queryFor(label: string): Query {
  const name = Buffer.concat([Buffer.from([label.length]), Buffer.from(label), Buffer.from([0, 0, 1, 0, 1])]);
  const query = parseQuery(Buffer.concat([Buffer.from('000101000001000000000000', 'hex'), name]));
  assert.ok(typeof query === 'object');
  return query;
}

// One A record; the last byte of the address tells answers apart.
function goodReply(seconds: number, last = 1): Reply {
  const body = Buffer.from(`c00c00010001000000000004c00002${last.toString(16).padStart(2, '0')}`, 'hex');
  body.writeUInt32BE(seconds, 6);
  return { ...emptyReply('forward', 0), answers: 1, body, freshness: { seconds, ttlOffsets: [6] } };
}

function setUp(maxEntries = 10, maxBytes = 100_000) {
  const clock = new FakeClock();
  const counters = new Counters();
  const cache = new AnswerCache(maxEntries, maxBytes);
  const failures = new FailureMemory({ failureMs: 1000, maxFailureMs: 4000, maxFailures: 10 });
  const handler = createCacheHandler({ cache, failures, counters, clock, limits: LIMITS });
  const upstream = { asked: 0, answer: (): Answer => Promise.resolve(goodReply(60)) };
  const ask = (label = 'a'): Answer =>
    handler(queryFor(label), () => {
      upstream.asked += 1;
      return upstream.answer();
    });
  return { clock, counters, cache, failures, upstream, ask };
}

describe('a fresh answer', () => {
  test('is given without asking, with the time it has left', async () => {
    const { clock, ask, upstream, counters } = setUp();
    assert.equal((await ask()).handler, 'forward');
    clock.advance(20_500);
    const reply = await ask();
    assert.equal(reply.handler, 'cache');
    assert.equal(reply.body.readUInt32BE(6), 40);
    assert.equal(reply.sameUntil, 21_000, 'until the second is over');
    assert.deepEqual([upstream.asked, counters.cacheHits, counters.cacheMisses], [1, 1, 1]);
  });

  test('is asked for again at its last millisecond, not before', async () => {
    const { clock, ask, upstream } = setUp();
    await ask();
    clock.advance(59_999);
    await ask();
    assert.equal(upstream.asked, 1);
    clock.advance(1);
    await ask();
    assert.equal(upstream.asked, 2);
  });

  test('that may not be cached is not, and removes the one before', async () => {
    const { clock, ask, upstream, cache } = setUp();
    await ask();
    clock.advance(60_000);
    upstream.answer = () => Promise.resolve(emptyReply('forward', RCODE.NOERROR));
    await ask();
    assert.equal(cache.size, 0);
  });
});

describe('an expired answer', () => {
  test('takes the place of a failure, then is given at once until the recheck', async () => {
    const { clock, ask, upstream, counters } = setUp();
    await ask();
    clock.advance(70_000);
    upstream.answer = () => Promise.resolve(FAILURE);
    const reply = await ask();
    assert.deepEqual([reply.handler, reply.rcode, reply.body.readUInt32BE(6)], ['stale', 0, 30]);
    assert.equal(reply.extendedError, 3);
    await ask();
    assert.equal(upstream.asked, 2);
    clock.advance(LIMITS.staleRecheckMs);
    await ask();
    assert.equal(upstream.asked, 3);
    assert.equal(counters.staleAnswers, 3);
  });

  test('is given when the upstream is slow, and the late answer is kept', async () => {
    const { clock, ask, upstream, cache } = setUp();
    await ask();
    clock.advance(70_000);
    let finish: (reply: Reply) => void = () => {};
    upstream.answer = () =>
      new Promise((resolve) => {
        finish = resolve;
      });
    const answer = ask();
    await clock.advanceAsync(LIMITS.staleWaitMs);
    assert.equal((await answer).handler, 'stale');
    finish(goodReply(60, 9));
    await clock.advanceAsync(0);
    const fresh = await ask();
    assert.deepEqual([fresh.handler, fresh.body.at(-1)], ['cache', 9]);
    assert.equal(cache.size, 1);
    assert.equal(clock.pendingTimers, 0);
  });

  test('is not given after the stale limit', async () => {
    const { clock, ask, upstream } = setUp();
    await ask();
    clock.advance(60_000 + LIMITS.staleMs);
    upstream.answer = () => Promise.resolve(FAILURE);
    assert.equal((await ask()).rcode, RCODE.SERVFAIL);
  });

  test('is not given in the place of NXDOMAIN', async () => {
    const { clock, ask, upstream } = setUp();
    await ask();
    clock.advance(70_000);
    upstream.answer = () => Promise.resolve(emptyReply('forward', RCODE.NXDOMAIN));
    assert.equal((await ask()).rcode, RCODE.NXDOMAIN);
  });
});

describe('a failure without an expired answer', () => {
  test('is passed on, and given again without asking for a moment that grows', async () => {
    const { clock, ask, upstream, cache, counters } = setUp();
    upstream.answer = () => Promise.resolve(FAILURE);
    assert.equal((await ask()).handler, 'forward');
    const again = await ask();
    assert.deepEqual([again.handler, again.rcode, again.extendedError], ['cache', RCODE.SERVFAIL, 13]);
    await ask('b'); // another question is no matter of this one
    assert.deepEqual([upstream.asked, counters.cacheHits, cache.size], [2, 1, 0]);
    clock.advance(1000);
    await ask();
    clock.advance(1999);
    await ask();
    assert.equal(upstream.asked, 3);
    clock.advance(1);
    upstream.answer = () => Promise.resolve(goodReply(60));
    assert.equal((await ask()).rcode, RCODE.NOERROR);
    assert.equal((await ask()).rcode, RCODE.NOERROR);
    assert.equal(upstream.asked, 4);
  });

  test('is not kept when nobody was asked: too many questions, or a loop', async () => {
    const { ask, upstream, failures } = setUp();
    upstream.answer = () => FAILURE;
    assert.equal((await ask()).rcode, RCODE.SERVFAIL);
    assert.equal(failures.size, 0);
  });
});

test('the least recently used entry goes first', async () => {
  const { ask, upstream, cache } = setUp(2);
  for (const label of ['a', 'b', 'a', 'c', 'a']) await ask(label);
  assert.deepEqual([upstream.asked, cache.size], [3, 2]);
  await ask('b');
  assert.equal(upstream.asked, 4);
});

test('bytes are bounded too, and add up to nothing when all is forgotten', async () => {
  const { ask, cache } = setUp(1000, 2000);
  for (let index = 0; index < 50; index += 1) await ask(`n${index}`);
  assert.ok(cache.size >= 2 && cache.bytes <= 2000, `${cache.size} entries, ${cache.bytes} bytes`);
  for (let index = 0; index < 50; index += 1) await ask(`m${index % 3}`);
  cache.clear();
  assert.deepEqual([cache.size, cache.bytes], [0, 0]);
});
