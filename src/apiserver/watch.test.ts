/** Watches over real connections: nothing lost, nothing twice, in order, and always a clean end. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import { createHarness, router, ROUTERS } from '../../test/support/apiserver-harness.ts';
import type { Harness } from '../../test/support/apiserver-harness.ts';
import { waitFor } from '../../test/support/wait.ts';
import { DEFAULT_HISTORY } from './store/history.ts';

const MERGE = 'application/merge-patch+json';

interface Event {
  type: string;
  object: {
    kind: string;
    code?: number;
    metadata: {
      name?: string;
      resourceVersion: string;
      labels?: Record<string, string>;
      annotations?: Record<string, string>;
    };
  };
}

let api: Harness;
let port: number;
let openWatches: () => number;
before(async () => {
  api = await createHarness({
    history: { ...DEFAULT_HISTORY, events: 400, bytes: 64 * 1024 * 1024, minEvents: 10 },
  });
  const listening = await api.listen();
  port = listening.port;
  openWatches = () => listening.watches.size;
});
after(() => api.close());

class Watch {
  readonly events: Event[] = [];
  readonly response: IncomingMessage;
  isEnded = false;
  #rest = '';

  constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.events.push(JSON.parse(line) as Event);
    });
    response.on('end', () => {
      this.isEnded = true;
    });
    response.on('error', () => {});
  }

  /** `TYPE name`, for short. */
  get shown(): string[] {
    return this.events.map(
      ({ type, object }) => `${type} ${object.metadata.name ?? object.metadata.resourceVersion}`,
    );
  }

  async waitForCount(count: number): Promise<void> {
    await waitFor(() => this.events.length >= count, {
      what: `${count} events, have ${this.shown.join(', ')}`,
    });
  }
}

function open(
  t: TestContext,
  query: string,
  headers: Record<string, string> = {},
  path = ROUTERS,
): Promise<Watch> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port, path: `${path}?watch=true&${query}`, headers, agent: false },
      (response) => resolve(new Watch(response)),
    );
    outgoing.on('error', reject);
    outgoing.end();
    t.after(() => outgoing.destroy());
  });
}

async function create(name: string, labels: Record<string, string> = {}): Promise<string> {
  const { code, object } = await api.send('POST', ROUTERS, { body: router(name, { metadata: { labels } }) });
  assert.equal(code, 201);
  return object.metadata.resourceVersion ?? '';
}

async function label(name: string, labels: Record<string, string | null>): Promise<void> {
  assert.equal(
    (await api.send('PATCH', `${ROUTERS}/${name}`, { body: { metadata: { labels } }, type: MERGE })).code,
    200,
  );
}

async function remove(name: string): Promise<void> {
  assert.equal((await api.send('DELETE', `${ROUTERS}/${name}`)).code, 200);
}

function assertRising(watch: Watch): void {
  const versions = watch.events
    .filter(({ type }) => type !== 'BOOKMARK')
    .map(({ object }) => Number(object.metadata.resourceVersion));
  assert.deepEqual(
    versions,
    [...new Set(versions)].sort((a, b) => a - b),
  );
}

test('what is listed of a new server has a version to watch from: 0 would mean any, and hide a deletion', async (t) => {
  const { resourceVersion } = (await api.send('GET', ROUTERS)).object.metadata;
  assert.equal(resourceVersion, String(api.store.floor), 'nothing was written yet');
  await create('w0');
  await remove('w0');
  const watch = await open(t, `resourceVersion=${resourceVersion}`);
  await watch.waitForCount(2);
  assert.deepEqual(watch.shown, ['ADDED w0', 'DELETED w0']);
});

test('headers come before the first event, and changes follow in order with rising versions', async (t) => {
  const watch = await open(t, `resourceVersion=${api.store.revision}`);
  assert.equal(watch.response.statusCode, 200);
  assert.equal(watch.response.headers['content-type'], 'application/json');
  assert.equal(watch.response.headers['content-encoding'], undefined);
  const version = await create('w1');
  await label('w1', { a: 'b' });
  await remove('w1');
  await watch.waitForCount(3);
  assert.deepEqual(watch.shown, ['ADDED w1', 'MODIFIED w1', 'DELETED w1']);
  assertRising(watch);
  assert.equal(watch.events[0]?.object.metadata.resourceVersion, version);
  assert.deepEqual(watch.events[2]?.object.metadata.labels, { a: 'b' }, 'the last state');
});

test('without a version, and with 0, the watch begins with what exists', async (t) => {
  await create('w2');
  for (const query of ['', 'resourceVersion=0']) {
    const watch = await open(t, query);
    await watch.waitForCount(1);
    assert.ok(watch.shown.includes('ADDED w2'));
  }
  await remove('w2');
});

test('a watch resumes after any version without loss or repetition', async (t) => {
  const version = await create('w3');
  for (let at = 0; at < 20; at++) await label('w3', { at: String(at) });
  const whole = await open(t, `resourceVersion=${version}`);
  await whole.waitForCount(20);
  const middle = whole.events[9]?.object.metadata.resourceVersion ?? '';
  const resumed = await open(t, `resourceVersion=${middle}`);
  await resumed.waitForCount(10);
  await remove('w3');
  await Promise.all([whole.waitForCount(21), resumed.waitForCount(11)]);
  assert.deepEqual(resumed.events, whole.events.slice(10));
});

test('selectors turn entering and leaving objects into ADDED and DELETED', async (t) => {
  const watch = await open(t, `resourceVersion=${api.store.revision}&labelSelector=role%3Dx`);
  await create('w4');
  await label('w4', { role: 'x', n: '1' });
  await label('w4', { n: '2' });
  await label('w4', { role: 'y' });
  await label('w4', { n: '3' });
  await remove('w4');
  await create('w5', { role: 'x' });
  await remove('w5');
  await watch.waitForCount(5);
  assert.deepEqual(watch.shown, ['ADDED w4', 'MODIFIED w4', 'DELETED w4', 'ADDED w5', 'DELETED w5']);
  assert.equal(watch.events[2]?.object.metadata.labels?.['role'], 'x', 'the state that was selected');
  assertRising(watch);
  const replayed = await open(
    t,
    `resourceVersion=${Number(watch.events[0]?.object.metadata.resourceVersion) - 2}&labelSelector=role%3Dx`,
  );
  await replayed.waitForCount(5);
  assert.deepEqual(replayed.shown, watch.shown);
  const named = await open(t, `resourceVersion=${api.store.revision}&fieldSelector=metadata.name%3Dw7`);
  await create('w6');
  await create('w7');
  await named.waitForCount(1);
  assert.deepEqual(named.shown, ['ADDED w7']);
  await remove('w6');
  await remove('w7');
});

test('a streaming list ends its initial events with the marked bookmark', async (t) => {
  await create('w8');
  const revision = String(api.store.revision);
  const watch = await open(
    t,
    'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true',
  );
  await watch.waitForCount(2);
  assert.deepEqual(watch.shown, ['ADDED w8', `BOOKMARK ${revision}`]);
  assert.deepEqual(watch.events[1]?.object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
  assert.equal(watch.events[1]?.object.kind, 'Router');
  await remove('w8');
  await watch.waitForCount(3);
  const refused = [
    'sendInitialEvents=true',
    'sendInitialEvents=true&resourceVersionMatch=Exact',
    'resourceVersionMatch=NotOlderThan',
  ];
  for (const query of refused) assert.equal((await open(t, query)).response.statusCode, 422, query);
});

test('a watch ends cleanly at its timeout, with a bookmark shortly before where they are wanted', async (t) => {
  const revision = api.store.revision;
  const plain = await open(t, `resourceVersion=${revision}&timeoutSeconds=1`);
  await waitFor(() => plain.isEnded, { what: 'the end' });
  assert.deepEqual(plain.events, []);
  assert.equal(plain.response.complete, true, 'the last chunk came');
  const marked = await open(t, `resourceVersion=${revision}&timeoutSeconds=3&allowWatchBookmarks=true`);
  await waitFor(() => marked.isEnded, { what: 'the end' });
  assert.deepEqual(marked.shown, [`BOOKMARK ${revision}`]);
  assert.equal((await open(t, 'timeoutSeconds=x')).response.statusCode, 400);
});

test('Table and metadata-only watches carry their own form', async (t) => {
  const query = `resourceVersion=${api.store.revision}`;
  const table = await open(t, query, {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
  });
  const partial = await open(t, query, {
    accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
  });
  await create('w9');
  await remove('w9');
  await Promise.all([table.waitForCount(2), partial.waitForCount(2)]);
  const [first, second] = table.events.map(
    ({ object }) =>
      object as unknown as {
        kind: string;
        columnDefinitions: unknown[] | null;
        rows: { cells: unknown[] }[];
      },
  );
  assert.equal(first?.kind, 'Table');
  assert.ok((first?.columnDefinitions?.length ?? 0) > 0);
  assert.equal(second?.columnDefinitions, null);
  assert.equal(first?.rows[0]?.cells[0], 'w9');
  assert.equal(partial.events[0]?.object.kind, 'PartialObjectMetadata');
});

test('a client that goes away frees its watch', async (t) => {
  await waitFor(() => openWatches() === 0, { what: 'the watches of other tests are gone' });
  const watch = await open(t, '');
  assert.equal(openWatches(), 1);
  watch.response.destroy();
  await waitFor(() => openWatches() === 0, { what: 'the watch is gone' });
});

test('a client that reads late gets everything, though its socket was full meanwhile', async (t) => {
  const version = api.store.revision;
  const late = await open(t, `resourceVersion=${version}`);
  late.response.pause();
  const filler = 'x'.repeat(150_000);
  for (let at = 0; at < 100; at++) {
    const body = { metadata: { annotations: { filler, at: String(at) } } };
    if (at === 0) await create('w10');
    await api.send('PATCH', `${ROUTERS}/w10`, { body, type: MERGE });
  }
  late.response.resume();
  await late.waitForCount(101);
  assert.equal(late.events.length, 101);
  assertRising(late);
  await remove('w10');
});

test('a version that is no longer kept is 410, and one in the future waits', async (t) => {
  const early = await create('w11');
  for (let at = 0; at < 500; at++) await label('w11', { at: String(at) });
  assert.ok(api.store.floor > Number(early));
  const gone = await open(t, `resourceVersion=${early}`);
  await waitFor(() => gone.isEnded, { what: 'the end' });
  const wasRefused = gone.response.statusCode === 410;
  assert.ok(wasRefused || gone.events[0]?.object.code === 410, 'expired, as an answer or as an event');
  const future = api.store.revision + 2;
  const waiting = await open(t, `resourceVersion=${future}`);
  for (const value of ['a', 'b', 'c']) await label('w11', { at: value });
  await waiting.waitForCount(1);
  assert.deepEqual(
    waiting.events.map(({ object }) => object.metadata.labels?.['at']),
    ['c'],
  );
});

test('a hundred watchers see every one of many concurrent writes once', async (t) => {
  const query = `resourceVersion=${api.store.revision}`;
  const watches = await Promise.all(Array.from({ length: 90 }, () => open(t, query)));
  await Promise.all(Array.from({ length: 100 }, (_, at) => create(`many-${at}`)));
  await Promise.all(watches.map((watch) => watch.waitForCount(100)));
  for (const watch of watches) {
    assert.equal(new Set(watch.shown).size, 100);
    assertRising(watch);
  }
});
