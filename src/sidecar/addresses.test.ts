/** Tests of the addresses of mapped services: stable, unique, inside the usable part of the range. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressBook, parseRange, preferredIndex } from './addresses.ts';

const book = (range: string) => new AddressBook(parseRange(range, '--ip-range'));
const names = (count: number) => Array.from({ length: count }, (_, at) => `s${at}.default`);

test('every usable address of a range is counted once and found again', () => {
  for (const [text, size] of [
    ['127.0.66.0/24', 254],
    ['127.0.66.0/30', 2],
    ['127.0.66.128/25', 126],
    ['127.0.64.0/22', 1016],
  ] as const) {
    const range = parseRange(text, 'range');
    assert.equal(range.size, size);
    const seen = new Set<string>();
    for (let index = 0; index < range.size; index++) {
      const address = range.at(index);
      assert.equal(range.indexOf(address), index);
      assert.doesNotMatch(address, /\.(?:0|255)$/u);
      seen.add(address);
    }
    assert.equal(seen.size, size);
  }
});

test('addresses outside the usable part have no number', () => {
  const range = parseRange('127.0.66.0/30', 'range');
  for (const address of ['127.0.66.0', '127.0.66.3', '127.0.66.4', '127.0.65.1', 'x', '::1']) {
    assert.equal(range.indexOf(address), undefined, address);
  }
});

test('a range that is none, or too small or large to use, is refused', () => {
  for (const text of [
    '127.0.66.0',
    '127.0.66/24',
    '::1/64',
    '127.0.66.0/33',
    '127.0.66.0/31',
    '10.0.0.0/7',
    'x/24',
    '127.0.66.0/ab',
  ]) {
    assert.throws(() => parseRange(text, '--ip-range'), { code: 'EDGE_ERR_USAGE' }, text);
  }
});

test('a service has the same address whenever and wherever it is asked for', () => {
  const one = book('127.0.66.0/24').assign(['mysql.default', 'web.prod']);
  const other = book('127.0.66.0/24').assign(['web.prod', 'mysql.default']);
  assert.deepEqual(Object.fromEntries(one), Object.fromEntries(other));
  assert.equal(
    book('127.0.66.0/24').assign(['mysql.default']).get('mysql.default'),
    one.get('mysql.default'),
  );
});

test('a full range gives each service its own address', () => {
  const addresses = book('127.0.66.0/24').assign(names(254));
  assert.equal(new Set(addresses.values()).size, 254);
});

test('an address is kept when services come and go', () => {
  const one = book('127.0.66.0/28');
  const before = one.assign(names(8));
  one.assign(names(4));
  const after = one.assign(names(10));
  for (const [key, address] of before) assert.equal(after.get(key), address);
});

test('remembered addresses win over the preferred ones, wrong ones are left out', () => {
  const one = book('127.0.66.0/24');
  one.restore({
    'a.default': '127.0.66.7',
    'b.default': '127.0.66.7',
    'c.default': '10.0.0.1',
    'd.default': 'x',
  });
  const addresses = one.assign(['a.default', 'b.default', 'c.default']);
  assert.equal(addresses.get('a.default'), '127.0.66.7');
  assert.notEqual(addresses.get('b.default'), '127.0.66.7');
  assert.match(addresses.get('c.default') ?? '', /^127\.0\.66\./u);
  assert.deepEqual(Object.keys(one.snapshot()).sort(), ['a.default', 'b.default', 'c.default']);
});

test('too many services are refused with range, need and supply, and nothing changes', () => {
  const one = book('127.0.66.0/30');
  const before = one.assign(names(2));
  assert.throws(
    () => one.assign(names(3)),
    /127\.0\.66\.0\/30 has 2 usable addresses, 3 services need one: none left for s2\.default/u,
  );
  assert.deepEqual(one.assign(names(2)), before);
});

test('a full range takes back the address that has been unwanted longest', () => {
  const one = book('127.0.66.0/30');
  one.assign(['a.default']);
  one.assign(['b.default']);
  const addresses = one.assign(['b.default', 'c.default']);
  assert.equal(new Set(addresses.values()).size, 2);
  assert.equal(one.snapshot()['a.default'], undefined);
});

test('ten thousand services get addresses in a fraction of a second', () => {
  const started = process.cpuUsage(); // the machine may pause
  const addresses = book('127.64.0.0/16').assign(names(10_000));
  assert.equal(new Set(addresses.values()).size, 10_000);
  assert.ok(process.cpuUsage(started).user < 2_000_000);
});

test('names spread over the range', () => {
  const used = new Set(names(254).map((name) => preferredIndex(name, 254)));
  assert.ok(used.size > 120, `only ${used.size} different`);
});
