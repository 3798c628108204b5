/** Recordings on a disk: named so that they cannot leave their directory, bounded, the oldest removed first. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseCast } from '../../lib/asciicast.ts';
import { silentLogger } from '../../lib/log.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { mountTmpfs } from '../../../test/support/small-disk.ts';
import { tempDir } from '../../../test/support/temp-dir.ts';
import type { Cleanup } from '../../../test/support/temp-dir.ts';
import { Recordings } from './recordings.ts';
import type { RecordingLimits } from './recordings.ts';

const LIMITS: RecordingLimits = { maxBytes: 10_000, maxTotalBytes: 100_000, maxCount: 3 };

function start(t: Cleanup, limits: Partial<RecordingLimits> = {}) {
  const dir = join(tempDir(t), 'recordings');
  const clock = new FakeClock();
  const recordings = new Recordings(dir, { clock, log: silentLogger, limits: { ...LIMITS, ...limits } });
  let serial = 0;
  const record = async (text: string, node = 'node-7'): Promise<string> => {
    clock.advance(1000);
    const id = String(serial++).padStart(8, '0');
    const recorder = await recordings.start({ node, user: 'root', id, size: { cols: 80, rows: 24 } });
    recorder.output(Buffer.from(text));
    recorder.resize({ cols: 100, rows: 30 });
    await recorder.end();
    return recorder.name;
  };
  return { dir, recordings, record };
}

test('a session is written for its owner only, listed and read back', async (t) => {
  const { dir, recordings, record } = start(t);
  assert.deepEqual(await recordings.list(), []);
  const name = await record('hello');
  assert.equal(name, '20260101T000001.000Z-node-7-00000000.cast');
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600);
  const text = readFileSync(join(dir, name), 'utf8');
  const { header, events } = parseCast(text);
  assert.deepEqual(header, { width: 80, height: 24, timestamp: 1_767_225_601, title: 'root@node-7' });
  assert.deepEqual(
    events.map(({ code, data }) => `${code} ${data}`),
    ['o hello', 'r 100x30'],
  );
  assert.equal(await recordings.read(name), text);
  assert.deepEqual(
    (await recordings.list()).map((entry) => [entry.name, entry.bytes]),
    [[name, Buffer.byteLength(text)]],
  );
});

test('names that are none of a recording read nothing', async (t) => {
  const { dir, recordings, record } = start(t);
  const name = await record('x');
  writeFileSync(join(dir, 'secret.txt'), 'secret');
  for (const wrong of [
    'secret.txt',
    `../recordings/${name}`,
    `./${name}`,
    '',
    '..',
    `${name}\0`,
    `x/${name}`,
  ])
    assert.equal(await recordings.read(wrong), undefined, wrong);
  assert.match(
    await record('x', '../../etc/passwd'),
    /^20260101T000002\.000Z-..-..-etc-passwd-00000001\.cast$/u,
  );
  assert.equal((await recordings.list()).length, 2);
});

test('the oldest go when there are too many or they are too long', async (t) => {
  const many = start(t);
  for (let count = 0; count < 5; count++) await many.record('x');
  const left = readdirSync(many.dir).sort();
  assert.equal(left.length, 3);
  assert.match(left[0] ?? '', /00000002\.cast$/u);

  const long = start(t, { maxBytes: 4000, maxTotalBytes: 10_000, maxCount: 100 });
  for (let count = 0; count < 6; count++) await long.record('y'.repeat(3000));
  const total = readdirSync(long.dir).reduce((sum, name) => sum + statSync(join(long.dir, name)).size, 0);
  assert.ok(total <= 10_000, String(total));
  assert.ok(readdirSync(long.dir).length >= 2);
});

test('a recording that cannot be written is refused before the session begins', async (t) => {
  const { dir, recordings } = start(t);
  writeFileSync(dir, 'a file where the directory should be');
  const about = { node: 'n', user: 'u', id: '00000000', size: { cols: 1, rows: 1 } };
  await assert.rejects(recordings.start(about), { code: 'EDGE_ERR_TERMINAL_RECORDING' });
});

test('a disk that is full ends the recording, not the session, and the next one has room again', async (t) => {
  const mounted = mountTmpfs(t, 64 * 1024);
  if ('why' in mounted) {
    t.skip(mounted.why);
    return;
  }
  const errors: string[] = [];
  const log = {
    ...silentLogger,
    error: (text: string, fields?: object) => errors.push(`${text} ${JSON.stringify(fields)}`),
  };
  const recordings = new Recordings(mounted.dir, { clock: new FakeClock(), log });
  const about = { node: 'n', user: 'u', size: { cols: 80, rows: 24 } };
  const recorder = await recordings.start({ ...about, id: '00000000' });
  for (let count = 0; count < 50; count++) {
    recorder.output(Buffer.from(`${count} ${'z'.repeat(4000)}\r\n`));
    await new Promise(setImmediate);
  }
  await recorder.end();
  assert.equal(errors.length, 1);
  assert.match(errors[0] ?? '', /a recording ends early .*no space left on device/u);
  const kept = readFileSync(join(mounted.dir, recorder.name), 'utf8');
  assert.ok(kept.length > 32 * 1024, String(kept.length));
  assert.ok(parseCast(kept).events.length > 5, 'what was written before can be replayed');
  rmSync(join(mounted.dir, recorder.name));
  const next = await recordings.start({ ...about, id: '00000001' });
  next.output(Buffer.from('again'));
  await next.end();
  assert.match(readFileSync(join(mounted.dir, next.name), 'utf8'), /again/u);
});
