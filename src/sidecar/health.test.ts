/** Tests of watching a target's health: thresholds, time-outs, what hurries a check, what a check over sockets says. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { freePort } from '../../test/support/ports.ts';
import { PATIENCE_MS } from '../../test/support/wait.ts';
import { systemClock } from '../lib/clock.ts';
import { errorCode } from '../lib/errors.ts';
import { parseHealthCheck, probe, runCheck } from './health-check.ts';
import type { Probe } from './health-check.ts';
import { watchHealth } from './health.ts';

const TARGET = { host: '127.0.0.1', port: 80 };

function watch(settings: Record<string, unknown> = {}) {
  const clock = new FakeClock();
  const state = { failure: undefined as string | undefined, isSilent: false, checks: 0, changes: 0 };
  const check: Probe = (_check, _target, signal) => {
    state.checks++;
    if (state.isSilent)
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    return state.failure === undefined ? Promise.resolve() : Promise.reject(new Error(state.failure));
  };
  const health = watchHealth(parseHealthCheck({ interval: '1s', timeout: '300ms', ...settings }, 'check'), {
    clock,
    probe: check,
    target: () => TARGET,
    onChange: () => {
      state.changes++;
    },
  });
  return { clock, state, health };
}

test('a target is not healthy before its first check has passed', async () => {
  const { clock, state, health } = watch();
  assert.equal(health.isHealthy, false);
  assert.match(health.reason ?? '', /not passed yet/u);
  await clock.advanceAsync(0);
  assert.deepEqual([health.isHealthy, health.reason, state.checks, state.changes], [true, undefined, 1, 1]);
  await clock.advanceAsync(3000);
  assert.deepEqual([state.checks, state.changes], [4, 1]);
  health.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('thresholds count failures and successes in a row', async () => {
  const { clock, state, health } = watch({ failureThreshold: 2, successThreshold: 3 });
  await clock.advanceAsync(2000);
  assert.equal(health.isHealthy, true);
  state.failure = 'refused';
  await clock.advanceAsync(1000);
  assert.equal(health.isHealthy, true);
  state.failure = undefined;
  await clock.advanceAsync(1000);
  state.failure = 'refused';
  await clock.advanceAsync(2000);
  assert.deepEqual([health.isHealthy, health.reason], [false, '127.0.0.1:80: refused']);
  state.failure = undefined;
  await clock.advanceAsync(2000);
  assert.equal(health.isHealthy, false);
  await clock.advanceAsync(1000);
  assert.equal(health.isHealthy, true);
  health.stop();
});

test('silence is a failure after the timeout, and the next check does not wait longer for it', async () => {
  const { clock, state, health } = watch();
  await clock.advanceAsync(0);
  state.isSilent = true;
  await clock.advanceAsync(1299);
  assert.equal(health.isHealthy, true);
  await clock.advanceAsync(1);
  assert.match(health.reason ?? '', /no answer in 300ms/u);
  const { checks } = state;
  await clock.advanceAsync(700);
  assert.equal(state.checks, checks + 1);
  health.stop();
});

test('a failed connection hurries the next check, once', async () => {
  const { clock, state, health } = watch();
  await clock.advanceAsync(0);
  state.failure = 'refused';
  health.checkNow();
  health.checkNow();
  await clock.advanceAsync(0);
  assert.deepEqual([health.isHealthy, state.checks], [false, 2]);
  health.checkNow(); // it is known to be away
  await clock.advanceAsync(0);
  assert.equal(state.checks, 2);
  health.stop();
});

test('http wants a status from 200 to 399 and sends its headers, tcp an open port', async (t) => {
  let status = 204;
  let seen: string | undefined;
  const server = createServer((request, answer) => {
    seen = `${request.method} ${request.url} ${String(request.headers['x-probe'])}`;
    answer.writeHead(status).end('body');
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => void server.close());
  const target = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const deps = { clock: systemClock, probe, signal: new AbortController().signal };
  const timeout = `${PATIENCE_MS}ms`;
  const http = parseHealthCheck(
    { type: 'http', path: '/live?full=1', headers: { 'x-probe': 'yes' }, timeout },
    'check',
  );
  assert.equal(await runCheck(http, target, deps), undefined);
  assert.equal(seen, 'GET /live?full=1 yes');
  status = 302;
  assert.equal(await runCheck(http, target, deps), undefined);
  status = 503;
  assert.match((await runCheck(http, target, deps)) ?? '', /GET \/live\?full=1 answered 503/u);
  assert.equal(await runCheck(parseHealthCheck({ timeout }, 'check'), target, deps), undefined);
  const elsewhere = parseHealthCheck({ type: 'tcp', port: await freePort(), timeout }, 'check');
  assert.match((await runCheck(elsewhere, target, deps)) ?? '', /^127\.0\.0\.1:\d+: connection refused$/u);
});

test('mistakes in a health check are named', () => {
  const wrong: [unknown, RegExp][] = [
    ['tcp', /check: wanted a map/u],
    [{ type: 'grpc' }, /check: type "grpc" is not one of tcp, http/u],
    [{ path: '/x' }, /path and headers need type http/u],
    [{ type: 'http', path: 'x' }, /path "x"/u],
    [{ interval: '1ms' }, /interval is shorter than 50ms/u],
    [{ timeout: 'soon' }, /check: timeout/u],
    [{ failureThreshold: 0 }, /failureThreshold is not a whole number from 1 to 100/u],
    [{ type: 'http', headers: { 'a b': 'c' } }, /"a b" is not a header/u],
    [{ type: 'http', headers: { a: 'c\r\nd: e' } }, /"a" is not a header/u],
    [{ port: 0 }, /port 0 is not a number/u],
    [{ periodSeconds: 5 }, /unknown setting "periodSeconds"/u],
  ];
  for (const [value, message] of wrong)
    assert.throws(
      () => parseHealthCheck(value, 'check'),
      (err: Error) => message.test(err.message) && errorCode(err) === 'EDGE_ERR_USAGE',
      JSON.stringify(value),
    );
});
