/** A file is followed: read when it changed and rests, at once when asked to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../lib/log.ts';
import { createFileSource } from './file-source.ts';

function setup(files: Record<string, string | undefined>) {
  const clock = new FakeClock();
  const state = { changes: 0, warnings: 0 };
  const source = createFileSource(
    'frps.toml',
    { token: undefined, socketPath: undefined },
    {
      clock,
      log: { ...silentLogger, warn: () => void state.warnings++ },
      secrets: {
        readFile(path) {
          const text = files[path];
          if (text === undefined) throw new Error(`cannot read ${path}`);
          return text;
        },
        readEnv: () => undefined,
        stamp: (path) => files[path] ?? 'absent',
      },
    },
  );
  source.onChange(() => void state.changes++);
  const read = () => {
    const reading = source.read();
    assert.ok(reading.state === 'present');
    return reading;
  };
  return { clock, files, source, read, state };
}

test('a changed file is another reading once it has rested', async () => {
  const { clock, files, read, state, source } = setup({ 'frps.toml': 'bindPort = 7001' });
  const first = read();
  assert.equal(first.load().server.bindPort, 7001);
  assert.equal(read().key, first.key);
  files['frps.toml'] = '';
  assert.equal(read().key, first.key);
  files['frps.toml'] = 'bindPort = 7002';
  assert.equal(read().key, first.key);
  await clock.advanceAsync(500);
  assert.equal(state.changes, 1);
  const second = read();
  assert.notEqual(second.key, first.key);
  assert.equal(second.load().server.bindPort, 7002);
  await source.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('a refresh takes the file as it is', () => {
  const { files, read, source } = setup({ 'frps.toml': 'bindPort = 7001' });
  const first = read();
  files['frps.toml'] = 'bindPort = 7002';
  source.refresh();
  assert.notEqual(read().key, first.key);
});

test('files that the file names count too, also one that is missing', () => {
  const text = 'auth.tokenSource = { type = "file", file = { path = "/run/token" } }';
  const { files, read } = setup({ 'frps.toml': text });
  assert.throws(() => read().load(), { code: 'EDGE_ERR_ROUTER_CONFIG' });
  const missing = read().key;
  files['/run/token'] = 'secret';
  const found = read();
  assert.notEqual(found.key, missing);
  assert.equal(found.load().server.token, 'secret');
});

test('log settings that changed are told once they are read', () => {
  const { files, read, source, state } = setup({ 'frps.toml': '' });
  read().load();
  files['frps.toml'] = 'log.level = "debug"';
  source.refresh();
  read().load();
  assert.equal(state.warnings, 1);
});

test('nobody is reported to', () => {
  const { source } = setup({ 'frps.toml': '' });
  assert.equal(source.status, undefined);
});
