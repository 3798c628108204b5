/** Tests of where state lives by default. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultDataDir } from './data-dir.ts';

test('root keeps state in /var/lib, others in their XDG state directory', () => {
  assert.equal(defaultDataDir({ HOME: '/home/a' }, 0), '/var/lib/edge');
  assert.equal(defaultDataDir({ HOME: '/home/a' }, 1000), '/home/a/.local/state/edge');
  assert.equal(defaultDataDir({ HOME: '/home/a', XDG_STATE_HOME: '/s' }, 1000), '/s/edge');
});
