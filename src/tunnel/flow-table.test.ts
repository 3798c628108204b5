import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FlowTable } from './flow-table.ts';

function createTable(maxFlows = 3): { clock: FakeClock; table: FlowTable<string>; ended: string[] } {
  const clock = new FakeClock();
  const ended: string[] = [];
  const table = new FlowTable<string>({
    clock,
    maxFlows,
    idleMs: 30_000,
    onEnd: (flow, why) => ended.push(`${flow} ${why} ${clock.now()}`),
  });
  return { clock, table, ended };
}

test('a flow ends 30 s after its last use, not before', () => {
  const { clock, table, ended } = createTable();
  table.add('a', 'A');
  clock.advance(10_000);
  table.add('b', 'B');
  clock.advance(15_000);
  assert.equal(table.use('a'), 'A');
  clock.advance(30_000);
  assert.deepEqual(ended, ['B idle 40000', 'A idle 55000']);
  assert.equal(table.use('a'), undefined);
  assert.equal(clock.pendingTimers, 0);
});

test('a full table ends the flow that was idle longest', () => {
  const { table, ended } = createTable();
  for (const key of ['a', 'b', 'c']) table.add(key, key);
  table.use('a');
  table.add('d', 'd');
  assert.deepEqual(ended, ['b evicted 0']);
  assert.equal(table.size, 3);
  assert.equal(table.total, 4);
  assert.equal(table.evicted, 1);
});

test('flows that are removed or cleared are not told of, and leave no timer', () => {
  const { clock, table, ended } = createTable();
  table.add('a', 'A');
  table.add('b', 'B');
  assert.equal(table.remove('a'), 'A');
  assert.equal(table.remove('a'), undefined);
  assert.deepEqual(table.clear(), ['B']);
  assert.equal(clock.pendingTimers, 0);
  clock.advance(60_000);
  assert.deepEqual(ended, []);
});
