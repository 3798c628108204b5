/** The history over restarts: from kept journals as far as they reach, from older checkpoints, and never at the cost of objects. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import initSqlJs from 'sql.js';
import { waitFor } from '../../../test/support/wait.ts';
import { tempDir } from '../../../test/support/temp-dir.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log.ts';
import { checkStore } from './check.ts';
import { imageDigest } from './checkpoint.ts';
import { openStore } from './durable-store.ts';
import type { DurableStore } from './durable-store.ts';
import { systemFiles } from './files.ts';
import { DEFAULT_HISTORY } from './history.ts';
import { decodeJournal, encodeFrame } from './journal-frames.ts';
import { unneededJournals } from './past.ts';

interface World {
  dir: string;
  /** What was logged since the start. */
  log: string[];
  open: (events?: number) => Promise<DurableStore>;
}

function world(t: TestContext): World {
  const dir = join(tempDir(t), 'store');
  const log: string[] = [];
  const logger = createLogger({ level: 'warn', format: 'text', write: (line) => void log.push(line) });
  return {
    dir,
    log,
    open: (events = DEFAULT_HISTORY.events) =>
      openStore(
        { dir, journalBytes: 1 << 24, history: { ...DEFAULT_HISTORY, events, minEvents: 1 } },
        { files: systemFiles, clock: systemClock, log: logger },
      ),
  };
}

function put(store: DurableStore, name: string, value: unknown) {
  const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name }, spec: { value } };
  return store.write('routers', name, () => ({ action: 'put', object }));
}

/** Runs of a server, each of which writes three times and stops in order: a checkpoint and a journal each. */
async function threeRuns({ open }: World): Promise<void> {
  for (let run = 0; run < 3; run++) {
    const store = await open();
    for (let at = 1; at <= 3; at++) await put(store, `r${at}`, run * 3 + at);
    await store.close();
  }
}

const journals = (dir: string): string[] =>
  readdirSync(dir)
    .filter((name) => name.startsWith('journal-'))
    .sort();

const revisions = (store: DurableStore): number[] =>
  store.history('routers', store.floor, 100).map(({ stored }) => stored.revision);

test('watches resume from before the last checkpoints, and unchanged objects are in memory once', async (t) => {
  const here = world(t);
  await threeRuns(here);
  const store = await here.open();
  assert.deepEqual(revisions(store), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(store.history('routers', 9, 1)[0]?.stored, store.get('routers', 'r3'));
  await store.close();
  for (const name of journals(here.dir).slice(0, -1)) {
    const { soundBytes } = decodeJournal(readFileSync(join(here.dir, name)));
    assert.equal(readFileSync(join(here.dir, name)).length, soundBytes + 16, `${name} ends with its mark`);
  }
});

test('a kept journal that is damaged or gone costs the history before it, and nothing else', async (t) => {
  const here = world(t);
  await threeRuns(here);
  const second = join(here.dir, journals(here.dir)[1] ?? '');
  const data = readFileSync(second);
  const whole = Buffer.from(data);
  data[data.indexOf('"r":6') + 1] = 0; // of its records 5, 6 and 7
  writeFileSync(second, data);
  const { problems, lines } = await checkStore(systemFiles, here.dir);
  assert.deepEqual(problems, []);
  assert.match(
    lines.join('\n'),
    /journal-0{15}5\.log: .*damaged at byte \d+; only for watches to resume from/u,
  );
  const damaged = await here.open();
  assert.deepEqual(revisions(damaged), [8, 9, 10]);
  assert.equal(damaged.list('routers').length, 3);
  assert.match(here.log.join('\n'), /kept for watches.*journal-0{15}5\.log/u);
  await damaged.close();
  writeFileSync(second, whole);
  const mended = await here.open();
  assert.equal(revisions(mended)[0], 2);
  await mended.close();
  rmSync(second);
  const gone = await here.open();
  assert.deepEqual(revisions(gone), [8, 9, 10]);
  await gone.close();
});

test('a history that ends before the checkpoint is not used', async (t) => {
  const here = world(t);
  await threeRuns(here);
  rmSync(join(here.dir, journals(here.dir)[2] ?? ''));
  const store = await here.open();
  assert.equal(store.floor, 10);
  assert.equal(store.revision, 10);
  await store.close();
});

test('journals go when the history has moved on, and are few however short they are', async (t) => {
  const here = world(t);
  await threeRuns(here);
  const store = await here.open(4);
  for (let at = 0; at < 4; at++) await put(store, 'r1', at);
  await waitFor(() => store.floor >= 10, { what: 'the history to be cut' });
  await store.close();
  assert.deepEqual(
    journals(here.dir).map((name) => Number(name.slice(8, 24))),
    [11, 15],
  );
  const starts = Array.from({ length: 300 }, (_, at) => at + 1);
  assert.deepEqual(unneededJournals(starts, 299, 0), starts.slice(0, 44));
  assert.deepEqual(unneededJournals([1, 5, 9], 8, 0), []);
  assert.deepEqual(unneededJournals([1, 5, 9], 8, 3), []);
  assert.deepEqual(unneededJournals([1, 5, 9], 8, 4), [1]);
  assert.deepEqual(unneededJournals([1, 5, 9], 8, 8), [1, 5]);
  assert.deepEqual(unneededJournals([1, 5, 9], 4, 8), [1], 'no checkpoint holds what begins at 5');
});

test('frames of which no record is wanted are checked and left out', () => {
  const frame = (...revisions: number[]): Buffer =>
    encodeFrame(revisions.map((r) => `{"r":${r},"t":"ADDED","k":"routers","n":"a","at":0,"l":null,"o":{}}`));
  const data = Buffer.concat([frame(1, 2), frame(3), frame(4, 5), frame(6)]);
  const left = (after: number): number[] =>
    decodeJournal(data, { after, bytes: Infinity }).records.map(({ r }) => r);
  assert.deepEqual(left(0), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(left(1), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(left(2), [3, 4, 5, 6]);
  assert.deepEqual(left(4), [4, 5, 6]);
  assert.deepEqual(left(9), [6]);
  const ending = (bytes: number): number[] =>
    decodeJournal(data, { after: 0, bytes }).records.map(({ r }) => r);
  assert.deepEqual(ending(1), [6]);
  assert.deepEqual(ending(frame(6).length), [4, 5, 6]);
  assert.deepEqual(ending(data.length), [1, 2, 3, 4, 5, 6]);
  data[15] = 0;
  assert.equal(decodeJournal(data, { after: 4, bytes: Infinity }).soundBytes, 0);
});

test('the history that checkpoints once held is read from them', async (t) => {
  const here = world(t);
  const store = await here.open();
  await put(store, 'a', 1);
  await put(store, 'a', 2);
  await put(store, 'a', 3);
  const { json } = store.history('routers', 2, 1)[0]?.stored ?? assert.fail();
  await store.close();
  const name = readdirSync(here.dir).find((entry) => entry.startsWith('checkpoint-')) ?? '';
  const { Database } = await initSqlJs();
  const image = new Database(readFileSync(join(here.dir, name)));
  const event = 'INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)';
  image.run(event, [3, 'routers', 'a', 'MODIFIED', Date.now(), json, null]);
  image.run(event, [4, 'routers', 'a', 'MODIFIED', Date.now(), '', '{"n":"2"}']);
  image.run("UPDATE meta SET value = 2 WHERE key = 'floor'");
  const older = image.export();
  image.close();
  for (const entry of readdirSync(here.dir)) rmSync(join(here.dir, entry));
  const digest = (await imageDigest(older)).slice(0, 16);
  writeFileSync(join(here.dir, `checkpoint-0000000000000004-${digest}.db`), older);
  const next = await here.open();
  assert.equal(next.floor, 2);
  const [second, third] = next.history('routers', 2, 10);
  assert.equal(second?.stored.json, json);
  assert.equal(third?.stored, next.get('routers', 'a'));
  assert.deepEqual(third?.previousLabels, { n: '2' });
  await put(next, 'a', 4);
  await next.close();
  const last = await here.open();
  assert.deepEqual(revisions(last), [5], 'what only the old checkpoint held is gone with it');
  await last.close();
});
