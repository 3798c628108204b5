/** Tests of how arguments are read and failures written: resource words, conditions of wait, kubectl's error lines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NODE_MAINTENANCES, ROUTERS } from '../../api/edge.ts';
import type { KubeObject } from '../../api/meta.ts';
import { ApiError } from '../../apiclient/errors.ts';
import type { ApiStatus } from '../../apiclient/errors.ts';
import { EdgeError } from '../../lib/errors.ts';
import { describeObject } from './describe.ts';
import { failureText } from './failure.ts';
import { parseTargets } from './resources.ts';
import { mirrorLines, ownRouterLines } from './status-routers.ts';
import { parseWanted } from './wait.ts';

test('every word for a type is understood, alone, qualified and in lists', () => {
  for (const word of [
    'routers',
    'router',
    'rt',
    'Router',
    'routers.edge.example.com',
    'routers.v1.edge.example.com',
  ]) {
    assert.deepEqual(parseTargets([word]), [{ resource: ROUTERS, name: undefined }], word);
  }
  assert.deepEqual(parseTargets(['nm,rt', 'x']), [
    { resource: NODE_MAINTENANCES, name: 'x' },
    { resource: ROUTERS, name: 'x' },
  ]);
  assert.equal(parseTargets(['all']).length, 2);
  assert.deepEqual(parseTargets(['rt/a', 'nm/b']), [
    { resource: ROUTERS, name: 'a' },
    { resource: NODE_MAINTENANCES, name: 'b' },
  ]);
});

for (const args of [[], ['pods'], ['routers.example.org'], ['rt/a', 'b'], ['rt/'], ['/a'], ['rt/a/b']]) {
  test(`the arguments "${args.join(' ')}" are refused`, () => {
    assert.throws(() => parseTargets(args), EdgeError);
  });
}

const READY: KubeObject = {
  apiVersion: 'edge.example.com/v1',
  kind: 'Router',
  metadata: { name: 'n', generation: 2 },
  spec: { port: 7000, name: 'x' },
  status: {
    conditions: [
      { type: 'Ready', status: 'True', observedGeneration: 2 },
      { type: 'Old', status: 'True', observedGeneration: 1 },
    ],
  },
};
const WANTED: [string, boolean, boolean][] = [
  ['condition=Ready', true, false],
  ['condition=ready=true', true, false],
  ['condition=Ready=False', false, false],
  ['condition=Old', false, false],
  ['condition=Nope', false, false],
  ['delete', false, true],
  ['create', true, false],
  ['jsonpath={.spec.port}=7000', true, false],
  ["jsonpath='{.spec.name}'=x", true, false],
  ['jsonpath={.spec.name}=y', false, false],
  ['jsonpath={.spec.port}', true, false],
  ['jsonpath={.spec.none}', false, false],
];
for (const [text, isMet, isMetWhenMissing] of WANTED) {
  test(`--for=${text} is decided as kubectl does`, () => {
    const { wanted } = parseWanted(text);
    assert.deepEqual([wanted(READY), wanted(undefined)], [isMet, isMetWhenMissing]);
  });
}

test('an unknown --for is refused', () => {
  for (const text of [undefined, '', 'ready', 'jsonpath='])
    assert.throws(() => parseWanted(text), { code: 'EDGE_ERR_USAGE' });
});

function failure(code: number, fields: Partial<ApiStatus>): ApiError {
  return new ApiError({ kind: 'Status', apiVersion: 'v1', status: 'Failure', ...fields }, code);
}

test('failures have the lines that scripts know', () => {
  assert.equal(
    failureText(failure(404, { reason: 'NotFound', message: 'routers.edge.example.com "x" not found' })),
    'Error from server (NotFound): routers.edge.example.com "x" not found',
  );
  const invalid = (...fields: string[]): ApiError =>
    failure(422, {
      reason: 'Invalid',
      message: 'unused',
      details: {
        kind: 'Router',
        name: 'r',
        causes: fields.map((field) => ({ field, message: 'Required value' })),
      },
    });
  assert.equal(failureText(invalid('spec.a')), 'The Router "r" is invalid: spec.a: Required value');
  assert.equal(
    failureText(invalid('spec.a', 'spec.b')),
    'The Router "r" is invalid: \n* spec.a: Required value\n* spec.b: Required value',
  );
  assert.equal(
    failureText(failure(500, { message: 'm' }), 'error when applying "f"'),
    'Error from server: error when applying "f": m',
  );
  assert.match(
    failureText(
      failure(409, {
        reason: 'Conflict',
        message: 'Apply failed',
        details: { causes: [{ reason: 'FieldManagerConflict' }] },
      }),
    ),
    /^error: Apply failed\nPlease review/u,
  );
  assert.match(
    failureText(failure(401, { reason: 'Unauthorized', message: 'Unauthorized' })),
    /^error: You must be logged in/u,
  );
});

test('describe shows fields as words, lists indented, values of neighbours in one column', () => {
  assert.equal(
    describeObject({
      apiVersion: 'edge.example.com/v1',
      kind: 'Router',
      metadata: { name: 'n', uid: 'u', labels: { b: '1', a: '2' } },
      spec: { bindPort: 1, list: [{ x: 1 }] },
    }),
    `Name:         n
Namespace:    
Labels:       a=2
              b=1
Annotations:  <none>
API Version:  edge.example.com/v1
Kind:         Router
Metadata:
  UID:  u
Spec:
  Bind Port:  1
  List:
    X:   1
Events:  <none>
`,
  );
});

test('status tells apart a Router that is missing, silent, not ready and well', () => {
  const now = Date.parse('2026-01-01T00:10:00Z');
  const router = (status: object, annotations = {}) => ({
    apiVersion: 'edge.example.com/v1' as const,
    kind: 'Router' as const,
    metadata: { name: 'n', annotations },
    spec: { frps: { bindPort: 7000 } },
    status,
  });
  const ready = (status: 'True' | 'False') => [{ type: 'Ready', status, message: 'port taken' }];
  const state = (status: object): string | undefined => ownRouterLines('n', [router(status)], now)[0]?.state;
  assert.equal(
    ownRouterLines('m', [router({})], now)[0]?.hint,
    'apply a Router called m, or say which node this is: --node n',
  );
  assert.equal(state({}), 'problem');
  assert.equal(state({ conditions: ready('False') }), 'problem');
  assert.equal(state({ conditions: ready('True'), lastHeartbeatTime: '2026-01-01T00:00:00Z' }), 'problem');
  assert.equal(state({ conditions: ready('True'), lastHeartbeatTime: '2026-01-01T00:09:30Z' }), 'ok');
  const mirror = (syncedAt: string, synced: 'True' | 'False') =>
    mirrorLines(
      'me',
      [
        router(
          { conditions: [{ type: 'Synced', status: synced }] },
          { 'edge.example.com/origin': 'n', 'edge.example.com/synced-at': syncedAt },
        ),
      ],
      now,
    )[0]?.state;
  assert.equal(mirror('2026-01-01T00:09:30Z', 'True'), 'ok');
  assert.equal(mirror('2026-01-01T00:01:00Z', 'True'), 'problem');
  assert.equal(mirror('2026-01-01T00:09:30Z', 'False'), 'stale');
  assert.equal(mirrorLines('me', [], now)[0]?.state, 'absent');
});
