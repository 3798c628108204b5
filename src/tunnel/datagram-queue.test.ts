import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatagramQueue } from './datagram-queue.ts';

test('datagrams leave in the order they came', () => {
  const queue = new DatagramQueue<number>(3);
  for (let round = 0; round < 5; round++) {
    queue.push(round);
    queue.push(round + 100);
    assert.equal(queue.shift(), round);
    assert.equal(queue.shift(), round + 100);
  }
  assert.equal(queue.shift(), undefined);
  assert.equal(queue.dropped, 0);
});

test('a full queue drops its oldest and counts it', () => {
  const queue = new DatagramQueue<number>(3);
  for (let item = 0; item < 10; item++) queue.push(item);
  assert.equal(queue.size, 3);
  assert.equal(queue.dropped, 7);
  assert.deepEqual([queue.shift(), queue.shift(), queue.shift()], [7, 8, 9]);
});

test('what is cleared counts as dropped', () => {
  const queue = new DatagramQueue<number>(3);
  queue.push(1);
  queue.push(2);
  queue.clear();
  assert.equal(queue.size, 0);
  assert.equal(queue.dropped, 2);
  assert.equal(queue.shift(), undefined);
});
