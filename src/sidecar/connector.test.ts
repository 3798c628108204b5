/** Tests of opening connections: failover, parking and waking, limits, stopping. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createStreamPair } from '../../test/support/stream-pair.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { SealError } from '../tunnel/seal/errors.ts';
import { createBalancer } from './balancer.ts';
import { createConnector } from './connector.ts';
import type { ConnectRequest, RouterChoice } from './connector.ts';

type Visit = RouterChoice['client']['openVisitor'];

const accepts: Visit = () => Promise.resolve(createStreamPair()[0]);
const refuses: Visit = () => Promise.reject(new TunnelError('visitorRefused', 'no such proxy'));
const hangs: Visit = (_request, signal) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new TunnelError('timeout', 'given up')));
  });

const router = (name: string, openVisitor: Visit): RouterChoice => ({
  name,
  tier: 0,
  connections: 0,
  roundTripMs: undefined,
  client: { openVisitor, probe: () => 0 },
  proxyName: 'a.b',
  providers: [],
});

function setUp(choices: () => RouterChoice[], maxParked = 10) {
  const clock = new FakeClock();
  const connector = createConnector({ clock, random: () => 0, maxParked });
  const request: ConnectRequest = {
    service: 'a.b',
    choices,
    balancer: createBalancer(() => 0),
    policy: 'inOrder',
    sourceIp: '127.0.0.1',
    visitor: { secretKey: '' },
    parkTimeoutMs: 5000,
    connectTimeoutMs: 10_000,
  };
  return { clock, connector, request };
}

const never = new AbortController().signal;

test('a Router that refuses is followed by the next at once', async () => {
  const { connector, request } = setUp(() => [router('one', refuses), router('two', accepts)]);
  const { router: used } = await connector.open(request, never);
  assert.equal(used, 'two');
  assert.deepEqual(connector.counters, { parked: 0, parkedTotal: 0, retried: 1, failed: 0 });
});

test('a Router that hangs is left after a while when there is another', async () => {
  const { clock, connector, request } = setUp(() => [router('one', hangs), router('two', accepts)]);
  const opened = connector.open(request, never);
  await clock.advanceAsync(2000);
  assert.equal((await opened).router, 'two');
});

test('a Router that was silent comes last for a while, and first again after an answer', async () => {
  let visit = hangs;
  const flaky: Visit = (...args) => visit(...args);
  const { clock, connector, request } = setUp(() => [router('one', flaky), router('two', accepts)]);
  const opened = connector.open(request, never);
  await clock.advanceAsync(2000);
  await opened;
  assert.equal((await connector.open(request, never)).router, 'two');
  assert.equal(connector.counters.retried, 1);
  visit = accepts;
  await clock.advanceAsync(5000);
  assert.equal((await connector.open(request, never)).router, 'one');
});

test('a provider that fails is followed by another one at once, through any Router', async () => {
  const asked: (string | undefined)[] = [];
  const visit: Visit = (request) => {
    asked.push(request.metas?.['avoid']);
    const provider = `p${asked.length}`;
    request.onAdmitted?.(provider);
    return provider === 'p3'
      ? accepts(request)
      : Promise.reject(new SealError('secret', `${provider} has another secret`));
  };
  const failed: string[] = [];
  const { clock, connector, request } = setUp(() => [router('one', visit)]);
  const opened = connector.open(
    {
      ...request,
      avoid: () => failed,
      watch: { hasOther: () => true, late: () => {}, failed: (provider) => failed.push(provider) > 0 },
    },
    never,
  );
  assert.equal((await opened).router, 'one');
  assert.deepEqual([asked, clock.now()], [[undefined, 'p1', 'p1,p2'], 0]);
});

test('a connection waits for a Router and continues the moment one comes', async () => {
  let choices: RouterChoice[] = [];
  const { clock, connector, request } = setUp(() => choices);
  const opened = connector.open(request, never);
  await clock.advanceAsync(1000);
  assert.equal(connector.counters.parked, 1);
  choices = [router('one', accepts)];
  connector.wake();
  assert.equal((await opened).router, 'one');
  assert.equal(connector.counters.parked, 0);
  assert.equal(connector.counters.parkedTotal, 1);
  assert.equal(clock.pendingTimers, 0);
});

test('a Router that keeps refusing is asked again, with growing pauses, until time is up', async () => {
  let asked = 0;
  const visit: Visit = (...args) => {
    asked++;
    return refuses(...args);
  };
  const { clock, connector, request } = setUp(() => [router('one', visit)]);
  const opened = assert.rejects(connector.open(request, never), { code: 'EDGE_ERR_SIDECAR_NO_ROUTER' });
  await clock.advanceAsync(5000);
  await opened;
  assert.ok(asked >= 5 && asked <= 12, `asked ${asked} times`);
  assert.deepEqual(
    { ...connector.counters, retried: 0 },
    { parked: 0, parkedTotal: 1, retried: 0, failed: 1 },
  );
});

test('without a Router the wait ends in time and says why', async () => {
  const { clock, connector, request } = setUp(() => []);
  const opened = assert.rejects(
    connector.open(request, never),
    /connect to a\.b: no Router that is online has a ready provider/u,
  );
  await clock.advanceAsync(4999);
  assert.equal(connector.counters.parked, 1);
  await clock.advanceAsync(1);
  await opened;
});

test('the number that waits is bounded over all services', async () => {
  const { clock, connector, request } = setUp(() => [], 2);
  const waiting = [1, 2].map(() => assert.rejects(connector.open(request, never)));
  await clock.advanceAsync(0);
  await assert.rejects(connector.open(request, never), { code: 'EDGE_ERR_SIDECAR_PARKED_LIMIT' });
  await clock.advanceAsync(5000);
  await Promise.all(waiting);
  assert.equal(connector.counters.parked, 0);
});

test('an abort ends waiting and attempts at once', async () => {
  for (const choices of [[], [router('one', hangs)]]) {
    const { clock, connector, request } = setUp(() => choices);
    const abort = new AbortController();
    const opened = assert.rejects(connector.open(request, abort.signal), {
      code: 'EDGE_ERR_SIDECAR_STOPPED',
    });
    await clock.advanceAsync(10);
    abort.abort();
    await opened;
    assert.equal(clock.pendingTimers, 0);
    assert.equal(connector.counters.parked, 0);
  }
});

test('a stream that opens after the abort is dropped', async () => {
  const [mine] = createStreamPair();
  const abort = new AbortController();
  const late: Visit = () => {
    abort.abort();
    return Promise.resolve(mine);
  };
  const { connector, request } = setUp(() => [router('one', late)]);
  await assert.rejects(connector.open(request, abort.signal), { code: 'EDGE_ERR_SIDECAR_STOPPED' });
  assert.equal(mine.isClosed, true);
});

test('a change that comes during an attempt is not missed', async () => {
  let choices: RouterChoice[] = [];
  const refuseThenChange: Visit = (...args) => {
    choices = [router('two', accepts)];
    connector.wake();
    return refuses(...args);
  };
  choices = [router('one', refuseThenChange)];
  const { connector, request } = setUp(() => choices);
  assert.equal((await connector.open(request, never)).router, 'two');
});
