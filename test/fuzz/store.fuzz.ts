/**
 * Damages the files of a store and recovers from them: what comes back is what was written, as far as it goes, or the start is
 * refused; and it goes all the way unless the very end was hit. FUZZ_SEED repeats a run, FUZZ_MS sets its time (3000).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { saveCheckpoint } from '../../src/apiserver/store/checkpoint.ts';
import { DEFAULT_HISTORY } from '../../src/apiserver/store/history.ts';
import { Journal } from '../../src/apiserver/store/journal.ts';
import { decodeJournal, encodeFrame, encodeMark } from '../../src/apiserver/store/journal-frames.ts';
import { recoverStore } from '../../src/apiserver/store/recover.ts';
import { encodeState } from '../../src/apiserver/store/state.ts';
import { StoredObject } from '../../src/apiserver/store/store.ts';
import { errorCode } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { below, fuzz, pick } from '../support/fuzz.ts';
import { memoryFiles } from '../support/memory-files.ts';
import type { MemoryDirectory } from '../support/memory-files.ts';

/** The object of a revision; every seventh change is a deletion. */
const nameAt = (revision: number): string => `r${revision % 5}`;
const typeAt = (revision: number): string => (revision % 7 === 0 ? 'DELETED' : 'MODIFIED');
const jsonAt = (revision: number): string =>
  JSON.stringify({ metadata: { name: nameAt(revision), resourceVersion: String(revision) }, o: 'ÄÖ,"o":' });
const recordAt = (revision: number): string =>
  `{"r":${revision},"t":"${typeAt(revision)}","k":"routers","n":"${nameAt(revision)}","at":${revision},"l":{"o":"1"},"o":${jsonAt(revision)}}`;

/** The objects after the change with that revision, by name. */
function stateAt(revision: number): Map<string, string> {
  const state = new Map<string, string>();
  for (let at = 1; at <= revision; at++) {
    if (typeAt(at) === 'DELETED') state.delete(nameAt(at));
    else state.set(nameAt(at), jsonAt(at));
  }
  return state;
}

/** Journals from 1, 11, 21, 31 and 41 on; the checkpoint holds the first three. */
const CHECKPOINT = 30;
const NEWEST = 46;
const STARTS = [1, 11, 21, 31, 41];
const DIR = '/store';

async function makeStore(): Promise<MemoryDirectory> {
  const contents: MemoryDirectory = new Map();
  const files = memoryFiles(contents);
  let revision = 0;
  for (const [at, start] of STARTS.entries()) {
    const journal = await Journal.open(files, DIR, start);
    const last = (STARTS[at + 1] ?? NEWEST + 1) - 1;
    while (revision < last) {
      const records = Array.from({ length: Math.min(2, last - revision) }, () => recordAt(++revision));
      await journal.append(records);
    }
    if (last < NEWEST) await journal.close();
  }
  const objects = [...stateAt(CHECKPOINT)].map(([name, json]) => {
    const { metadata } = JSON.parse(json) as { metadata: { resourceVersion: string } };
    return new StoredObject('routers', name, Number(metadata.resourceVersion), json);
  });
  const image = await encodeState({ revision: CHECKPOINT, objects });
  await saveCheckpoint({ files, dir: DIR, log: silentLogger }, CHECKPOINT, image, () => 0);
  return contents;
}

function damage(data: Buffer): { data: Buffer; isCut: boolean } {
  const changed = Buffer.from(data);
  const at = below(data.length);
  switch (below(4)) {
    case 0:
      changed[at] = (changed[at] ?? 0) ^ (1 << below(8));
      return { data: changed, isCut: false };
    case 1:
      changed.fill(0, at, Math.min(changed.length, at + 1 + below(200)));
      return { data: changed, isCut: false };
    case 2:
      return { data: changed.subarray(0, at), isCut: true };
    default:
      return {
        data: Buffer.concat([changed, Buffer.alloc(1 + below(50), pick([0, 1, 0x45]))]),
        isCut: false,
      };
  }
}

test('a store of which nothing is damaged comes back whole', async () => {
  const whole = await makeStore();
  const found = await recoverStore(memoryFiles(new Map(whole)), DIR, DEFAULT_HISTORY, silentLogger);
  assert.equal(found.revision, NEWEST);
  assert.equal(found.history.floor, 0);
});

test('damaged stores', async () => {
  const whole = await makeStore();
  const checkpoint = [...whole.keys()].find((name) => name.startsWith('checkpoint-')) ?? '';
  const journals = [...whole.keys()].filter((name) => name.startsWith('journal-')).sort();
  const kept = new Set(journals.slice(0, 3));
  const newest = journals.at(-1) ?? '';
  await fuzz('damaged stores', async () => {
    const contents: MemoryDirectory = new Map(whole);
    const hit = new Set<string>();
    let isCut = false;
    for (let count = 1 + below(2); count > 0; count--) {
      const name = pick([...journals, ...kept, newest, ...(below(20) === 0 ? [checkpoint] : [])]);
      hit.add(name);
      if (kept.has(name) && below(5) === 0) {
        contents.delete(name);
        continue;
      }
      const damaged = damage(contents.get(name) ?? Buffer.alloc(1));
      contents.set(name, damaged.data);
      isCut ||= name === newest && damaged.isCut;
    }
    const before = new Map(contents);
    const isHarmless = [...hit].every((name) => kept.has(name));
    let found: Awaited<ReturnType<typeof recoverStore>>;
    try {
      found = await recoverStore(memoryFiles(contents), DIR, DEFAULT_HISTORY, silentLogger);
    } catch (err) {
      assert.equal(errorCode(err), 'EDGE_ERR_STORE_DAMAGED', String(err));
      assert.equal(isHarmless, false, 'only the history was damaged');
      assert.deepEqual(contents, before, 'a refused start changes nothing');
      return;
    }
    const { revision, history, objects } = found;
    if (!hit.has(newest)) assert.equal(revision, NEWEST);
    // the last file cut shorter looks as if nothing more had been written; else only its last frame may be unmarked
    else assert.ok(revision >= (isCut ? 40 : NEWEST - 2), `revision ${revision}`);
    const list = objects.list('routers');
    assert.deepEqual(new Map(list.map(({ name, json }) => [name, json])), stateAt(revision));
    const events = history.after('routers', history.floor, 1000);
    assert.equal(events.length, revision - history.floor);
    for (const [at, { type, stored }] of events.entries()) {
      const expected = history.floor + 1 + at;
      assert.deepEqual([stored.revision, type, stored.json], [expected, typeAt(expected), jsonAt(expected)]);
    }
  });
});

test('journals of any bytes', async () => {
  await fuzz('journals', () => {
    const frames: Buffer[] = [];
    let length = 0;
    for (let revision = 1, count = below(6); count > 0; count--) {
      const frame = encodeFrame(Array.from({ length: 1 + below(3) }, () => recordAt(revision++)));
      frames.push(frame, ...(below(8) === 0 ? [] : [encodeMark(length)]));
      length = Buffer.concat(frames).length;
    }
    let data: Buffer = Buffer.concat(frames);
    for (let count = below(3); count > 0 && data.length > 0; count--) data = damage(data).data;
    const { records, soundBytes, tornBytes } = decodeJournal(data);
    for (const [at, { r, n, json }] of records.entries())
      assert.deepEqual([r, n, json], [at + 1, nameAt(at + 1), jsonAt(at + 1)]);
    assert.ok(soundBytes + tornBytes <= data.length);
    const after = below(8);
    const left = decodeJournal(data, { after, bytes: pick([Infinity, below(1000)]) });
    assert.equal(left.soundBytes, soundBytes);
    assert.deepEqual(left.records, records.slice(records.length - left.records.length));
  });
});
