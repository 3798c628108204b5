/** Limits: one client cannot take all places, refusals say when to come back, and places are given back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusError } from '../api/status.ts';
import { RequestLimits } from './limits.ts';

function refusal(err: unknown): boolean {
  assert.ok(err instanceof StatusError);
  assert.equal(err.httpCode, 429);
  assert.equal(err.reason, 'TooManyRequests');
  assert.equal(err.status.details?.retryAfterSeconds, 1);
  return true;
}

test('a client at its limit is told to come back while others go on', () => {
  const limits = new RequestLimits({ requests: 5, requestsPerClient: 2, watchesPerClient: 1 });
  const first = limits.admit('a', false);
  limits.admit('a', false);
  assert.throws(() => limits.admit('a', false), refusal);
  limits.admit('b', false);
  first();
  limits.admit('a', false);
});

test('all clients together are bounded too, and watches are counted apart', () => {
  const limits = new RequestLimits({ requests: 3, requestsPerClient: 2, watchesPerClient: 1 });
  for (const client of ['a', 'b', 'c']) limits.admit(client, false);
  assert.throws(() => limits.admit('d', false), refusal);
  const watch = limits.admit('d', true);
  assert.throws(() => limits.admit('d', true), refusal);
  watch();
  limits.admit('d', true);
});
