/** Tests of the file watch: edits, symlink swaps, files that come and go, the end. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { waitFor } from '../../test/support/wait.ts';
import { createFileWatch } from './file-watch.ts';

function setUp(t: TestContext) {
  const clock = new FakeClock();
  let changes = 0;
  const watch = createFileWatch(clock, () => void changes++);
  t.after(() => watch.stop());
  /** Lets periods pass until the number of changes is reached. */
  const reaches = (count: number) =>
    waitFor(
      () => {
        clock.advance(1000);
        return changes === count;
      },
      { what: `${count} changes` },
    );
  return { clock, watch, reaches, changes: () => changes };
}

test('an edited file is noticed once, files together', async (t) => {
  const dir = tempDir(t);
  const paths = [join(dir, 'a'), join(dir, 'b')];
  for (const path of paths) writeFileSync(path, 'one');
  const { watch, reaches, clock, changes } = setUp(t);
  await watch.watch(paths);
  await clock.advanceAsync(5000);
  assert.equal(changes(), 0);
  for (const path of paths) writeFileSync(path, 'longer');
  await reaches(1);
});

test('a swapped symlink on the way to the file is noticed', async (t) => {
  const dir = tempDir(t);
  for (const version of ['v1', 'v2']) {
    mkdirSync(join(dir, version));
    writeFileSync(join(dir, version, 'file'), 'same size');
  }
  symlinkSync('v1', join(dir, '..data'));
  symlinkSync('..data/file', join(dir, 'file'));
  const { watch, reaches } = setUp(t);
  await watch.watch([join(dir, 'file')]);
  symlinkSync('v2', join(dir, 'next'));
  renameSync(join(dir, 'next'), join(dir, '..data'));
  await reaches(1);
});

test('a file that goes and comes back is noticed both times', async (t) => {
  const path = join(tempDir(t), 'a');
  writeFileSync(path, 'one');
  const { watch, reaches } = setUp(t);
  await watch.watch([path]);
  rmSync(path);
  await reaches(1);
  writeFileSync(path, 'two');
  await reaches(2);
});

test('a file that is being written in place is left alone until it rests', async (t) => {
  const path = join(tempDir(t), 'a');
  writeFileSync(path, 'services: []');
  const { watch, clock, changes } = setUp(t);
  await watch.watch([path]);
  writeFileSync(path, '');
  clock.advance(1000);
  for (let size = 1; size <= 4; size++) {
    await waitFor(() => clock.pendingTimers === 2, { what: 'another look' });
    assert.equal(changes(), 0);
    writeFileSync(path, 'x'.repeat(size));
    clock.advance(50);
  }
  await waitFor(
    () => {
      clock.advance(50);
      return changes() === 1;
    },
    { what: 'the change' },
  );
});

test('without files, or after the end, nothing runs', async (t) => {
  const path = join(tempDir(t), 'a');
  const { clock, watch } = setUp(t);
  await watch.watch([]);
  assert.equal(clock.pendingTimers, 0);
  await watch.watch([path]);
  assert.equal(clock.pendingTimers, 1);
  watch.stop();
  assert.equal(clock.pendingTimers, 0);
  await watch.watch([path]);
  assert.equal(clock.pendingTimers, 0);
});
