/** The memory of finished answers: exact keys, ids, ends of life, growth and bounds. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PacketMemory } from './packet-memory.ts';

const FOREVER = Number.POSITIVE_INFINITY;
const now = (): number => 1000;

/** A query of some words: id, then text. */
function query(text: string, id = 1): Buffer {
  return Buffer.concat([Buffer.from([id >> 8, id & 255]), Buffer.from(text)]);
}

function create(maxEntries = 1000, maxBytes = 100_000): PacketMemory {
  return new PacketMemory({ maxEntries, maxBytes });
}

describe('an answer', () => {
  test('comes back with the id of the one who asks, as a copy', () => {
    const memory = create();
    memory.set(query('a?', 1), query('a!!', 1), FOREVER, 7);
    const answer = memory.get(query('a?', 0x1234), now);
    assert.deepEqual(answer, query('a!!', 0x1234));
    assert.deepEqual([memory.hitTag, memory.hitUntil], [7, FOREVER]);
    answer?.fill(0);
    assert.deepEqual(memory.get(query('a?', 5), now), query('a!!', 5));
  });

  test('is for exactly these bytes', () => {
    const memory = create();
    memory.set(query('abc'), query('yes'), FOREVER, 0);
    for (const other of ['ab', 'abcd', 'abd', 'Abc', ''])
      assert.equal(memory.get(query(other), now), undefined);
    for (const short of [Buffer.alloc(0), Buffer.alloc(1)]) assert.equal(memory.get(short, now), undefined);
  });

  test('ends at its time and can be replaced, in place or longer', () => {
    const memory = create();
    memory.set(query('a'), query('old'), 1000, 1);
    assert.equal(memory.get(query('a'), now), undefined);
    memory.set(query('a'), query('new'), 1001, 2);
    assert.deepEqual(memory.get(query('a'), now), query('new'));
    memory.set(query('a'), query('longer'), FOREVER, 3);
    assert.deepEqual(memory.get(query('a'), now), query('longer'));
    assert.deepEqual([memory.hitTag, memory.size], [3, 1]);
  });
});

test('ten thousand are all found again, and clear() gives their memory back', () => {
  const memory = create(16_384, 4 * 1024 * 1024);
  const empty = memory.heldBytes;
  const name = (index: number): Buffer => query(`svc${index}.default.svc.cluster.local`, index);
  for (let index = 0; index < 10_000; index += 1)
    memory.set(name(index), query(`is ${index}`), FOREVER, index);
  let found = 0;
  for (let index = 0; index < 10_000; index += 1) {
    const answer = memory.get(name(index), now);
    if (answer === undefined) continue;
    assert.deepEqual(answer.subarray(2), Buffer.from(`is ${index}`));
    found += 1;
  }
  assert.ok(found > 9990, `${found} found; the others had no slot near their own`);
  assert.ok(memory.heldBytes < 4 * 1024 * 1024 + 24 * 131_072, `${memory.heldBytes} bytes`);
  memory.clear();
  assert.equal(memory.get(name(1), now), undefined);
  assert.deepEqual([memory.size, memory.heldBytes], [0, empty]);
});

describe('bounds', () => {
  for (const { what, memory } of [
    { what: 'too many entries', memory: create(50) },
    { what: 'too many bytes', memory: create(1000, 50 * 16) },
  ]) {
    test(`${what} make it start over`, () => {
      for (let index = 0; index < 5000; index += 1) {
        memory.set(query(`name ${index}`), query('answer'), FOREVER, 0);
        assert.ok(memory.size <= 50, `${memory.size} entries`);
        assert.ok(memory.heldBytes <= 16_384 + 256 * 24, `${memory.heldBytes} bytes`);
        assert.deepEqual(memory.get(query(`name ${index}`, 3), now), query('answer', 3));
      }
    });
  }

  test('answers that change their length for ever do not use up more', () => {
    const memory = create(1000, 2000);
    for (let index = 0; index < 5000; index += 1) {
      const answer = query('x'.repeat(index % 50));
      memory.set(query('name'), answer, FOREVER, 0);
      assert.deepEqual(memory.get(query('name'), now), answer);
    }
    assert.ok(memory.heldBytes <= 2000 + 256 * 24);
  });

  test('what is larger than all of it is not kept', () => {
    const memory = create(10, 100);
    memory.set(query('name'), Buffer.alloc(200), FOREVER, 0);
    assert.equal(memory.get(query('name'), now), undefined);
    assert.equal(memory.size, 0);
  });
});
