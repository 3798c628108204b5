/** Tests of remembered ports: kept through a gap, given up in the end, bounded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createPortMemory } from './port-memory.ts';

test('ports stay while nobody offers the service', () => {
  const clock = new FakeClock();
  const ports = createPortMemory(clock);
  assert.deepEqual(ports.update('a.b', []), []);
  assert.deepEqual(ports.update('a.b', [81, 80]), [80, 81]);
  clock.advance(3_600_000);
  assert.deepEqual(ports.update('a.b', []), [80, 81]);
});

test('a port is given up long after only others are offered', () => {
  const clock = new FakeClock();
  const ports = createPortMemory(clock);
  ports.update('a.b', [80]);
  clock.advance(1000);
  assert.deepEqual(ports.update('a.b', [81]), [80, 81]);
  clock.advance(600_001);
  assert.deepEqual(ports.update('a.b', [81]), [81]);
});

test('ports come back from a snapshot, unmapped services are forgotten, the number is bounded', () => {
  const ports = createPortMemory(new FakeClock());
  ports.restore({ 'a.b': [80], 'c.d': Array.from({ length: 1000 }, (_, at) => at + 1) });
  assert.deepEqual(ports.update('a.b', []), [80]);
  assert.equal(ports.update('c.d', [2000]).length, 64);
  ports.retain(new Set(['a.b']));
  assert.deepEqual(ports.snapshot(), { 'a.b': [80] });
});
