import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { collect, createStreamPair } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { limitedStream, parseBandwidth, TokenBucket } from './bandwidth.ts';
import { HIGH_WATER_BYTES } from './byte-stream.ts';
import { TUNNEL_ERRORS } from './errors.ts';

test('limits are read as frp reads them', () => {
  assert.equal(parseBandwidth('1KB'), 1024);
  assert.equal(parseBandwidth(' 2MB '), 2 * 1024 * 1024);
  assert.equal(parseBandwidth('0.5KB'), 512);
  assert.equal(parseBandwidth('.5MB'), 524_288);
  for (const none of ['', ' ', '0KB', '0.0001KB']) assert.equal(parseBandwidth(none), undefined);
  for (const wrong of ['1', '1kb', '1GB', '-1KB', '1 KB', 'KB', '1e3KB', 'NaNKB', '9999999999MB']) {
    assert.throws(() => parseBandwidth(wrong), { code: TUNNEL_ERRORS.proxyRefused }, wrong);
  }
});

test('a bucket holds one second, can be overdrawn, and says when the debt is paid', () => {
  const clock = new FakeClock();
  const bucket = new TokenBucket(1000, clock);
  assert.equal(bucket.take(1000), 0);
  assert.equal(bucket.take(500), 500);
  assert.equal(bucket.take(500), 1000);
  clock.advance(1000);
  assert.equal(bucket.take(0), 0);
  clock.advance(60_000);
  assert.equal(bucket.take(1001), 1);
});

test('a stream that is read too fast is paused until the debt is paid', async () => {
  const clock = new FakeClock();
  const [left, right] = createStreamPair();
  const seen = collect(limitedStream(right, new TokenBucket(1000, clock), clock));
  left.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  left.write(Buffer.alloc(3000));
  await waitFor(() => seen.bytes === 3000, { what: 'the first chunk' });
  left.write(Buffer.alloc(10));
  await new Promise((resolve) => {
    setTimeout(resolve, 20);
  });
  assert.equal(seen.bytes, 3000);
  assert.equal(left.queuedBytes, 10);
  clock.advance(1990);
  assert.equal(clock.pendingTimers, 1);
  clock.advance(20);
  await waitFor(() => seen.bytes === 3010, { what: 'the second chunk' });
});

test('a stream that is written too fast looks full until the debt is paid', () => {
  const clock = new FakeClock();
  const [left] = createStreamPair();
  const limited = limitedStream(left, new TokenBucket(1000, clock), clock);
  const seen = collect(limited);
  limited.write(Buffer.alloc(1000));
  assert.ok(limited.queuedBytes < HIGH_WATER_BYTES);
  limited.write(Buffer.alloc(2000));
  assert.ok(limited.queuedBytes > HIGH_WATER_BYTES);
  clock.advance(1999);
  assert.equal(seen.drains, 0);
  clock.advance(2);
  assert.equal(seen.drains, 1);
  assert.ok(limited.queuedBytes < HIGH_WATER_BYTES);
});

test('streams share a bucket in both directions, and leave no timer behind', async () => {
  const clock = new FakeClock();
  const bucket = new TokenBucket(1000, clock);
  const [left, right] = createStreamPair();
  const [a, b] = [limitedStream(left, bucket, clock), limitedStream(right, bucket, clock)];
  const [atA, atB] = [collect(a), collect(b)];
  a.write(Buffer.alloc(1000));
  b.write(Buffer.alloc(500));
  assert.ok(b.queuedBytes > HIGH_WATER_BYTES);
  await waitFor(() => atA.bytes === 500 && atB.bytes === 1000, { what: 'both' });
  assert.ok(clock.pendingTimers > 0);
  a.destroy();
  await waitFor(() => atA.isClosed && atB.isClosed, { what: 'close' });
  assert.equal(clock.pendingTimers, 0);
});
