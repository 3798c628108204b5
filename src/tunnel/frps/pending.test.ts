import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PendingConnections, sourceOf } from './pending.ts';

test('sources are IPv4 addresses and the front halves of IPv6 addresses', () => {
  for (const [address, source] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::9', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    [undefined, ''],
  ] as const) {
    assert.equal(sourceOf(address), source, address);
  }
});

test('when all places are taken, the oldest connection of the source with most goes', () => {
  const pending = new PendingConnections();
  const cut: string[] = [];
  const add = (address: string, name: string) => pending.add(address, 4, () => cut.push(name));
  const honest = add('192.0.2.1', 'honest');
  for (const name of ['a', 'b', 'c', 'd', 'e']) add('198.51.100.1', name);
  assert.deepEqual(cut, ['a', 'b']);
  add('192.0.2.2', 'another');
  assert.deepEqual(cut, ['a', 'b', 'c']);
  assert.equal(pending.count, 4);
  honest.settle();
  honest.settle();
  assert.equal(pending.count, 3);
  add('192.0.2.3', 'a third');
  assert.deepEqual(cut, ['a', 'b', 'c']);
});

test('many connections of one source find places, the newest stay', () => {
  const pending = new PendingConnections();
  const cut: number[] = [];
  for (let at = 0; at < 100; at++) pending.add(undefined, 3, () => cut.push(at));
  assert.deepEqual(
    cut,
    Array.from({ length: 97 }, (_, at) => at),
  );
});
