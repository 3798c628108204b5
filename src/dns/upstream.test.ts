/** The pool of upstreams without a working one: health, probes and timers are released. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../lib/log.ts';
import { Counters } from './counters.ts';
import { UpstreamPool } from './upstream.ts';
import { parseQuery, RCODE } from './wire.ts';
import type { Query } from './wire.ts';

function setUp() {
  const clock = new FakeClock();
  const counters = new Counters();
  const limits = { tryTimeoutMs: 100, totalTimeoutMs: 400 };
  const pool = new UpstreamPool({
    limits,
    counters,
    clock,
    random: () => 0.5,
    log: silentLogger,
    onBack: () => {},
  });
  return { clock, counters, pool };
}

function someQuery(): Query {
  const query = parseQuery(Buffer.from('00010100000100000000000001610000010001', 'hex'));
  assert.ok(typeof query === 'object');
  return query;
}

// Port 1 of a loopback address: closed, so the kernel refuses at once and no fake time is needed.
const CLOSED = { host: '127.0.0.1', port: 1 };

test('a lone upstream that refuses is tried twice, then marked down and probed later', async () => {
  const { pool, counters, clock } = setUp();
  pool.replace([CLOSED]);
  const reply = await pool.resolve(someQuery());
  assert.deepEqual([reply.rcode, reply.extendedError], [RCODE.SERVFAIL, 22]);
  assert.equal(counters.upstreamFailures, 2);
  assert.deepEqual(pool.status(), [{ address: '127.0.0.1:1', isDown: true, queries: 2, failures: 2 }]);
  assert.equal(clock.pendingTimers, 1, 'the probe');
  pool.close();
  assert.equal(clock.pendingTimers, 0);
});

test('an upstream that stays keeps its health, one that goes takes its probe along', async () => {
  const { pool, clock } = setUp();
  pool.replace([CLOSED]);
  await pool.resolve(someQuery());
  pool.replace([{ host: '127.0.0.1', port: 2 }, { ...CLOSED }]);
  assert.deepEqual(
    pool.status().map(({ isDown }) => isDown),
    [false, true],
  );
  pool.replace([]);
  assert.equal(clock.pendingTimers, 0);
  assert.equal((await pool.resolve(someQuery())).rcode, RCODE.SERVFAIL);
});

test('closing ends a question under way', async () => {
  const { pool, clock } = setUp();
  pool.replace([CLOSED]);
  const reply = pool.resolve(someQuery());
  pool.close();
  assert.equal((await reply).rcode, RCODE.SERVFAIL);
  assert.equal(clock.pendingTimers, 0);
});

test('a query of our own is known while it is under way, not before or after', async () => {
  const { pool } = setUp();
  pool.replace([CLOSED]);
  const query = someQuery();
  const sent = { ...query, bytes: Buffer.from(query.bytes) };
  sent.bytes.writeUInt16BE(0x8000, 0); // half of the id range, which is what `random` gives
  assert.equal(pool.isOwn(sent), false);
  const reply = pool.resolve(query);
  assert.equal(pool.isOwn(sent), true);
  assert.equal(pool.isOwn(query), false, 'another id');
  await reply;
  assert.equal(pool.isOwn(sent), false);
  pool.close();
});
