/** Tests of the decision about the own Router between a node and its hub. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ORIGIN_ANNOTATION, PUBLISHER_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatus } from '../api/gen/types.ts';
import type { ObjectMeta } from '../api/meta.ts';
import { planOwn } from './publish.ts';
import type { OwnInput, OwnPlan } from './publish.ts';

function router(bindPort: number, metadata: Partial<ObjectMeta> = {}, status?: RouterStatus): Router {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name: 'node-2', generation: 1, ...metadata },
    spec: { frps: { bindPort } },
    ...(status === undefined ? {} : { status }),
  };
}

const OWN = { annotations: { [PUBLISHER_ANNOTATION]: 'me' } };

function plan(fields: Partial<OwnInput>): OwnPlan {
  return planOwn({
    node: 'node-2',
    publisher: 'me',
    local: undefined,
    hub: undefined,
    silenceMs: 0,
    ...fields,
  });
}

test('a Router that the hub lacks is published with its spec, labels and status', () => {
  const status = { version: '1', conditions: [{ type: 'Synced', status: 'True' as const }] };
  const made = plan({
    local: router(7000, { labels: { zone: 'a' }, annotations: { own: 'x' }, uid: 'u' }, status),
  });
  assert.deepEqual(made.hubMain?.metadata, { name: 'node-2', labels: { zone: 'a' }, ...OWN });
  assert.deepEqual(made.hubMain.spec, { frps: { bindPort: 7000 } });
  assert.deepEqual(made.hubStatus, { version: '1', conditions: [] });
  assert.equal(made.localMain, undefined);
  assert.deepEqual(plan({}), {});
});

test('spec and labels come from the hub, annotations and status stay here', () => {
  const local = router(7000, { labels: { zone: 'a' }, annotations: { own: 'x' } }, { version: '1' });
  const made = plan({ local, hub: router(7001, { labels: { zone: 'b' }, ...OWN }) });
  assert.deepEqual(made.localMain?.spec, { frps: { bindPort: 7001 } });
  assert.deepEqual(made.localMain.metadata, {
    name: 'node-2',
    labels: { zone: 'b' },
    annotations: { own: 'x' },
  });
  assert.deepEqual(made.hubStatus, { version: '1' });
  assert.equal(made.hubMain, undefined);
});

test('a node without a Router gets the one of the hub, and one that was made there is taken as own', () => {
  const made = plan({ hub: router(7001, { annotations: { keep: 'y' }, finalizers: ['f'] }) });
  assert.deepEqual(made.localMain?.spec, { frps: { bindPort: 7001 } });
  assert.deepEqual(made.hubMain?.metadata.annotations, { keep: 'y', [PUBLISHER_ANNOTATION]: 'me' });
  assert.equal(made.hubStatus, undefined);
});

test('two sides in step need nothing', () => {
  const local = router(7000, {}, { version: '1' });
  assert.deepEqual(plan({ local, hub: router(7000, OWN, { version: '1' }) }), {});
});

test("generations in the status count the hub's spec, and say so when it is not in force here", () => {
  const status: RouterStatus = {
    observedGeneration: 7,
    conditions: [{ type: 'Ready', status: 'True', observedGeneration: 7 }],
  };
  const hub = router(7000, { generation: 3, ...OWN });
  const current = plan({ local: router(7000, { generation: 7 }, status), hub }).hubStatus;
  assert.equal(current?.observedGeneration, 3);
  assert.equal(current.conditions?.[0]?.observedGeneration, 3);
  const behind = plan({ local: router(7000, { generation: 8 }, status), hub }).hubStatus;
  assert.equal(behind?.observedGeneration, 2, 'the router has not acted on the newest spec yet');
  const other = plan({ local: router(7009, { generation: 7 }, status), hub }).hubStatus;
  assert.equal(other?.observedGeneration, 2, 'the spec here is not the one of the hub yet');
});

test('of two nodes with one name the one that publishes stays, until it has been silent for 90 seconds', () => {
  const hub = router(7001, { annotations: { [PUBLISHER_ANNOTATION]: 'other' } }, { version: '9' });
  const local = router(7000, {}, { version: '1' });
  const refused = plan({ local, hub, silenceMs: 89_999 });
  assert.match(refused.conflict ?? '', /another node publishes as node-2/u);
  assert.deepEqual([refused.hubMain, refused.hubStatus], [undefined, undefined]);
  assert.deepEqual(refused.localMain?.spec, hub.spec, 'the spec is for whoever has the name');
  const taken = plan({ local, hub, silenceMs: 90_000 });
  assert.equal(taken.hubMain?.metadata.annotations?.[PUBLISHER_ANNOTATION], 'me');
  assert.deepEqual(taken.hubStatus, { version: '1' });
});

test('mirrors under the own name, and objects that are being deleted, are left alone', () => {
  const mirror = { annotations: { [ORIGIN_ANNOTATION]: 'node-2' } };
  assert.match(plan({ local: router(1), hub: router(2, mirror) }).conflict ?? '', /at the hub is a mirror/u);
  assert.match(plan({ local: router(1, mirror), hub: router(2) }).conflict ?? '', /is a mirror/u);
  assert.deepEqual(
    plan({ local: router(1), hub: router(2, { deletionTimestamp: '2026-01-01T00:00:00Z' }) }),
    {},
  );
});
