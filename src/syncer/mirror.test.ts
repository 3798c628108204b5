/** Tests of the decision about one mirror. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ORIGIN_ANNOTATION, SYNCED_AT_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatusCondition } from '../api/gen/types.ts';
import { planMirror } from './mirror.ts';
import type { MirrorInput, MirrorPlan } from './mirror.ts';

const NOW = new Date('2026-01-01T00:01:00Z');

function router(fields: Partial<Router> = {}): Router {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: {
      name: 'node-2',
      labels: { zone: 'a' },
      resourceVersion: '5',
      annotations: { 'example.org/own': 'x' },
    },
    spec: { frps: { bindPort: 7000 } },
    status: { version: '1', conditions: [{ type: 'Ready', status: 'True' }] },
    ...fields,
  };
}

function plan(fields: Partial<MirrorInput>): MirrorPlan {
  return planMirror({
    node: 'node-2',
    source: router(),
    local: undefined,
    isReachable: true,
    now: NOW,
    ...fields,
  });
}

/** The mirror as it is stored after a plan is carried out. */
function written(fields: Partial<MirrorInput>): Router {
  const made = plan(fields);
  assert.equal(made.action, 'write');
  return made.action === 'write' ? made.desired : router();
}

function synced(mirror: Router): RouterStatusCondition | undefined {
  return mirror.status?.conditions?.find((condition) => condition.type === 'Synced');
}

const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000);

test('a new mirror has the spec, labels and status of the peer, its origin and the time', () => {
  const mirror = written({});
  assert.deepEqual(mirror.metadata, {
    name: 'node-2',
    labels: { zone: 'a' },
    annotations: { [ORIGIN_ANNOTATION]: 'node-2', [SYNCED_AT_ANNOTATION]: '2026-01-01T00:01:00Z' },
  });
  assert.deepEqual(mirror.spec, router().spec);
  assert.equal(mirror.status?.version, '1');
  assert.deepEqual(
    mirror.status.conditions?.map(({ type, status, reason }) => [type, status, reason]),
    [
      ['Ready', 'True', undefined],
      ['Synced', 'True', 'Synced'],
    ],
  );
});

test('a mirror that is right is left alone until it is due for a confirmation', () => {
  const local = written({});
  assert.deepEqual(plan({ local, now: later(59) }), { action: 'none' });
  const renewed = plan({ local, now: later(60) });
  assert.ok(renewed.action === 'write' && renewed.isMainChanged && !renewed.isStatusChanged);
  assert.equal(
    plan({ local, now: later(-3600) }).action,
    'write',
    'a clock that was set back does not stop confirmations',
  );
});

test('each part that differs is restored, and only the halves concerned are written', () => {
  const local = written({});
  const cases: [Partial<Router>, boolean, boolean][] = [
    [{ spec: { frps: { bindPort: 1 } } }, true, false],
    [{ metadata: { ...local.metadata, labels: {} } }, true, false],
    [{ metadata: { ...local.metadata, annotations: {} } }, true, false],
    [
      { metadata: { ...local.metadata, annotations: { ...local.metadata.annotations, other: 'x' } } },
      true,
      false,
    ],
    [{ status: { ...local.status, version: '2' } }, false, true],
  ];
  for (const [fields, isMainChanged, isStatusChanged] of cases) {
    const made = plan({ local: { ...local, ...fields }, now: later(1) });
    assert.equal(made.action, 'write', JSON.stringify(fields));
    if (made.action === 'write')
      assert.deepEqual([made.isMainChanged, made.isStatusChanged], [isMainChanged, isStatusChanged]);
  }
});

test('an unreachable peer keeps its mirror, marked once, with the time it was last confirmed', () => {
  const local = written({});
  const marked = written({ local, isReachable: false, now: later(5) });
  assert.deepEqual(synced(marked), {
    type: 'Synced',
    status: 'False',
    reason: 'PeerUnreachable',
    message: 'the API server of the peer does not answer',
    lastTransitionTime: '2026-01-01T00:01:05Z',
  });
  assert.equal(marked.metadata.annotations?.[SYNCED_AT_ANNOTATION], '2026-01-01T00:01:00Z');
  assert.deepEqual(plan({ local: marked, isReachable: false, now: later(500) }), { action: 'none' });
  const back = written({ local: marked, now: later(600) });
  assert.equal(synced(back)?.lastTransitionTime, '2026-01-01T00:11:00Z');
  assert.equal(back.metadata.annotations?.[SYNCED_AT_ANNOTATION], '2026-01-01T00:11:00Z');
});

test('before the peer has answered, a mirror of an earlier run is kept and marked, never removed', () => {
  const local = written({});
  assert.deepEqual(plan({ source: 'unknown', local }), { action: 'none' });
  const marked = written({ source: 'unknown', local, isReachable: false });
  assert.deepEqual(marked.spec, local.spec);
  assert.equal(synced(marked)?.status, 'False');
  assert.deepEqual(plan({ source: 'unknown', local: undefined, isReachable: false }), { action: 'none' });
  assert.deepEqual(plan({ source: 'unknown', local: router(), isReachable: false }), { action: 'none' });
});

test('a peer without a Router loses its mirror; an object that is no mirror stays', () => {
  assert.deepEqual(plan({ source: undefined, local: written({}) }), { action: 'delete' });
  assert.deepEqual(plan({ source: undefined, local: router() }), { action: 'none' });
  assert.deepEqual(plan({ source: undefined }), { action: 'none' });
});

test('a mirror on the peer, or another name, is not mirrored', () => {
  const mirrored = router({ metadata: { name: 'node-2', annotations: { [ORIGIN_ANNOTATION]: 'node-9' } } });
  assert.deepEqual(plan({ source: mirrored }), { action: 'none' });
  assert.deepEqual(plan({ source: mirrored, local: written({}) }), { action: 'delete' });
  assert.deepEqual(plan({ source: router({ metadata: { name: 'node-3' } }) }), { action: 'none' });
});

test("the peer's own Synced condition is replaced by ours", () => {
  const source = router({ status: { conditions: [{ type: 'Synced', status: 'False', reason: 'Odd' }] } });
  assert.deepEqual(
    written({ source }).status?.conditions?.map(({ reason }) => reason),
    ['Synced'],
  );
});
