/** The dashboard listens where it is told, and a taken port concerns nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { listenError } from '../../lib/http.ts';
import type { HttpListenOptions, HttpServer } from '../../lib/http.ts';
import { silentLogger } from '../../lib/log.ts';
import { createDashboardListener } from './listener.ts';

function setup() {
  const clock = new FakeClock();
  const taken = new Set<number>();
  const log: string[] = [];
  const changes: (string | undefined)[] = [];
  const listener = createDashboardListener({
    clock,
    random: () => 0,
    log: silentLogger,
    fetch: () => new Response(),
    async listen({ host, port }: HttpListenOptions) {
      const where = `${host}:${port}`;
      if (taken.has(port ?? 0))
        throw listenError(where, Object.assign(new Error('x'), { code: 'EADDRINUSE' }));
      log.push(`open ${where}`);
      return {
        port: port ?? 0,
        async close() {
          log.push(`close ${where}`);
        },
      } as unknown as HttpServer;
    },
    onChange: () => changes.push(listener.problem),
  });
  const at = (port: number, addr = '127.0.0.1') => ({
    addr,
    port,
    user: '',
    password: '',
    tls: undefined,
    hasMetrics: true,
  });
  return { clock, taken, log, changes, listener, at };
}

test('it moves to a new port before it leaves the old one', async () => {
  const { clock, log, listener, at } = setup();
  listener.apply(at(7500));
  await clock.advanceAsync(10);
  listener.apply(at(7501));
  await clock.advanceAsync(10);
  assert.deepEqual(log, ['open 127.0.0.1:7500', 'open 127.0.0.1:7501', 'close 127.0.0.1:7500']);
  await listener.stop();
  assert.equal(log.at(-1), 'close 127.0.0.1:7501');
});

test('a new address on the same port is bound after the old one is closed', async () => {
  const { clock, log, listener, at } = setup();
  listener.apply(at(7500));
  await clock.advanceAsync(10);
  listener.apply(at(7500, '127.0.0.2'));
  await clock.advanceAsync(10);
  assert.deepEqual(log.slice(1), ['close 127.0.0.1:7500', 'open 127.0.0.2:7500']);
  await listener.stop();
});

test('a changed password needs no new listener', async () => {
  const { clock, log, listener, at } = setup();
  listener.apply(at(7500));
  await clock.advanceAsync(10);
  listener.apply({ ...at(7500), user: 'admin', password: 'x' });
  await clock.advanceAsync(10);
  assert.deepEqual(log, ['open 127.0.0.1:7500']);
  await listener.stop();
});

test('a taken port is reported and tried again', async () => {
  const { clock, taken, log, changes, listener, at } = setup();
  taken.add(7500);
  listener.apply(at(7500));
  await clock.advanceAsync(10_000);
  assert.match(listener.problem ?? '', /address already in use/u);
  assert.equal(changes.length, 1);
  taken.clear();
  await clock.advanceAsync(10_000);
  assert.equal(listener.problem, undefined);
  assert.deepEqual(log, ['open 127.0.0.1:7500']);
  assert.deepEqual(changes.at(-1), undefined);
  await listener.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('turning it off closes it and clears the problem', async () => {
  const { clock, taken, log, listener, at } = setup();
  listener.apply(at(7500));
  await clock.advanceAsync(10);
  taken.add(7501);
  listener.apply(at(7501));
  await clock.advanceAsync(10);
  assert.match(listener.problem ?? '', /in use/u);
  listener.apply(undefined);
  await clock.advanceAsync(10);
  assert.equal(listener.problem, undefined);
  assert.deepEqual(log, ['open 127.0.0.1:7500', 'close 127.0.0.1:7500']);
  await listener.stop();
});

test('an address that others can reach without a password is a problem', async () => {
  const { clock, listener, at } = setup();
  listener.apply(at(7500, '0.0.0.0'));
  await clock.advanceAsync(10);
  assert.match(listener.problem ?? '', /dashboardUser/u);
  await listener.stop();
});
