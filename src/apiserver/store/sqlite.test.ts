import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SqliteImage } from './sqlite.ts';
import type { ObjectRow } from './sqlite.ts';

const PAGE = 4096;

function rows(count: number): ObjectRow[] {
  return Array.from({ length: count }, (_, at) => ({
    resource: 'routers',
    name: `r-${String(at).padStart(5, '0')}`,
    revision: at + 1,
    json: JSON.stringify({ at, text: 'ä'.repeat(at % 700) }),
  }));
}

async function fill(objects: readonly ObjectRow[], expectedBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const image = await SqliteImage.create(expectedBytes);
  image.control('BEGIN');
  for (const row of objects) image.putObject(row);
  image.setMeta('revision', objects.length);
  image.control('COMMIT');
  return image.take();
}

/** The file without what counts how often it was changed (file format, 1.3.6 and 1.3.19): opening it again counts, too. */
function content(file: Uint8Array): Buffer {
  return Buffer.from(file).fill(0, 24, 28).fill(0, 92, 96);
}

for (const count of [0, 1, 5, 3000]) {
  test(`an image of ${count} objects has the same content whatever was expected of its length`, async () => {
    const objects = rows(count);
    const grown = await fill(objects, 0);
    const fitting = await fill(objects, grown.length);
    const short = await fill(objects, grown.length - PAGE);
    const ample = await fill(objects, 4 * grown.length);
    for (const file of [fitting, short, ample]) assert.ok(content(file).equals(content(grown)));
    assert.equal(grown.length % PAGE, 0);
    const image = await SqliteImage.open(ample);
    assert.deepEqual(image.integrityProblems(), []);
    assert.deepEqual(image.objects(), objects);
    assert.equal(image.meta('revision'), count);
    image.close();
  });
}

test('an image that was taken is its own: what is done after it changes nothing', async () => {
  const first = await fill(rows(200), 1024 * 1024);
  const before = Buffer.from(first);
  await fill(rows(300), 1024 * 1024);
  assert.ok(Buffer.from(first).equals(before));
});

test('what is no database is refused, and nothing of it is kept', async () => {
  const MIB = 1024 * 1024;
  const before = process.memoryUsage().arrayBuffers;
  for (let at = 0; at < 50; at++)
    await assert.rejects(SqliteImage.open(Buffer.alloc(8 * MIB, 'no database')), /not a database/u);
  const kept = process.memoryUsage().arrayBuffers - before;
  assert.ok(kept < 200 * MIB, `${kept} bytes of 50 files of 8 MiB`);
});
