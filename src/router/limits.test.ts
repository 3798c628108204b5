import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMIT_NAMES, LIMITS, parseLimits } from './limits.ts';

test('limits are read by name, the last one counts, others keep their default', () => {
  assert.deepEqual(parseLimits([], '--limit'), LIMITS);
  assert.deepEqual(
    parseLimits(
      ['clients=5', 'clients=10', 'loginTimeout=3s', 'queuedBytes=64MiB', 'streamWindow=524288'],
      '--limit',
    ),
    {
      ...LIMITS,
      maxSessions: 10,
      loginTimeoutMs: 3000,
      maxQueuedBytes: 64 * 1024 * 1024,
      maxWindowBytes: 524_288,
    },
  );
  assert.equal(LIMIT_NAMES.length, Object.keys(LIMITS).length);
});

for (const [text, problem] of [
  ['clients', /wants NAME=VALUE; limits are loginTimeout, /u],
  ['client=1', /no limit "client"; did you mean "clients"\?/u],
  ['clients=0', /clients: "0" is not a whole number from 1 to 1000000/u],
  ['clients=1KiB', /is not a whole number/u],
  ['clients=', /is not a whole number/u],
  ['clients=-1', /is not a whole number/u],
  ['streamWindow=1KiB', /is not a whole number from 262144 to 67108864, or with KiB/u],
  ['queuedBytes=64mb', /is not/u],
  ['loginTimeout=1ms', /is not a time from 100 ms/u],
  ['loginTimeout=soon', /loginTimeout/u],
] as const) {
  test(`${text} is refused`, () => {
    assert.throws(() => parseLimits([text], '--limit'), { code: 'EDGE_ERR_USAGE', message: problem });
  });
}
