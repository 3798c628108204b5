/** Tests of the history: what it gives, and what goes when it is too much or too old. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History } from './history.ts';
import type { HistoryLimits } from './history.ts';
import { StoredObject } from './store.ts';

const LIMITS: HistoryLimits = { events: 100, bytes: 10_000, ageMs: 1000, minEvents: 10 };

function add(history: History, revision: number, at: number, resource = 'routers', length = 10): void {
  const stored = new StoredObject(resource, `r${revision}`, revision, 'x'.repeat(length));
  history.add({ type: 'ADDED', stored, previousLabels: undefined }, at);
}

function revisions(history: History, after: number, resource = 'routers', limit = 1000): number[] {
  return history.after(resource, after, limit).map(({ stored }) => stored.revision);
}

test('gives the changes of a resource above a revision, oldest first, no more than asked for', () => {
  const history = new History(LIMITS, 4);
  for (const revision of [5, 6, 7, 8, 9]) add(history, revision, 0, revision === 7 ? 'others' : 'routers');
  assert.deepEqual(revisions(history, 4), [5, 6, 8, 9]);
  assert.deepEqual(revisions(history, 6), [8, 9]);
  assert.deepEqual(revisions(history, 4, 'others'), [7]);
  assert.deepEqual(revisions(history, 4, 'routers', 2), [5, 6]);
  assert.deepEqual(revisions(history, 9), []);
  assert.deepEqual(history.size, { events: 5, bytes: 50 });
});

test('too many events go down to a tenth below the limit, and the floor says up to where', () => {
  const history = new History(LIMITS, 0);
  for (let revision = 1; revision <= 101; revision++) add(history, revision, 0);
  history.compact(0);
  assert.deepEqual(history.size, { events: 90, bytes: 900 });
  assert.equal(history.floor, 11);
  assert.equal(revisions(history, 11)[0], 12);
  history.compact(0); // at the limit nothing more goes
  assert.equal(history.floor, 11);
});

test('too many bytes go the same way', () => {
  const history = new History(LIMITS, 0);
  for (let revision = 1; revision <= 11; revision++) add(history, revision, 0, 'routers', 1000);
  history.compact(0);
  assert.deepEqual(history.size, { events: 9, bytes: 9000 });
  assert.equal(history.floor, 2);
});

test('age removes events, but never the last few', () => {
  const history = new History(LIMITS, 0);
  for (let revision = 1; revision <= 30; revision++) add(history, revision, revision * 100);
  history.compact(2050); // 1 to 10 are more than a second old
  assert.equal(history.floor, 10);
  history.compact(1e9);
  assert.equal(history.size.events, 10);
  assert.deepEqual(revisions(history, 20).slice(0, 1), [21]);
});

test('goes on for long without keeping what was dropped', () => {
  const history = new History(LIMITS, 0);
  for (let revision = 1; revision <= 20_000; revision++) {
    add(history, revision, 0);
    history.compact(0);
  }
  assert.ok(history.size.events >= 90 && history.size.events <= 100);
  assert.equal(revisions(history, 0)[0], history.floor + 1);
  assert.equal(revisions(history, 19_990).length, 10);
});
