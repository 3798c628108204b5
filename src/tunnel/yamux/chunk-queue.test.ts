import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../../test/support/random.ts';
import { readBuffers, withLoan } from '../read-buffers.ts';
import { ChunkQueue } from './chunk-queue.ts';

test('gives back the bytes in order, whatever the pieces that come and go', () => {
  const random = createRandom(5);
  const below = (limit: number): number => Math.floor(random() * limit);
  const queue = new ChunkQueue();
  let sent = 0;
  let taken = 0;
  for (let round = 0; round < 20_000; round++) {
    if (random() < 0.5) {
      const chunk = Buffer.allocUnsafe(1 + below(random() < 0.05 ? 40_000 : 40));
      for (let at = 0; at < chunk.length; at++) chunk[at] = (sent + at) % 251;
      queue.push(chunk);
      sent += chunk.length;
    } else if (queue.bytes > 0) {
      queue.take(1 + below(1000), (chunk) => {
        for (const byte of chunk) {
          assert.equal(byte, taken % 251);
          taken += 1;
        }
      });
    }
    assert.equal(queue.bytes, sent - taken);
  }
});

test('bytes that come one by one are few pieces', () => {
  const queue = new ChunkQueue();
  const bytes = 256 * 1024;
  for (let at = 0; at < bytes; at++) queue.push(Buffer.of(at % 256));
  let pieces = 0;
  while (queue.bytes > 0) {
    queue.take(Infinity, () => {
      pieces += 1;
    });
  }
  assert.ok(pieces <= 24, `${pieces} pieces`);
});

test('what was handed out is never written over by what comes later', () => {
  const queue = new ChunkQueue();
  queue.push(Buffer.from('abc'));
  queue.push(Buffer.from('def'));
  const seen: Buffer[] = [];
  queue.take(2, (chunk) => void seen.push(chunk));
  queue.push(Buffer.from('ghi'));
  queue.take(Infinity, (chunk) => void seen.push(chunk));
  queue.push(Buffer.from('xyz'));
  assert.deepEqual(seen.map(String), ['ab', 'cdefghi']);
});

test('a large chunk keeps its loan until its last part is taken, and a buffer that nobody answers for is not used again', () => {
  for (const answer of [true, undefined]) {
    const queue = new ChunkQueue();
    const { buffer, loan } = readBuffers.borrow();
    const idle = readBuffers.idle;
    withLoan(loan, () => queue.push(buffer.subarray(0, 20_000)));
    loan.release();
    queue.take(10_000, () => answer);
    assert.equal(readBuffers.idle, idle);
    queue.take(10_000, () => true);
    assert.equal(readBuffers.idle, answer === true ? idle + 1 : idle);
  }
});
