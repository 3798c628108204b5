/** Checkpoints that are folded from the files: the same state as in memory, made beside writes, and made up for when it fails. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync, cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { KubeObject } from '../../api/meta.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { tempDir } from '../../../test/support/temp-dir.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { openStore } from './durable-store.ts';
import type { DurableStore } from './durable-store.ts';
import { systemFiles } from './files.ts';
import { foldInWorker } from './fold-in-worker.ts';
import { foldJournals } from './fold.ts';
import type { Fold } from './fold.ts';
import { DEFAULT_HISTORY } from './history.ts';
import { readState } from './recover.ts';

const JOURNAL_BYTES = 1024 * 1024;
const HISTORY_EVENTS = 1500;

interface Opened {
  store: DurableStore;
  dir: string;
  /** The messages of warnings. */
  warnings: string[];
  /** How many times a fold has ended. */
  folds: () => number;
}

async function open(dir: string, fold?: Fold, journalBytes = JOURNAL_BYTES): Promise<Opened> {
  const warnings: string[] = [];
  let folds = 0;
  const counted: Fold | undefined = fold && ((job) => fold(job).finally(() => folds++));
  const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
  const store = await openStore(
    { dir, journalBytes, history: { ...DEFAULT_HISTORY, events: HISTORY_EVENTS } },
    { files: systemFiles, clock: systemClock, log, ...(counted === undefined ? {} : { fold: counted }) },
  );
  return { store, dir, warnings, folds: () => folds };
}

function object(name: string, value: string, labels?: Record<string, string>): KubeObject {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    spec: { value },
  };
}

function put(store: DurableStore, name: string, value: string, labels?: Record<string, string>) {
  return store.write('routers', name, () => ({ action: 'put', object: object(name, value, labels) }));
}

/** Everything that a store knows. */
function stateOf(store: DurableStore) {
  return {
    revision: store.revision,
    objects: store.list('routers').map(({ revision, json }) => ({ revision, json })),
    floor: store.floor,
    events: store
      .history('routers', store.floor, 10_000)
      .map(({ type, stored, previousLabels }) => ({ type, previousLabels, json: stored.json })),
  };
}

const checkpoints = (dir: string): string[] =>
  readdirSync(dir).filter((name) => name.startsWith('checkpoint-'));

/** Writes and deletes until there have been so many checkpoints more. */
async function writeThrough(opened: Opened, count: number): Promise<void> {
  const { store } = opened;
  const wanted = opened.folds() + count;
  for (let at = 0; opened.folds() < wanted; at++) {
    await put(store, `r${at % 7}`, `${at} ÄÖÜ "quoted"\n${'x'.repeat(900)}`, {
      serial: String(at),
      o: 'label',
    });
    if (at % 11 === 0) await store.write('routers', `r${(at + 3) % 7}`, () => ({ action: 'delete' }));
  }
}

/** What a server finds that starts after this one was killed. */
async function recovered(t: TestContext, { store, dir }: Opened): Promise<DurableStore> {
  await store.snapshot(); // once no checkpoint is being made: files that come and go cannot be copied
  const copy = join(tempDir(t), 'store');
  cpSync(dir, copy, { recursive: true });
  rmSync(join(copy, 'lock'), { force: true });
  return (await open(copy)).store;
}

for (const [where, fold] of [
  ['here', (job) => foldJournals(systemFiles, job)],
  ['in a thread', foldInWorker],
] as [string, Fold][]) {
  test(`folded ${where}, checkpoints hold what memory holds`, async (t) => {
    const opened = await open(join(tempDir(t), 'store'), fold);
    const { store, warnings } = opened;
    await writeThrough(opened, 2);
    const after = await recovered(t, opened);
    const wanted = stateOf(store);
    const found = stateOf(after);
    // history beyond its limit goes in steps, which need not be the same; what both have is
    const common = Math.min(found.events.length, wanted.events.length);
    assert.ok(common >= HISTORY_EVENTS * 0.8, `${common} events`);
    const comparable = (state: typeof found) => ({ ...state, floor: 0, events: state.events.slice(-common) });
    assert.deepEqual(comparable(found), comparable(wanted));
    assert.deepEqual(warnings, []);
    await Promise.all([store.close(), after.close()]);
  });
}

test('a checkpoint that was damaged on the disk is replaced from memory, and said so', async (t) => {
  const opened = await open(join(tempDir(t), 'store'), foldInWorker);
  const { store, dir, warnings } = opened;
  await writeThrough(opened, 1);
  await waitFor(() => checkpoints(dir).length === 1, { what: 'one checkpoint' });
  const path = join(dir, checkpoints(dir)[0] ?? '');
  const image = readFileSync(path);
  image[image.length >> 1] = (image[image.length >> 1] ?? 0) ^ 1;
  writeFileSync(path, image);
  await writeThrough(opened, 1);
  assert.deepEqual(warnings, ['the journals cannot be folded, the checkpoint is made from memory']);
  const after = await recovered(t, opened);
  assert.equal(after.revision, store.revision);
  assert.deepEqual(
    after.list('routers').map(({ json }) => json),
    store.list('routers').map(({ json }) => json),
  );
  await Promise.all([store.close(), after.close()]);
});

test('a thread that cannot do its work says why', async (t) => {
  const dir = join(tempDir(t), 'nowhere');
  const job = { dir, revision: 1, history: DEFAULT_HISTORY, now: Date.now() };
  await assert.rejects(foldInWorker(job), /nowhere: no such file or directory/u);
});

test('journals that end before the wanted revision are refused', async (t) => {
  const { store, dir } = await open(join(tempDir(t), 'store'));
  await put(store, 'a', 'one');
  const job = { dir, revision: 2, history: DEFAULT_HISTORY, now: Date.now() };
  await assert.rejects(foldJournals(systemFiles, job), /end at revision 1 instead of 2/u);
  assert.deepEqual(checkpoints(dir), []);
  await store.close();
});

test('writes wait at the bound of the journal for a checkpoint that takes long, and are not refused', async (t) => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const slow: Fold = async (job) => {
    await held;
    return foldJournals(systemFiles, job);
  };
  const { store } = await open(join(tempDir(t), 'store'), slow);
  let stored = 0;
  const text = 'x'.repeat(JOURNAL_BYTES / 4);
  const writes = Array.from({ length: 50 }, async (_, at) => {
    await put(store, `r${at}`, text);
    stored++;
  });
  // eight times the length of a journal, and what one batch may hold beyond that
  await waitFor(() => store.sizes.uncheckpointedBytes > 8 * JOURNAL_BYTES, { what: 'the bound' });
  assert.ok(stored < writes.length, `${stored} are stored`);
  release();
  await Promise.all(writes);
  await store.close();
});

test('a journal with many times the history that is kept leaves no more of it in the checkpoint', async (t) => {
  const dir = join(tempDir(t), 'store');
  const { store } = await open(dir, undefined, 64 * JOURNAL_BYTES);
  while (store.revision < 6 * HISTORY_EVENTS)
    await Promise.all(
      Array.from({ length: HISTORY_EVENTS }, (_, at) => put(store, `r${at % 5}`, String(at))),
    );
  const { revision } = store;
  const history = { ...DEFAULT_HISTORY, events: HISTORY_EVENTS };
  await foldJournals(systemFiles, { dir, revision, history, now: Date.now() });
  const { history: kept } = await readState(systemFiles, dir, history, revision);
  assert.ok(kept.size.events <= HISTORY_EVENTS, `${kept.size.events} events`);
  assert.ok(kept.size.events >= HISTORY_EVENTS * 0.8, `${kept.size.events} events`);
  await store.close();
});
