/** A patched object shares with the stored one what the patch left alone: that must never show in what comes out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../../test/support/random.ts';
import type { KubeObject } from '../../api/meta.ts';
import { copyJson, setMember } from '../../lib/json.ts';
import { trackUpdate } from '../ssa/track.ts';
import { mergePatch } from './merge-patch.ts';
import { resources } from './resources.ts';
import type { Resource } from './resources.ts';
import type { Decoded } from './strategy.ts';
import { validateMetadata } from './validate-metadata.ts';
import { decodeObject, decodePatched, prepareCreate, prepareUpdate } from './strategy.ts';

const TIME = '2026-11-29T12:00:00Z';
const [resource] = [...resources.values()].filter(({ kind }) => kind === 'Router') as [Resource];
const { schema, apiVersion, kind } = { ...resource, schema: resource.fieldSchema };

/** What a write makes of an object, or what is said against it; `read` decodes what the patch led to. */
function write(current: KubeObject, subresource: 'status' | undefined, read: () => Decoded): unknown {
  try {
    const decoded = read();
    const next = prepareUpdate(resource, current, decoded.object, subresource);
    const writer = {
      manager: 'test',
      operation: 'Update',
      apiVersion,
      subresource: subresource ?? '',
    } as const;
    const object = trackUpdate({ schema, current, next, given: undefined, writer, time: TIME });
    return { isSame: object === current, unknown: decoded.unknownFields, object };
  } catch (err) {
    return err instanceof Error ? err.message : err;
  }
}

const ADDRESSES = { addresses: [{ type: 'InternalIP', address: '10.0.0.1' }] };

function created(name: string): KubeObject {
  const metadata = { name, labels: { a: '1', b: '2' }, annotations: { note: 'text' }, finalizers: ['x.y/z'] };
  const spec = { frps: { bindPort: 7000 } };
  const body = { apiVersion, kind, metadata, spec, status: ADDRESSES };
  const { object: decoded, unknownFields } = decodeObject(resource, body);
  assert.deepEqual(unknownFields, []);
  const next = prepareCreate(resource, decoded, new Date(TIME));
  const writer = { manager: 'test', operation: 'Update', apiVersion, subresource: '' } as const;
  const owned = trackUpdate({ schema, current: undefined, next, given: undefined, writer, time: TIME });
  return {
    ...owned,
    metadata: { ...owned.metadata, resourceVersion: '7' },
    status: decoded.status,
  };
}

/** Values that are wrong for most fields, and null. */
const VALUES: readonly unknown[] = [
  null,
  '',
  'text',
  'not a label!',
  7,
  true,
  [],
  {},
  { a: null },
  { 'bad key!': 'x' },
  TIME,
];
/** Values that suit a field, equal ones to those that are stored among them. */
const SUITED: ReadonlyMap<string, readonly unknown[]> = new Map([
  ['labels', [{ a: '1', b: '2' }, { a: '3' }, { a: null }, { b: null, c: '' }, { d: null }]],
  ['annotations', [{ note: 'text' }, { note: 'other' }, { more: 'text' }, { more: null }]],
  ['finalizers', [['x.y/z'], ['x.y/z', 'v.w/x'], ['v.w/x']]],
  ['name', ['r']],
  ['spec', [{ frps: { bindPort: 7000 } }, { frps: { bindPort: 7001 } }, { frps: { unknown: 1 } }]],
  ['status', [ADDRESSES, { addresses: [] }, { ready: false }]],
]);
const METADATA_FIELDS = [
  'labels',
  'annotations',
  'finalizers',
  'ownerReferences',
  'name',
  'uid',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'resourceVersion',
  'unknown',
  '__proto__',
];
const FIELDS = ['spec', 'status', 'unknown', 'constructor'];

test('a patch leads to the same whether what it leaves alone is shared or a copy', () => {
  const random = createRandom(20_261_129);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  let current = created('r');
  let changed = 0;
  for (let round = 0; round < 5000; round++) {
    const metadata: Record<string, unknown> = {};
    const patch: Record<string, unknown> = random() < 0.8 ? { metadata } : {};
    const valueFor = (field: string): unknown =>
      pick(random() < 0.85 ? (SUITED.get(field) ?? VALUES) : VALUES);
    for (let count = Math.floor(random() * 3); count > 0; count--) {
      const field = pick(random() < 0.8 ? METADATA_FIELDS.slice(0, 3) : METADATA_FIELDS);
      setMember(metadata, field, valueFor(field));
    }
    if (random() < 0.4) {
      const field = pick(FIELDS);
      patch[field] = valueFor(field);
    }
    const subresource = random() < 0.2 ? 'status' : undefined;
    const before = JSON.stringify(current);
    const patched = mergePatch(current, patch);
    const shared = write(current, subresource, () => decodePatched(resource, patched, current));
    const copied = write(current, subresource, () => decodeObject(resource, copyJson(patched), 'patched'));
    const what = `round ${round}: ${JSON.stringify(patch)} on ${before}`;
    assert.deepEqual(shared, copied, what);
    assert.equal(JSON.stringify(current), before, `${what} changed what is stored`);
    if (typeof shared === 'object' && shared !== null && 'object' in shared) {
      if (shared.object !== current) changed++;
      current = shared.object as KubeObject;
      assert.deepEqual(validateMetadata(current.metadata), [], what);
      if (current.metadata.name !== 'r' || current.metadata.deletionTimestamp !== undefined)
        current = created('r');
    }
  }
  assert.ok(changed > 500, `only ${changed} patches changed anything`);
});

test('what a patch leaves alone is the stored object’s own', () => {
  const current = created('r');
  const patched = mergePatch(current, { metadata: { labels: { a: '3' } } });
  const { object } = decodePatched(resource, patched, current);
  const next = prepareUpdate(resource, current, object, undefined);
  assert.equal(next.spec, current.spec);
  assert.equal(next.status, current.status);
  assert.equal(next.metadata.annotations, current.metadata.annotations);
  assert.equal(next.metadata.finalizers, current.metadata.finalizers);
  assert.deepEqual(next.metadata.labels, { a: '3', b: '2' });
});

test('metadata that a patch empties or removes is not stored', () => {
  const current = created('r');
  const patched = mergePatch(current, {
    metadata: { labels: { a: null, b: null }, annotations: null, finalizers: [] },
  });
  const { object } = decodePatched(resource, patched, current);
  const { metadata } = prepareUpdate(resource, current, object, undefined);
  assert.deepEqual(Object.keys(metadata).sort(), [
    'creationTimestamp',
    'generation',
    'managedFields',
    'name',
    'resourceVersion',
    'uid',
  ]);
});
