/** Backups, restores and checks: consistent at one revision, verified before use, and never a step back in revisions. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { waitFor } from '../../../test/support/wait.ts';
import type { KubeObject } from '../../api/meta.ts';
import { systemClock } from '../../lib/clock.ts';
import { errorCode } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { describeSnapshot, readBackup } from './backup.ts';
import { checkStore } from './check.ts';
import { DEFAULT_HISTORY } from './history.ts';
import { openStore } from './durable-store.ts';
import type { DurableStore } from './durable-store.ts';
import { systemFiles } from './files.ts';
import type { FileLayer } from './files.ts';

const roots: string[] = [];
after(() => Promise.all(roots.map((root) => rm(root, { recursive: true, force: true }))));

async function makeDirectory(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'edge-backup-'));
  roots.push(root);
  return join(root, 'store');
}

function open(dir: string, files: FileLayer = systemFiles, journalBytes = 1 << 24): Promise<DurableStore> {
  return openStore(
    { dir, journalBytes, history: DEFAULT_HISTORY },
    { files, clock: systemClock, log: silentLogger },
  );
}

function put(store: DurableStore, name: string, value: unknown) {
  const object: KubeObject = {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { value },
  };
  return store.write('routers', name, () => ({ action: 'put', object }));
}

async function backup(store: DurableStore): Promise<Buffer> {
  const snapshot = await store.snapshot();
  const header = await describeSnapshot(snapshot, 'node-1', new Date(0));
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), snapshot.image]);
}

async function crashCopy(dir: string): Promise<string> {
  const copy = await makeDirectory();
  await systemFiles.makeDirectory(copy);
  for (const name of readdirSync(dir))
    if (name !== 'lock') writeFileSync(join(copy, name), readFileSync(join(dir, name)));
  return copy;
}

test('a backup taken between writes holds one revision, and a restore brings exactly that back', async () => {
  const dir = await makeDirectory();
  const store = await open(dir);
  await Promise.all(Array.from({ length: 20 }, (_, at) => put(store, `r${at}`, at)));
  const writes = Array.from({ length: 50 }, (_, at) => put(store, `late-${at}`, at));
  const data = await backup(store);
  await Promise.all(writes);
  const { header, objects } = await readBackup(data);
  assert.equal(objects.length, header.objects);
  assert.ok(objects.every((row) => row.revision <= header.revision));
  assert.ok([20, 70].includes(objects.length), 'all of a batch or nothing of it');
  const before = store.revision;
  const revision = await store.restore(objects, header.revision);
  assert.ok(revision > before, 'revisions go on rising');
  assert.equal(store.list('routers').length, objects.length);
  assert.throws(
    () => store.history('routers', before, 1),
    (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_COMPACTED',
  );
  const versions = store.list('routers').map((stored) => Number(stored.object.metadata.resourceVersion));
  assert.ok(
    versions.every((version) => version > before),
    'no old version can be taken for a new one',
  );
  assert.equal(new Set(versions).size, versions.length);
  await put(store, 'after', 1);
  const crashed = await open(await crashCopy(dir));
  assert.equal(crashed.revision, revision + 1);
  assert.equal(crashed.list('routers').length, objects.length + 1);
  await crashed.close();
  await store.close();
});

test('a restore that crashes anywhere leaves the old state or the new one', async () => {
  const dir = await makeDirectory();
  const copies: string[] = [];
  const files: FileLayer = {
    ...systemFiles,
    async replace(path, data) {
      copies.push(await crashCopy(dir));
      await systemFiles.replace(path, data);
      copies.push(await crashCopy(dir));
    },
    async remove(path) {
      await systemFiles.remove(path);
      copies.push(await crashCopy(dir));
    },
  };
  const store = await open(dir, files);
  await put(store, 'a', 1);
  const { objects, header } = await readBackup(await backup(store));
  await put(store, 'a', 2);
  await put(store, 'b', 2);
  await store.restore(objects, header.revision);
  copies.push(await crashCopy(dir));
  await store.close();
  const counts = [];
  for (const copy of copies) {
    const recovered = await open(copy);
    counts.push(recovered.list('routers').length);
    await put(recovered, 'later', 1);
    await recovered.close();
  }
  assert.equal(counts[0], 2);
  assert.equal(counts.at(-1), 1);
  assert.deepEqual(
    [...counts].sort((a, b) => b - a),
    counts,
    'once new it stays new',
  );
});

test('a restore that the disk refuses changes nothing', async () => {
  const fault = { isOn: false };
  const files: FileLayer = {
    ...systemFiles,
    async replace(path, data) {
      if (fault.isOn) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      await systemFiles.replace(path, data);
    },
  };
  const store = await open(await makeDirectory(), files);
  await put(store, 'a', 1);
  const { objects } = await readBackup(await backup(store));
  await put(store, 'b', 1);
  fault.isOn = true;
  await assert.rejects(
    store.restore(objects, 0),
    (err: unknown) => errorCode(err) === 'EDGE_ERR_STORE_WRITE',
  );
  assert.equal(store.list('routers').length, 2);
  await put(store, 'c', 1);
  assert.equal(store.revision, 4);
  fault.isOn = false;
  await store.close();
});

test('a backup that is cut short or changed anywhere is refused', async () => {
  const store = await open(await makeDirectory());
  for (let at = 0; at < 5; at++) await put(store, `r${at}`, 'x'.repeat(100));
  const data = await backup(store);
  await store.close();
  const refused = (err: unknown): boolean => errorCode(err) === 'EDGE_ERR_STORE_BACKUP';
  const start = data.indexOf('\n') + 1;
  for (const length of [0, 1, start - 1, start, start + 1, data.length - 1])
    await assert.rejects(readBackup(data.subarray(0, length)), refused, `cut at ${length}`);
  for (let at = start; at < data.length; at += 97) {
    const flipped = Buffer.from(data);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    await assert.rejects(readBackup(flipped), refused, `flip at ${at}`);
  }
  await assert.rejects(readBackup(Buffer.concat([data, Buffer.from('x')])), refused);
  await assert.rejects(readBackup(Buffer.from('{"kind":"Router"}\n')), refused);
});

test('a check finds a sound store sound, names what is damaged, and never writes', async () => {
  const dir = await makeDirectory();
  const first = await open(dir);
  for (let at = 0; at < 10; at++) await put(first, `r${at}`, at);
  await first.close();
  const second = await open(dir);
  await put(second, 'r1', 'changed');
  const copy = await crashCopy(dir);
  await second.close();
  const files: FileLayer = {
    ...systemFiles,
    open: () => Promise.reject(new Error('opened for writing')),
    replace: () => Promise.reject(new Error('replaced')),
    remove: () => Promise.reject(new Error('removed')),
  };
  const sound = await checkStore(files, copy);
  assert.deepEqual(sound.problems, []);
  assert.match(sound.lines.join('\n'), /checkpoint: .*revision 11, 10 objects/u);
  assert.match(sound.lines.join('\n'), /newest acknowledged revision: 12/u);
  const journals = readdirSync(copy).filter((name) => name.startsWith('journal-'));
  const journal = journals.sort().at(-1) ?? '';
  writeFileSync(join(copy, journal), 'garbage', { flag: 'a' });
  const torn = await checkStore(files, copy);
  assert.deepEqual(torn.problems, []);
  assert.match(torn.lines.join('\n'), /\d+ bytes of a write that was never acknowledged/u);
  const checkpoint = readdirSync(copy).find((name) => name.startsWith('checkpoint-')) ?? '';
  const image = readFileSync(join(copy, checkpoint));
  image[1000] = (image[1000] ?? 0) ^ 1;
  writeFileSync(join(copy, checkpoint), image);
  const damaged = await checkStore(files, copy);
  assert.equal(damaged.problems.length, 1);
  assert.match(damaged.problems[0] ?? '', /damaged checkpoint/u);
});

test('while checkpoints fail the journal grows to its bound and no further, and recovers when they work', async () => {
  let now = 0;
  const fault = { isOn: true };
  const files: FileLayer = {
    ...systemFiles,
    async replace(path, data) {
      if (fault.isOn && path.includes('checkpoint-')) throw Object.assign(new Error('EIO'), { code: 'EIO' });
      await systemFiles.replace(path, data);
    },
  };
  const dir = await makeDirectory();
  const clock = { ...systemClock, now: () => now };
  const store = await openStore(
    { dir, journalBytes: 4096, history: DEFAULT_HISTORY },
    { files, clock, log: silentLogger },
  );
  let refusal: unknown;
  for (let at = 0; at < 200 && refusal === undefined; at++) {
    now += 1000;
    refusal = await put(store, 'a', 'x'.repeat(500)).then(
      () => undefined,
      (err: unknown) => err,
    );
  }
  assert.equal(errorCode(refusal), 'EDGE_ERR_STORE_WRITE');
  assert.ok(store.sizes.uncheckpointedBytes < 4096 * 10, String(store.sizes.uncheckpointedBytes));
  fault.isOn = false;
  await waitFor(
    () => {
      now += 60_000;
      return put(store, 'a', 'back');
    },
    { what: 'writes that work again once a checkpoint could be written' },
  );
  await store.close();
});
