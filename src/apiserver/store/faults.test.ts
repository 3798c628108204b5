/** Faults of the disk at the worst moment: what was acknowledged is there at the next start, what was refused is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { memoryFiles } from '../../../test/support/memory-files.ts';
import type { MemoryDirectory } from '../../../test/support/memory-files.ts';
import { tempDir } from '../../../test/support/temp-dir.ts';
import { systemClock } from '../../lib/clock.ts';
import { errorCode } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { checkStore } from './check.ts';
import { openStore } from './durable-store.ts';
import type { DurableStore } from './durable-store.ts';
import { isOutOfSpace } from './errors.ts';
import type { FileLayer } from './files.ts';
import { DEFAULT_HISTORY } from './history.ts';

/** Operations that fail from now on. */
type Faults = Partial<Record<keyof FileLayer, () => void>>;

interface Disk {
  contents: MemoryDirectory;
  faults: Faults;
  /** What starts after a crash at this moment. */
  afterCrash(): Promise<DurableStore>;
  open(journalBytes?: number): Promise<DurableStore>;
}

const fail = (code: string) => (): never => {
  throw Object.assign(new Error(code), { code });
};

/** A directory in memory; `bytes` is how much fits. A fault comes after the operation has been done. */
function disk(t: TestContext, bytes = Infinity): Disk {
  const contents: MemoryDirectory = new Map();
  const faults: Faults = {};
  const dir = tempDir(t); // for the lock
  const stores: DurableStore[] = [];
  t.after(() => Promise.all(stores.map((store) => store.close())));
  const start = async (
    of: MemoryDirectory,
    isFaulty: boolean,
    journalBytes: number,
  ): Promise<DurableStore> => {
    const files = memoryFiles(of, bytes);
    const faulty: FileLayer = {
      ...files,
      replace: (path, data) => files.replace(path, data).then(() => faults.replace?.()),
      remove: (path) => files.remove(path).then(() => faults.remove?.()),
      syncDirectory: (path) => files.syncDirectory(path).then(() => faults.syncDirectory?.()),
    };
    const store = await openStore(
      { dir: isFaulty ? dir : tempDir(t), journalBytes, history: DEFAULT_HISTORY },
      { files: isFaulty ? faulty : files, clock: systemClock, log: silentLogger },
    );
    stores.push(store);
    return store;
  };
  return {
    contents,
    faults,
    open: (journalBytes = 1 << 24) => start(contents, true, journalBytes),
    afterCrash: () => start(new Map(contents), false, 1 << 24),
  };
}

function put(store: DurableStore, name: string, value: unknown) {
  const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name }, spec: { value } };
  return store.write('routers', name, () => ({ action: 'put', object }));
}

const names = (store: DurableStore): string[] => store.list('routers').map(({ name }) => name);

const isRefused = (err: unknown): boolean => errorCode(err) === 'EDGE_ERR_STORE_WRITE';

test('a restore whose journal cannot be opened goes on in the old one, and loses nothing', async (t) => {
  const here = disk(t);
  const store = await here.open();
  await put(store, 'a', 1);
  here.faults.syncDirectory = fail('EIO');
  await store.restore([], 0);
  delete here.faults.syncDirectory;
  const outcomes = await Promise.allSettled([put(store, 'b', 1), put(store, 'c', 1)]);
  const acknowledged = outcomes.filter(({ status }) => status === 'fulfilled').length;
  const next = await here.afterCrash();
  assert.equal(next.list('routers').length, acknowledged);
  await next.close();
  await store.close();
});

test('where what a failed restore left cannot be removed, nothing more is written that the next start would not find', async (t) => {
  const here = disk(t);
  const store = await here.open();
  await put(store, 'a', 1);
  here.faults.replace = fail('EIO');
  here.faults.remove = fail('EIO');
  await assert.rejects(store.restore([], 0), isRefused);
  await assert.rejects(
    put(store, 'b', 1),
    (err: unknown) => isRefused(err) && /started again/u.test((err as { hint?: string }).hint ?? ''),
  );
  assert.deepEqual(names(store), ['a'], 'reads go on');
  delete here.faults.replace;
  delete here.faults.remove;
  await store.close();
});

test('a rejected restore does not come into force with the next start', async (t) => {
  const here = disk(t);
  const store = await here.open();
  await put(store, 'a', 1);
  here.faults.replace = fail('EIO'); // the file is there, its directory could not be synced
  await assert.rejects(store.restore([], 0), isRefused);
  delete here.faults.replace;
  await put(store, 'b', 1);
  const next = await here.afterCrash();
  assert.deepEqual(names(next), ['a', 'b']);
  await next.close();
  await store.close();
});

test('a journal that could not be begun leaves nothing behind', async (t) => {
  const here = disk(t);
  const store = await here.open(4096);
  here.faults.syncDirectory = fail('EMFILE');
  for (let value = 0; value < 20; value++) await put(store, 'a', 'x'.repeat(500));
  assert.deepEqual(
    [...here.contents.keys()].filter((name) => name.startsWith('journal-')),
    ['journal-0000000000000001.log'],
  );
  delete here.faults.syncDirectory;
  await store.close();
});

test('on a full disk the journals that only watches need make room for writes', async (t) => {
  const here = disk(t, 600_000);
  const store = await here.open(8192);
  let refused = 0;
  for (let value = 1; value <= 2000; value++) {
    await put(store, 'a', `${value} ${'x'.repeat(1000)}`).catch((err: unknown) => {
      assert.ok(isOutOfSpace(err), String(err));
      refused++;
    });
  }
  assert.ok(refused < 20, `${refused} of 2000 writes were refused`);
  const next = await here.afterCrash();
  assert.equal(next.get('routers', 'a')?.json, store.get('routers', 'a')?.json);
  await next.close();
  await store.close();
});

test('a check tells of a kept journal that cannot be read, and finds the store sound', async (t) => {
  const here = disk(t);
  for (const name of ['a', 'b']) {
    const store = await here.open();
    await put(store, name, 1);
    await store.close();
  }
  const files = memoryFiles(here.contents);
  const unreadable: FileLayer = {
    ...files,
    read: (path) =>
      path.endsWith('journal-0000000000000001.log') ? Promise.reject(new Error('EIO')) : files.read(path),
  };
  const { lines, problems } = await checkStore(unreadable, '/store');
  assert.deepEqual(problems, []);
  assert.match(lines.join('\n'), /journal-0000000000000001\.log: EIO; only for watches to resume from/u);
  assert.match(lines.join('\n'), /newest acknowledged revision: 3 /u);
});

test('a journal that does not begin with the first revision needs a checkpoint', async (t) => {
  const here = disk(t);
  here.contents.set('journal-0000000000000002.log', Buffer.alloc(0));
  await assert.rejects(here.open(), (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_DAMAGED');
});
