import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteQueue } from './byte-queue.ts';

test('gives back what was pushed, whatever the pieces', () => {
  const bytes = Buffer.from(Array.from({ length: 500 }, (_, at) => at & 0xff));
  for (const piece of [1, 2, 7, 100, 499, 500]) {
    for (const taken of [1, 3, 64, 500]) {
      const queue = new ByteQueue();
      const out: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += piece) {
        queue.push(bytes.subarray(at, at + piece));
        while (queue.length >= taken) out.push(queue.take(taken));
      }
      out.push(queue.takeAll());
      assert.equal(queue.length, 0);
      assert.deepEqual(Buffer.concat(out), bytes, `pieces of ${piece}, taken by ${taken}`);
    }
  }
});

test('a slice that was given out is not overwritten by what comes later', () => {
  const queue = new ByteQueue();
  queue.push(Buffer.from('a'));
  queue.push(Buffer.from('bcd'));
  const slice = queue.take(2);
  for (let count = 0; count < 100; count++) queue.push(Buffer.from('x'));
  assert.equal(slice.toString(), 'ab');
  assert.equal(queue.peek(3).toString(), 'cdx');
});

test('a look ahead shows what is there and takes nothing', () => {
  const queue = new ByteQueue();
  assert.equal(queue.peek(4).length, 0);
  queue.push(Buffer.from('abc'));
  assert.equal(queue.peek(4).toString(), 'abc');
  assert.equal(queue.length, 3);
});
