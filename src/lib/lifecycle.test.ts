/** Tests of within(): in time, late, failed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from './lifecycle.ts';

test('says that a promise settled in time', async () => {
  assert.equal(await within(Promise.resolve('x'), 1000), true);
});

test('gives up on a promise that does not settle', async () => {
  assert.equal(await within(new Promise(() => {}), 5), false);
});

test('passes a failure on', async () => {
  await assert.rejects(within(Promise.reject(new Error('why')), 1000), { message: 'why' });
});

test('leaves no timer behind that would hold the process', async () => {
  await within(Promise.resolve(), 60_000);
  assert.ok(!process.getActiveResourcesInfo().includes('Timeout'));
});
