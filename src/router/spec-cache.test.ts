/** The last spec is on disk, whole, private and without secrets. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import type { RouterSpec } from '../api/gen/types.ts';
import { silentLogger } from '../lib/log.ts';
import { createSpecCache, parseCachedSpec } from './spec-cache.ts';

const SPEC: RouterSpec = {
  frps: {
    bindPort: 7000,
    auth: { method: 'token', tokenFrom: { file: '/run/token' } },
    dashboardPasswordFrom: { env: 'PASSWORD' },
    transport: { tls: { force: true } },
  },
  loadBalancing: { policy: 'random' },
};

test('a kept spec is read back, from a file that only its owner reads', async (t) => {
  const dir = tempDir(t);
  const cache = createSpecCache(dir, 'node-1', silentLogger);
  assert.equal(await cache.load(), undefined);
  cache.save(SPEC);
  await cache.settled();
  assert.deepEqual(await createSpecCache(dir, 'node-1', silentLogger).load(), SPEC);
  assert.equal(statSync(join(dir, 'router-node-1.json')).mode & 0o777, 0o600);
});

test('what could be a secret is not kept', async (t) => {
  const dir = tempDir(t);
  const cache = createSpecCache(dir, 'node-1', silentLogger);
  const frps = {
    ...SPEC.frps,
    dashboardPassword: 'hunter2',
    auth: { token: 'hunter2', tokenFrom: { file: '/f', value: 'hunter2' } },
  };
  cache.save({ ...SPEC, frps });
  await cache.settled();
  assert.ok(!readFileSync(join(dir, 'router-node-1.json'), 'utf8').includes('hunter2'));
});

test('a dropped spec is gone, and damage is ignored', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'router-node-1.json');
  const cache = createSpecCache(dir, 'node-1', silentLogger);
  cache.save(SPEC);
  cache.drop();
  cache.drop();
  await cache.settled();
  assert.equal(existsSync(path), false);
  writeFileSync(path, '{"version":1');
  assert.equal(await cache.load(), undefined);
});

test('a folder that cannot be written is told and nothing else', async (t) => {
  const dir = join(tempDir(t), 'file');
  writeFileSync(dir, '');
  let warnings = 0;
  const cache = createSpecCache(dir, 'node-1', { ...silentLogger, warn: () => void warnings++ });
  cache.save(SPEC);
  await cache.settled();
  assert.equal(warnings, 1);
});

for (const text of [
  '',
  '[]',
  '{"version":2,"spec":{"frps":{}}}',
  '{"version":1}',
  '{"version":1,"spec":{"frps":1}}',
]) {
  test(`${text === '' ? 'an empty text' : text} is no kept spec`, () => {
    assert.throws(() => parseCachedSpec(text));
  });
}
