/** The durable store: what was acknowledged survives, what failed leaves no trace, damage is never hidden. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, truncateSync, writeFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { KubeObject } from '../../api/meta.ts';
import { systemClock } from '../../lib/clock.ts';
import { errorCode } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { DEFAULT_HISTORY } from './history.ts';
import type { HistoryLimits } from './history.ts';
import { crc32, crc32ByTable } from './crc32.ts';
import { openStore } from './durable-store.ts';
import type { DurableStore } from './durable-store.ts';
import { systemFiles } from './files.ts';
import type { FileLayer } from './files.ts';
import { decodeJournal, encodeFrame, encodeMark } from './journal-frames.ts';
import { isOutOfSpace } from './errors.ts';
import type { Change } from './store.ts';

const roots: string[] = [];
after(() => Promise.all(roots.map((root) => rm(root, { recursive: true, force: true }))));

async function makeDirectory(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'edge-store-'));
  roots.push(root);
  return join(root, 'store');
}

interface OpenOptions {
  files?: FileLayer;
  journalBytes?: number;
  history?: HistoryLimits;
}

function open(dir: string, options: OpenOptions = {}): Promise<DurableStore> {
  const { files = systemFiles, journalBytes = 1 << 24, history = DEFAULT_HISTORY } = options;
  return openStore({ dir, journalBytes, history }, { files, clock: systemClock, log: silentLogger });
}

function object(name: string, value: unknown, labels?: Record<string, string>): KubeObject {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    spec: { value },
  };
}

function put(store: DurableStore, name: string, value: unknown, labels?: Record<string, string>) {
  return store.write('routers', name, () => ({ action: 'put', object: object(name, value, labels) }));
}

function remove(store: DurableStore, name: string) {
  return store.write('routers', name, () => ({ action: 'delete' }));
}

function valueOf(store: DurableStore, name: string): unknown {
  return (store.get('routers', name)?.object.spec as { value?: unknown } | undefined)?.value;
}

/** Copies what a crash at this moment would leave; the store itself stays open. */
async function crashCopy(dir: string): Promise<string> {
  const copy = await makeDirectory();
  await systemFiles.makeDirectory(copy);
  for (const name of readdirSync(dir)) {
    if (name !== 'lock') writeFileSync(join(copy, name), readFileSync(join(dir, name)));
  }
  return copy;
}

function journalPath(dir: string): string {
  const name = readdirSync(dir)
    .filter((entry) => entry.startsWith('journal-'))
    .sort()
    .at(-1);
  assert.ok(name !== undefined, 'there is a journal');
  return join(dir, name);
}

test('CRC-32 has the well-known check value and continues from a seed', () => {
  for (const crc of [crc32, crc32ByTable]) {
    assert.equal(crc(Buffer.from('123456789')), 0xcbf43926);
    assert.equal(crc(Buffer.from('6789'), crc(Buffer.from('12345'))), 0xcbf43926);
  }
});

test('acknowledged writes are there after a crash, with their revisions', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await Promise.all(Array.from({ length: 50 }, (_, at) => put(store, `r${at}`, at)));
  await remove(store, 'r7');
  const copy = await open(await crashCopy(dir));
  assert.equal(copy.revision, 52);
  assert.equal(copy.list('routers').length, 49);
  assert.equal(valueOf(copy, 'r49'), 49);
  assert.equal(copy.get('routers', 'r7'), undefined);
  assert.equal(
    copy.get('routers', 'r3')?.object.metadata.resourceVersion,
    String(copy.get('routers', 'r3')?.revision),
  );
  await copy.close();
  await store.close();
});

test('objects come back from the journal as they were written, whatever is in them', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  const labels = { a: '1', o: 'not the object', z: '2' };
  await put(store, 'a', 'first', labels);
  await Promise.all([
    put(store, 'a', 'line\nfeed, "o":{} and ÄÖÜ 🙂', labels),
    put(store, 'b', [{ o: { o: null } }], labels),
  ]);
  await remove(store, 'b');
  const copy = await open(await crashCopy(dir));
  const events = (from: DurableStore) =>
    from
      .history('routers', from.floor, 10)
      .map(({ type, stored, previousLabels }) => [type, previousLabels, stored.json]);
  assert.deepEqual(events(copy), events(store));
  assert.equal(copy.get('routers', 'a')?.json, store.get('routers', 'a')?.json);
  await copy.close();
  await store.close();
});

test('a stopped store is a checkpoint and an empty journal, and goes on with the next revision', async () => {
  const dir = await makeDirectory();
  const first = await open(dir);
  await put(first, 'a', 1);
  await remove(first, 'a');
  await first.close();
  assert.equal(readFileSync(journalPath(dir)).length, 0);
  const second = await open(dir);
  assert.equal(second.revision, 3);
  const { stored } = await put(second, 'a', 2);
  assert.equal(stored?.revision, 4, 'the revision of the deletion is not used again');
  await second.close();
});

test('a new store has a revision that clients can watch from, and so has one that a crash left without writes', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  assert.equal(store.revision, 1);
  const copy = await open(await crashCopy(dir));
  assert.equal(copy.revision, 1);
  await put(copy, 'a', 1);
  assert.deepEqual(
    copy.history('routers', 1, 10).map((change) => change.stored.revision),
    [2],
  );
  await copy.close();
  await store.close();
});

test('a store that began at revision 0, without a checkpoint yet, is read as it is', async () => {
  const dir = await makeDirectory();
  await systemFiles.makeDirectory(dir);
  const record = { r: 1, t: 'ADDED', k: 'routers', n: 'a', at: 0, l: null, o: object('a', 1) };
  writeFileSync(join(dir, 'journal-0000000000000001.log'), encodeFrame([JSON.stringify(record)]));
  const store = await open(dir);
  assert.equal(store.revision, 1);
  assert.equal(valueOf(store, 'a'), 1);
  await store.close();
});

test('a write sees the ones queued before it, and a throw fails that write alone', async () => {
  const store = await open(await makeDirectory());
  const seen: unknown[] = [];
  const first = put(store, 'a', 1);
  const failing = store.write('routers', 'a', () => {
    throw new Error('no');
  });
  const second = store.write('routers', 'a', (current) => {
    seen.push(current?.object.spec);
    return { action: 'put', object: object('a', 2) };
  });
  await assert.rejects(failing, /no/u);
  assert.equal((await first).changed, 'ADDED');
  assert.equal((await second).changed, 'MODIFIED');
  assert.deepEqual(seen, [{ value: 1 }]);
  await store.close();
});

test('a write that keeps the state writes nothing', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  const bytes = store.sizes.journalBytes;
  const result = await store.write('routers', 'a', () => ({ action: 'keep' }));
  assert.equal(result.changed, undefined);
  assert.equal(result.stored?.revision, 2);
  assert.equal(store.revision, 2);
  assert.equal(store.sizes.journalBytes, bytes);
  await store.close();
});

test('a journal cut at any byte of its last frames recovers to the last whole batch', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  await put(store, 'a', 2);
  await put(store, 'a', 3);
  const data = readFileSync(journalPath(dir));
  await store.close();
  const ends = [1, 2, 3].map((count) => frameEnd(data, count));
  const [afterFirst = 0, afterSecond = 0, afterThird = 0] = ends;
  for (let length = afterFirst; length <= afterThird + 64; length++) {
    const { records, soundBytes, resumesAt } = decodeJournal(data.subarray(0, length));
    const expected = length < afterSecond ? 1 : length < afterThird ? 2 : 3;
    assert.equal(records.length, expected, `cut at ${length}`);
    assert.equal(soundBytes, [0, ...ends][expected]);
    assert.equal(resumesAt, undefined);
  }
});

/** Where the frame with that number ends: the shortest part of the journal that holds so many records. */
function frameEnd(data: Buffer, count: number): number {
  let length = 0;
  while (decodeJournal(data.subarray(0, length)).records.length < count) length++;
  return length;
}

test('a torn tail is cut from the file, and writes go on behind it', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  await put(store, 'a', 2);
  const crashed = await crashCopy(dir);
  await store.close();
  const path = journalPath(crashed);
  truncateSync(path, frameEnd(readFileSync(path), 2) - 5);
  const second = await open(crashed);
  assert.equal(valueOf(second, 'a'), 1);
  await put(second, 'a', 3);
  const third = await open(await crashCopy(crashed));
  assert.equal(valueOf(third, 'a'), 3);
  assert.equal(third.revision, 3);
  await third.close();
  await second.close();
});

test('zeros that a power cut left behind the last frame are cut', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  const crashed = await crashCopy(dir);
  await store.close();
  writeFileSync(journalPath(crashed), Buffer.alloc(4096), { flag: 'a' });
  const second = await open(crashed);
  assert.equal(valueOf(second, 'a'), 1);
  await second.close();
});

test('every flipped bit before the last frame is refused with the file and what to do', async () => {
  const frames = [1, 2, 3].map((r) =>
    encodeFrame([JSON.stringify({ r, t: 'ADDED', k: 'routers', n: `r${r}`, at: 0, l: null, o: {} })]),
  );
  const whole = Buffer.concat(frames);
  const lastFrame = whole.length - (frames[2]?.length ?? 0);
  for (let at = 0; at < whole.length; at++) {
    const flipped = Buffer.from(whole);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    const { records, resumesAt } = decodeJournal(flipped);
    assert.ok(records.length < 3, `flip at ${at} is noticed`);
    assert.equal(resumesAt !== undefined, at < lastFrame, `flip at ${at}`);
  }
  const dir = await makeDirectory();
  await systemFiles.makeDirectory(dir);
  whole[20] = (whole[20] ?? 0) ^ 1;
  writeFileSync(join(dir, 'journal-0000000000000001.log'), whole);
  await assert.rejects(open(dir), (err: unknown) => {
    assert.equal(errorCode(err), 'EDGE_ERR_STORE_DAMAGED');
    assert.match(String(err), /journal-0000000000000001\.log/u);
    return true;
  });
  assert.deepEqual(readFileSync(join(dir, 'journal-0000000000000001.log')), whole, 'nothing was changed');
});

test('a flipped bit in the last frame is damage when the frame was synced, and a torn write when it was not', async () => {
  const frame = encodeFrame([
    JSON.stringify({ r: 1, t: 'ADDED', k: 'routers', n: 'r1', at: 0, l: null, o: {} }),
  ]);
  const marked = Buffer.concat([frame, encodeMark(0)]);
  for (let at = 0; at < marked.length; at++) {
    const flipped = Buffer.from(marked);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    const { records, resumesAt } = decodeJournal(flipped);
    assert.equal(records.length, at < frame.length ? 0 : 1, `flip at ${at}`);
    assert.equal(resumesAt, at < frame.length ? frame.length : undefined, `flip at ${at}`);
    const unmarked = decodeJournal(flipped.subarray(0, frame.length));
    assert.equal(unmarked.resumesAt, undefined, 'without its mark it counts as torn');
  }
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  await put(store, 'a', 2);
  const crashed = await crashCopy(dir);
  await store.close();
  const path = journalPath(crashed);
  const data = readFileSync(path);
  const end = frameEnd(data, 2);
  data[end - 3] = (data[end - 3] ?? 0) ^ 4;
  writeFileSync(path, Buffer.concat([data.subarray(0, end), encodeMark(frameEnd(data, 1) + 16)]));
  await assert.rejects(open(crashed), (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_DAMAGED');
});

test('a recovered journal ends with a mark, so that its last write is guarded too', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  const crashed = await crashCopy(dir);
  await store.close();
  const path = journalPath(crashed);
  truncateSync(path, frameEnd(readFileSync(path), 1)); // power went before the mark was on the disk
  const second = await open(crashed);
  const again = await crashCopy(crashed);
  await second.close();
  const data = readFileSync(journalPath(again));
  data[20] = (data[20] ?? 0) ^ 1;
  writeFileSync(journalPath(again), data);
  await assert.rejects(open(again), (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_DAMAGED');
});

test('a damaged checkpoint is refused, never emptied', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await put(store, 'a', 1);
  await store.close();
  const name = readdirSync(dir).find((entry) => entry.startsWith('checkpoint-'));
  assert.ok(name !== undefined);
  const path = join(dir, name);
  const image = readFileSync(path);
  image[100] = (image[100] ?? 0) ^ 1;
  writeFileSync(path, image);
  await assert.rejects(open(dir), (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_DAMAGED');
  assert.deepEqual(readFileSync(path), image);
});

test('a removed checkpoint is noticed by the revisions that are missing', async () => {
  const dir = await makeDirectory();
  const history = { ...DEFAULT_HISTORY, events: 2 };
  for (let value = 1; value <= 5; value++) {
    const store = await open(dir, { history });
    await put(store, 'a', value);
    await store.close();
  }
  for (const name of readdirSync(dir)) if (name.startsWith('checkpoint-')) rmSync(join(dir, name));
  await assert.rejects(open(dir), (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_DAMAGED');
});

test('checkpoints in the middle of writing lose nothing, wherever the crash comes', async () => {
  const dir = await makeDirectory();
  const copies: Promise<{ copy: string; revision: number }>[] = [];
  const watched: { store?: DurableStore } = {};
  const snapshot = async (): Promise<void> => {
    const revision = watched.store?.revision ?? 0;
    copies.push(crashCopy(dir).then((copy) => ({ copy, revision })));
    await copies.at(-1);
  };
  const files: FileLayer = {
    ...systemFiles,
    async replace(path, data) {
      await snapshot();
      await systemFiles.replace(path, data);
      await snapshot();
    },
    async remove(path) {
      await snapshot();
      await systemFiles.remove(path);
      await snapshot();
    },
  };
  const history = { ...DEFAULT_HISTORY, events: 10 }; // journals are removed, too
  const store = await open(dir, { files, journalBytes: 4096, history });
  watched.store = store;
  for (let at = 0; at < 60; at++) await put(store, `r${at % 10}`, 'x'.repeat(200));
  await store.close();
  assert.ok(copies.length >= 8, `${copies.length} crash points`);
  for (const { copy, revision } of await Promise.all(copies)) {
    const recovered = await open(copy);
    assert.ok(recovered.revision >= revision, `${recovered.revision} >= ${revision}`);
    await recovered.close();
  }
});

/** A file layer whose journal writes fail on demand, after a part of the bytes. */
function faultyFiles(): {
  files: FileLayer;
  fault: { at: 'write' | 'sync' | 'truncate' | undefined; partBytes: number };
} {
  const fault: { at: 'write' | 'sync' | 'truncate' | undefined; partBytes: number } = {
    at: undefined,
    partBytes: 7,
  };
  const full = (): Error => Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  const files: FileLayer = {
    ...systemFiles,
    async open(path) {
      const file = await systemFiles.open(path);
      return {
        ...file,
        async write(data, position) {
          if (fault.at === 'write' || fault.at === 'truncate') {
            await file.write(data.subarray(0, fault.partBytes), position);
            throw full();
          }
          await file.write(data, position);
        },
        async sync() {
          if (fault.at === 'sync') throw full();
          await file.sync();
        },
        async truncate(length) {
          if (fault.at === 'truncate') throw full();
          await file.truncate(length);
        },
      };
    },
  };
  return { files, fault };
}

for (const at of ['write', 'sync', 'truncate'] as const) {
  test(`a full disk (${at} fails) fails writes, not reads, and they work again when there is space`, async () => {
    const dir = await makeDirectory();
    const { files, fault } = faultyFiles();
    const store = await open(dir, { files });
    await put(store, 'a', 1);
    const sound = readFileSync(journalPath(dir)).subarray(0, store.sizes.journalBytes);
    fault.at = at;
    const results = await Promise.allSettled([put(store, 'a', 2), put(store, 'b', 2), remove(store, 'a')]);
    for (const result of results) {
      assert.equal(result.status, 'rejected');
      assert.equal(errorCode(result.reason), 'EDGE_ERR_STORE_WRITE');
      assert.ok(isOutOfSpace(result.reason));
      assert.match(String(result.reason), /journal-.*no space left on device/u);
    }
    assert.equal(valueOf(store, 'a'), 1);
    assert.equal(store.revision, 2);
    assert.deepEqual(
      store.history('routers', 1, 10).map((change) => change.stored.revision),
      [2],
    );
    if (at !== 'truncate') {
      const left = readFileSync(journalPath(dir));
      assert.deepEqual(left.subarray(0, sound.length), sound);
      assert.equal(decodeJournal(left).records.length, 1);
    }
    fault.at = undefined;
    const { stored } = await put(store, 'a', 3);
    assert.equal(stored?.revision, 3);
    const recovered = await open(await crashCopy(dir));
    assert.equal(valueOf(recovered, 'a'), 3);
    assert.equal(recovered.get('routers', 'b'), undefined);
    await recovered.close();
    await store.close();
  });
}

test('history resumes after any revision, over a restart, and refuses what was compacted', async () => {
  const dir = await makeDirectory();
  const history = { ...DEFAULT_HISTORY, events: 20, minEvents: 5 };
  const first = await open(dir, { history });
  for (let at = 1; at <= 15; at++) await put(first, `r${at % 3}`, at, { n: String(at) });
  await first.close();
  const second = await open(dir, { history });
  const changes = second.history('routers', 11, 100);
  assert.deepEqual(
    changes.map((change) => change.stored.revision),
    [12, 13, 14, 15, 16],
  );
  assert.deepEqual(changes[0]?.previousLabels, { n: '8' });
  assert.deepEqual(
    second.history('routers', 11, 2).map((change) => change.stored.revision),
    [12, 13],
  );
  for (let at = 16; at <= 40; at++) await put(second, 'r0', at);
  assert.ok(second.floor > 0);
  assert.throws(
    () => second.history('routers', second.floor - 1, 1),
    (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_COMPACTED',
  );
  assert.equal(second.history('routers', second.floor, 100).length, 41 - second.floor);
  await second.close();
  const third = await open(dir, { history });
  assert.ok(third.floor > 0, 'the floor survives');
  await third.close();
});

test('subscribers see every change of their resource once, in order, until they stop', async () => {
  const store = await open(await makeDirectory());
  const seen: string[] = [];
  const listener = (changes: readonly Change[]) => {
    for (const { type, stored } of changes) seen.push(`${type} ${stored.name} ${stored.revision}`);
  };
  const subscription = store.subscribe('routers', listener);
  await put(store, 'a', 1);
  await store.write('nodemaintenances', 'x', () => ({ action: 'put', object: object('x', 1) }));
  await Promise.all([put(store, 'a', 2), put(store, 'b', 1), remove(store, 'a')]);
  subscription.stop();
  await put(store, 'c', 1);
  assert.deepEqual(seen, ['ADDED a 2', 'MODIFIED a 4', 'ADDED b 5', 'DELETED a 6']);
  await store.close();
});

test('a second store on the same directory is refused with the pid of the first', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await assert.rejects(open(dir), (err: unknown) => {
    assert.equal(errorCode(err), 'EDGE_ERR_STORE_LOCKED');
    assert.match(String(err), new RegExp(`pid ${process.pid}`, 'u'));
    return true;
  });
  await store.close();
  const again = await open(dir);
  await again.close();
});

test('a lock that a dead process left is taken over', async () => {
  const dir = await makeDirectory();
  await systemFiles.makeDirectory(dir);
  // this process's pid with another start time: a pid that the system has given out again
  writeFileSync(join(dir, 'lock'), JSON.stringify({ pid: process.ppid, startTime: '1' }));
  const store = await open(dir);
  await store.close();
});

test('writes to a closed store are refused, and closing twice is harmless', async () => {
  const store = await open(await makeDirectory());
  await store.close();
  await store.close();
  await assert.rejects(put(store, 'a', 1), (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_CLOSED');
});

test('a wall clock that jumps years either way costs neither writes nor the history that watches need', async () => {
  const dir = await makeDirectory();
  let wall = Date.UTC(2030, 0, 1);
  const clock = { ...systemClock, wallNow: () => new Date(wall) };
  const deps = { files: systemFiles, clock, log: silentLogger };
  const history = { ...DEFAULT_HISTORY, minEvents: 10 };
  const store = await openStore({ dir, journalBytes: 1 << 24, history }, deps);
  const year = 365 * 24 * 60 * 60_000;
  for (let at = 1; at <= 40; at++) {
    wall += at % 2 === 0 ? 3 * year : -5 * year;
    const { stored } = await put(store, 'a', at);
    assert.equal(stored?.revision, at + 1);
  }
  assert.ok(store.revision - store.floor >= 10, `floor ${store.floor}`);
  await store.close();
  const again = await open(dir);
  assert.equal(again.revision, 41);
  await again.close();
});
