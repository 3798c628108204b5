/** JSONPath: selections in document order, and no exception for any data. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../lib/errors.ts';
import { compileJsonPath } from './json-path.ts';

const data = {
  metadata: { name: 'r1', annotations: { 'edge.example.com/origin': 'far', "it's": 'quoted' } },
  status: {
    conditions: [
      { type: 'Synced', status: 'False', n: 1 },
      { type: 'Ready', status: 'True', n: 5 },
    ],
    ports: [1, 2, 3, 4],
  },
};

test('paths select what printer columns need', () => {
  const cases: [string, unknown[]][] = [
    ['.metadata.name', ['r1']],
    ['metadata.name', ['r1']],
    ['$.metadata.name', ['r1']],
    ['.', [data]],
    ['.status.conditions[?(@.type=="Ready")].status', ['True']],
    ["$.status.conditions[?(@.type=='Ready')].status", ['True']],
    ['.status.conditions[?(@.n>1)].type', ['Ready']],
    ['.status.conditions[?(@.n<=1)].type', ['Synced']],
    ['.status.conditions[?(@.none)].type', []],
    ['.status.conditions[*].type', ['Synced', 'Ready']],
    ['.status.conditions[-1].type', ['Ready']],
    ['.status.conditions[9].type', []],
    ['.status.ports[1:3]', [2, 3]],
    ['.status.ports[0,2]', [1, 3]],
    ['.status.ports[:]', [1, 2, 3, 4]],
    [String.raw`.metadata.annotations['edge\.example\.com/origin']`, ['far']],
    [String.raw`.metadata.annotations.edge\.example\.com/origin`, ['far']],
    ['.metadata.annotations["it\'s"]', ['quoted']],
    ['..type', ['Synced', 'Ready']],
    ['.metadata.*.nothing', []],
    ['.metadata.toString', []],
  ];
  for (const [path, expected] of cases) assert.deepEqual(compileJsonPath(path)(data), expected, path);
});

test('no data makes a path throw', () => {
  for (const root of [undefined, null, 1, 'x', [], {}]) {
    assert.deepEqual(compileJsonPath('.a[0].b[?(@.c==1)]')(root), []);
  }
});

test('texts that are no path are refused', () => {
  for (const path of ['.a[', '.a[x]', '.a[?(@.b==)]', `.a${'.b'.repeat(100)}`]) {
    assert.throws(
      () => compileJsonPath(path),
      (err: unknown) => errorCode(err) === 'EDGE_ERR_JSONPATH_SYNTAX',
      path,
    );
  }
});
