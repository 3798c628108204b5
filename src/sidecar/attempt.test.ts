/** Tests of one try through one Router: how long it and its provider get, and which of both is blamed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createStreamPair } from '../../test/support/stream-pair.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { SealError } from '../tunnel/seal/errors.ts';
import { YamuxError } from '../tunnel/yamux/errors.ts';
import { attempt } from './attempt.ts';
import type { AttemptRequest, AttemptResult } from './attempt.ts';

/** A Router that admits when told to and a provider that does not answer; `silentSince` is when the Router fell silent. */
function setUp({ isLast = false, hasOther = true, limitMs = 5000, roundTripMs = 1 } = {}) {
  const clock = new FakeClock();
  const told: string[] = [];
  let silentSince = Infinity;
  let onAdmitted: ((provider: string | undefined) => void) | undefined;
  let settle: ((err?: Error) => void) | undefined;
  const abort = new AbortController();
  const request: AttemptRequest = {
    client: {
      probe: () => Math.max(clock.now() - silentSince, 0),
      openVisitor: (visitor, signal) =>
        new Promise((resolve, reject) => {
          ({ onAdmitted } = visitor);
          settle = (err) => {
            if (err === undefined) resolve(createStreamPair()[0]);
            else reject(err);
          };
          signal?.addEventListener('abort', () => reject(new TunnelError('closed', 'given up')));
        }),
    },
    visitor: { proxyName: 'a.b', secretKey: '' },
    roundTripMs,
    isLast,
    limitMs,
    watch: {
      hasOther: () => hasOther,
      late: (provider) => told.push(`${provider} late`),
      failed(provider, isSilent) {
        told.push(`${provider} ${isSilent ? 'silent' : 'failed'}`);
        return hasOther;
      },
    },
  };
  let result: AttemptResult | undefined;
  void attempt(request, clock, abort.signal).then((value) => {
    result = value;
  });
  return {
    clock,
    told,
    abort: () => abort.abort(),
    admit: (provider?: string) => onAdmitted?.(provider),
    settle: (err?: Error) => settle?.(err),
    loseRouter: (): void => {
      silentSince = clock.now();
    },
    /** Lets time pass; what has come of the attempt by then. */
    after: async (ms: number): Promise<AttemptResult | undefined> => {
      await clock.advanceAsync(ms);
      return result;
    },
  };
}

const routerSilent = { reason: 'no answer in time', isRouterSilent: true, mayMove: false };

test('a Router that lives but does not answer gets two seconds, the last one all of the time', async () => {
  const one = setUp();
  assert.equal(await one.after(1999), undefined);
  assert.deepEqual(await one.after(1), routerSilent);
  const last = setUp({ isLast: true });
  assert.equal(await last.after(4999), undefined);
  assert.deepEqual(await last.after(1), routerSilent);
  assert.equal(last.clock.pendingTimers, 0);
});

test('a Router without a sign of life is left after a second, a distant one later, the last one not', async () => {
  const one = setUp();
  one.loseRouter();
  assert.equal(await one.after(500), undefined);
  assert.deepEqual(await one.after(500), routerSilent);
  const distant = setUp({ roundTripMs: 400 });
  distant.loseRouter();
  assert.equal(await distant.after(1000), undefined);
  assert.deepEqual(await distant.after(500), routerSilent);
  const last = setUp({ isLast: true });
  last.loseRouter();
  assert.equal(await last.after(4999), undefined);
});

test('a provider that a Router chose is late after half a second and left after one, and blamed for it', async () => {
  const { after, admit, told, clock } = setUp({ isLast: true });
  await after(1700);
  admit('p');
  assert.equal(await after(499), undefined);
  assert.deepEqual(told, []);
  await after(1);
  assert.deepEqual(told, ['p late']);
  assert.equal(await after(499), undefined);
  const result = await after(1);
  assert.deepEqual(result, { reason: 'provider p: no answer in time', isRouterSilent: false, mayMove: true });
  assert.deepEqual(told, ['p late', 'p silent']);
  assert.equal(clock.pendingTimers, 0);
});

test('the last provider gets all the time there is', async () => {
  const { after, admit, settle, told } = setUp({ hasOther: false });
  admit('p');
  assert.equal(await after(4900), undefined);
  settle();
  assert.ok((await after(0))?.stream);
  assert.deepEqual(told, ['p late']);
  const given = setUp({ hasOther: false, limitMs: 100 });
  given.admit('p');
  assert.equal((await given.after(100))?.stream, undefined);
  assert.deepEqual(given.told, ['p silent']);
});

test('a provider is not blamed for a Router that fell silent after it had chosen', async () => {
  const { after, admit, loseRouter, told } = setUp();
  admit('p');
  loseRouter();
  assert.deepEqual(await after(1000), routerSilent);
  assert.deepEqual(told, ['p late']);
});

test('a provider whose stream breaks failed, one whose Router is lost did not', async () => {
  const one = setUp();
  one.admit('p');
  one.settle(new SealError('closed', 'cut', { cause: new YamuxError('reset', 'peer reset stream 3') }));
  const result = await one.after(0);
  assert.ok(result?.stream === undefined && result?.mayMove === true);
  assert.deepEqual(one.told, ['p failed']);
  const two = setUp();
  two.admit('p');
  two.settle(new SealError('closed', 'cut', { cause: new YamuxError('closed', 'connection closed') }));
  assert.deepEqual(await two.after(0), { reason: 'cut', isRouterSilent: false, mayMove: false });
  assert.deepEqual(two.told, []);
});

test('a Router that names nobody is judged alone, and an abort blames nobody', async () => {
  const nameless = setUp();
  nameless.admit();
  assert.deepEqual(await nameless.after(2000), routerSilent);
  const aborted = setUp();
  aborted.admit('p');
  aborted.abort();
  assert.deepEqual(await aborted.after(0), { reason: 'stopped', isRouterSilent: false, mayMove: false });
  assert.deepEqual(aborted.told, []);
});
