import assert from 'node:assert/strict';
import { test } from 'node:test';
import { currentLoan, POOLED_BYTES, ReadBuffers, withLoan } from './read-buffers.ts';
import { sealedBytes } from './seal/records.ts';

function taken(buffers: ReadBuffers): Buffer {
  const buffer = buffers.take();
  assert.ok(buffer !== undefined);
  return buffer;
}

test('a buffer comes back when the last place lets go, not before', () => {
  const buffers = new ReadBuffers();
  const buffer = taken(buffers);
  const loan = buffers.lend(buffer);
  loan.hold();
  loan.release();
  assert.equal(buffers.idle, 0);
  loan.written(null);
  assert.equal(buffers.idle, 1);
  assert.equal(buffers.take(), buffer);
});

test('a buffer that somebody may keep unasked is never used again', () => {
  const buffers = new ReadBuffers();
  const loan = buffers.lend(taken(buffers));
  loan.lose();
  loan.release();
  assert.equal(buffers.idle, 0);
});

test('a buffer of a write that failed is never used again', () => {
  const buffers = new ReadBuffers();
  const loan = buffers.lend(taken(buffers));
  loan.hold();
  loan.release();
  loan.written(new Error('EPIPE'));
  assert.equal(buffers.idle, 0);
});

test('letting go twice is a bug that shows at once', () => {
  const buffers = new ReadBuffers();
  const loan = buffers.lend(taken(buffers));
  loan.release();
  assert.throws(() => loan.release(), RangeError);
});

test('sockets that wait for a read hold a bounded number of buffers, and what lies idle is bounded too', () => {
  const buffers = new ReadBuffers();
  const waiting: Buffer[] = [];
  for (let next = buffers.take(); next !== undefined; next = buffers.take()) waiting.push(next);
  assert.equal(waiting.length, 64);
  for (const buffer of waiting) buffers.putBack(buffer);
  assert.equal(buffers.idle, 64);
  const lent = Array.from({ length: 200 }, () => buffers.borrow());
  for (const { loan } of lent) loan.release();
  assert.equal(buffers.idle, 128);
  assert.ok(buffers.take() !== undefined);
});

test('buffers that were not needed for a while are given up', () => {
  const buffers = new ReadBuffers();
  const lent = Array.from({ length: 10 }, () => buffers.borrow());
  for (const { loan } of lent) loan.release();
  buffers.trim();
  assert.equal(buffers.idle, 10);
  const [first, second] = [buffers.borrow(), buffers.borrow()];
  first.loan.release();
  second.loan.release();
  buffers.trim();
  assert.equal(buffers.idle, 2);
  buffers.trim();
  assert.equal(buffers.idle, 0);
});

test('a borrowed buffer has room for a full read with what sealing adds to it', () => {
  const { buffer } = new ReadBuffers().borrow();
  assert.ok(buffer.length >= sealedBytes(POOLED_BYTES));
});

test('a loan is current for exactly the call it is given to', () => {
  const buffers = new ReadBuffers();
  const loan = buffers.lend(taken(buffers));
  assert.equal(currentLoan(), undefined);
  withLoan(loan, () => {
    assert.equal(currentLoan(), loan);
    withLoan(undefined, () => assert.equal(currentLoan(), undefined));
    assert.throws(() =>
      withLoan(undefined, () => {
        throw new Error('inside');
      }),
    );
    assert.equal(currentLoan(), loan);
  });
  assert.equal(currentLoan(), undefined);
});
