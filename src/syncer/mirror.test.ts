/** Tests of the decision about one mirror. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ORIGIN_ANNOTATION, SYNCED_AT_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatusCondition } from '../api/gen/types.ts';
import { MAINTENANCE_KIND, ROUTER_KIND } from './kinds.ts';
import { CONFIRM_IDLE_MS, planMirror } from './mirror.ts';
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

function plan(fields: Partial<MirrorInput<Router>>): MirrorPlan<Router> {
  return planMirror({
    kind: ROUTER_KIND,
    name: 'node-2',
    origin: 'node-2',
    reason: 'PeerUnreachable',
    problem: 'the API server of the peer does not answer',
    confirmMs: CONFIRM_IDLE_MS,
    source: router(),
    local: undefined,
    isReachable: true,
    now: NOW,
    ...fields,
  });
}

/** The mirror as it is stored after a plan is carried out. */
function written(fields: Partial<MirrorInput<Router>>): Router {
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
    [{ metadata: { ...local.metadata, annotations: { [ORIGIN_ANNOTATION]: 'node-2' } } }, true, false],
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

test('an object that is no mirror is never replaced, and neither is a mirror by what is unknown', () => {
  assert.deepEqual(plan({ local: router() }), { action: 'conflict' });
  assert.deepEqual(
    plan({ local: router({ metadata: { name: 'node-2', annotations: { [ORIGIN_ANNOTATION]: '' } } }) }),
    {
      action: 'conflict',
    },
  );
  assert.deepEqual(plan({ source: undefined, local: written({}), origin: 'node-9' }), { action: 'none' });
});

test('a node owns the Router of its name, and the NodeMaintenances that its Router or nobody answers for', () => {
  const owned = (name: string, annotations: Record<string, string>): boolean =>
    ROUTER_KIND.isOwnedBy('node-2', router({ metadata: { name, annotations } }));
  assert.equal(owned('node-2', {}), true);
  assert.equal(owned('node-3', {}), false);
  assert.equal(owned('node-2', { [ORIGIN_ANNOTATION]: 'node-2' }), false, 'a mirror');
  const keeps = (annotations: Record<string, string>): boolean =>
    MAINTENANCE_KIND.isOwnedBy('node-2', {
      apiVersion: 'edge.example.com/v1',
      kind: 'NodeMaintenance',
      metadata: { name: 'nodemaintenances-1', annotations },
      spec: { nodeName: 'node-7' },
    });
  assert.equal(keeps({}), true);
  assert.equal(keeps({ 'edge.example.com/router': 'node-2' }), true);
  assert.equal(keeps({ 'edge.example.com/router': 'node-3' }), false);
  assert.equal(keeps({ [ORIGIN_ANNOTATION]: 'node-2' }), false);
});

test("the peer's own Synced condition is replaced by ours", () => {
  const source = router({ status: { conditions: [{ type: 'Synced', status: 'False', reason: 'Odd' }] } });
  assert.deepEqual(
    written({ source }).status?.conditions?.map(({ reason }) => reason),
    ['Synced'],
  );
});
