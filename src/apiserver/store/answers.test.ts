/** When writers get their answers: never before the disk has what they wrote, and never kept from them by others or refused without need. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { tempDir } from '../../../test/support/temp-dir.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { openStore } from './durable-store.ts';
import type { DurableStore } from './durable-store.ts';
import { systemFiles } from './files.ts';
import type { FileLayer } from './files.ts';
import { DEFAULT_HISTORY } from './history.ts';

/** A disk whose syncs wait until they are let go, one by one and in order. */
interface HeldDisk {
  files: FileLayer;
  /** Syncs wait from now on. */
  hold(): void;
  /** How many syncs wait now. */
  waiting(): number;
  /** Ends the oldest sync that waits. */
  release(err?: Error): void;
  /** Ends all of them, and holds none any more. */
  free(): void;
}

function heldDisk(): HeldDisk {
  let isHolding = false;
  const held: ((err?: Error) => void)[] = [];
  const files: FileLayer = {
    ...systemFiles,
    open: async (path) => {
      const file = await systemFiles.open(path);
      return {
        ...file,
        async sync() {
          if (isHolding)
            await new Promise<void>((resolve, reject) => {
              held.push((err) => (err === undefined ? resolve() : reject(err)));
            });
          await file.sync();
        },
      };
    },
  };
  return {
    files,
    hold: () => {
      isHolding = true;
    },
    waiting: () => held.length,
    release: (err) => held.shift()?.(err),
    free: () => {
      isHolding = false;
      for (const end of held.splice(0)) end();
    },
  };
}

/** A write that was begun. */
interface Write {
  /** `waits`, `stored` or `refused`. */
  outcome: () => string;
}

/** Writes, and notes how it ended. */
function startWrite(store: DurableStore, name: string): Write {
  let outcome = 'waits';
  const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name } };
  store
    .write('routers', name, () => ({ action: 'put', object }))
    .then(
      () => (outcome = 'stored'),
      () => (outcome = 'refused'),
    );
  return { outcome: () => outcome };
}

interface Held {
  disk: HeldDisk;
  store: DurableStore;
  /** A write that the disk has been asked for. */
  first: Write;
}

async function startHeld(t: TestContext): Promise<Held> {
  const disk = heldDisk();
  const config = { dir: join(tempDir(t), 'store'), journalBytes: 1 << 24, history: DEFAULT_HISTORY };
  const store = await openStore(config, { files: disk.files, clock: systemClock, log: silentLogger });
  disk.hold();
  const first = startWrite(store, 'a');
  await waitFor(() => disk.waiting() === 1, { what: 'the first sync' });
  return { disk, store, first };
}

async function close({ disk, store }: Held): Promise<void> {
  disk.free();
  await store.close();
}

test('a writer is answered while the disk takes the next batch, and not before it has its own', async (t) => {
  const held = await startHeld(t);
  const { disk, store, first } = held;
  const second = startWrite(store, 'b');
  assert.equal(first.outcome(), 'waits');
  disk.release();
  await waitFor(() => disk.waiting() === 1, { what: 'the second sync' });
  await waitFor(() => first.outcome() === 'stored', { what: 'the first answer' });
  assert.equal(second.outcome(), 'waits');
  disk.release();
  await waitFor(() => second.outcome() === 'stored', { what: 'the second answer' });
  assert.equal(store.revision, 3);
  await close(held);
});

test('a batch that the disk refuses takes nothing from the one before it', async (t) => {
  const held = await startHeld(t);
  const { disk, store, first } = held;
  const second = startWrite(store, 'b');
  disk.release();
  await waitFor(() => disk.waiting() === 1, { what: 'the second sync' });
  disk.release(new Error('EIO'));
  await waitFor(() => second.outcome() === 'refused', { what: 'the refusal' });
  assert.equal(first.outcome(), 'stored');
  assert.equal(store.get('routers', 'b'), undefined);
  await close(held);
});

test('a writer is answered when the next batch has nothing for the disk', async (t) => {
  const held = await startHeld(t);
  const { disk, store, first } = held;
  const kept = store.write('routers', 'a', () => ({ action: 'keep' }));
  disk.release();
  assert.equal((await kept).changed, undefined);
  assert.equal(first.outcome(), 'stored');
  await close(held);
});

test('a writer does not wait for work between two batches', async (t) => {
  const held = await startHeld(t);
  const { disk, store, first } = held;
  const second = startWrite(store, 'b');
  const restored = store.restore([], 0);
  disk.release();
  await waitFor(() => first.outcome() === 'stored', { what: 'the answer' });
  // what follows needs syncs of its own: of the restored journal, and of the second write
  await waitFor(
    () => {
      disk.release();
      return second.outcome() === 'stored';
    },
    { what: 'the second answer' },
  );
  await restored;
  await close(held);
});

test('writes wait at the bound of the journal for a checkpoint that takes long, and are not refused', async (t) => {
  const journalBytes = 1024 * 1024;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const files: FileLayer = {
    ...systemFiles,
    async replace(path, data) {
      await held;
      await systemFiles.replace(path, data);
    },
  };
  const config = { dir: join(tempDir(t), 'store'), journalBytes, history: DEFAULT_HISTORY };
  const store = await openStore(config, { files, clock: systemClock, log: silentLogger });
  let stored = 0;
  const text = 'x'.repeat(journalBytes / 4);
  const writes = Array.from({ length: 50 }, async (_, at) => {
    const metadata = { name: `r${at}`, annotations: { text } };
    const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata };
    await store.write('routers', metadata.name, () => ({ action: 'put', object }));
    stored++;
  });
  // eight times the length of a journal, and what one batch may hold beyond that
  await waitFor(() => store.sizes.uncheckpointedBytes > 8 * journalBytes, { what: 'the bound' });
  assert.ok(stored < writes.length, `${stored} are stored`);
  release();
  await Promise.all(writes);
  await store.close();
});
