/** Field sets, their stored form, and the laws that apply keeps: undo, repetition, and what belongs to others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonSchema } from '../../api/crd.ts';
import type { KubeObject } from '../../api/meta.ts';
import { createRandom } from '../../../test/support/random.ts';
import { METADATA } from '../registry/metadata.ts';
import { applyConfiguration } from './apply.ts';
import type { Applied } from './apply.ts';
import { compareFields, fieldsOf } from './compare.ts';
import { FieldSet } from './field-set.ts';
import { decodeFields, encodeFields } from './fields-v1.ts';
import { mergeConfiguration } from './merge.ts';
import { decodeOwners, encodeOwners, foldOldest } from './owners.ts';
import type { Owner } from './owners.ts';
import { formatPath, parseElement } from './path-element.ts';
import { trackUpdate } from './track.ts';

const text: JsonSchema = { type: 'string' };
const SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    metadata: METADATA,
    spec: {
      type: 'object',
      properties: {
        a: text,
        b: text,
        nested: {
          type: 'object',
          properties: {
            c: text,
            d: text,
            inner: { type: 'array', 'x-kubernetes-list-type': 'set', items: text },
          },
        },
        whole: { type: 'array', items: text },
        atomic: { type: 'object', 'x-kubernetes-map-type': 'atomic', additionalProperties: text },
        map: { type: 'object', additionalProperties: text },
        set: { type: 'array', 'x-kubernetes-list-type': 'set', items: text },
        list: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name', 'port'],
          items: {
            type: 'object',
            properties: { name: text, port: { type: 'integer', default: 80 }, note: text },
          },
        },
      },
    },
  },
};
const API = 'edge.example.com/v1';

function object(spec: Record<string, unknown>): KubeObject {
  return { apiVersion: API, kind: 'K', metadata: { name: 'o' }, spec };
}

function apply(
  manager: string,
  spec: Record<string, unknown>,
  before: Partial<Applied> = {},
  isForced = false,
): Applied {
  return applyConfiguration({
    schema: SCHEMA,
    live: before.object as KubeObject | undefined,
    config: { ...object(spec) },
    owners: before.owners ?? [],
    writer: { manager, operation: 'Apply', apiVersion: API, subresource: '' },
    time: '2026-01-01T00:00:00Z',
    isForced,
  });
}

const specOf = (applied: Applied): unknown => applied.object['spec'];
const ownedBy = (applied: Applied, manager: string): unknown => {
  const owner = applied.owners.find((entry) => entry.manager === manager);
  return owner === undefined ? undefined : encodeFields(owner.fields);
};

function randomSpec(random: () => number): Record<string, unknown> {
  const value = (): string => String(Math.floor(random() * 3));
  const some = <T>(all: readonly T[]): T[] => all.filter(() => random() < 0.5);
  const spec: Record<string, unknown> = {};
  for (const key of some(['a', 'b'])) spec[key] = value();
  if (random() < 0.5) spec['nested'] = Object.fromEntries(some(['c', 'd']).map((key) => [key, value()]));
  if (random() < 0.5) spec['whole'] = [value()];
  if (random() < 0.5) spec['atomic'] = { x: value() };
  if (random() < 0.5) spec['map'] = Object.fromEntries(some(['x', 'y', 'z']).map((key) => [key, value()]));
  if (random() < 0.5) spec['set'] = some(['p', 'q', 'r']);
  if (random() < 0.5) spec['list'] = some(['m', 'n']).map((name) => ({ name, port: 80, note: value() }));
  return spec;
}

test('fields are divided as the schema says', () => {
  const fields = fieldsOf(SCHEMA, {
    spec: {
      a: '1',
      whole: ['x'],
      atomic: { x: '1' },
      map: { x: '1' },
      set: ['p'],
      list: [{ port: 1, name: 'm' }, { name: 'n' }],
      nested: {},
    },
  });
  assert.deepEqual([...fields.paths()].map(formatPath), [
    '.spec.a',
    '.spec.atomic',
    '.spec.nested',
    '.spec.whole',
    '.spec.list[name="m",port=1]',
    '.spec.list[name="n",port=80]',
    '.spec.list[name="m",port=1].name',
    '.spec.list[name="m",port=1].port',
    '.spec.list[name="n",port=80].name',
    '.spec.map.x',
    '.spec.set[="p"]',
  ]);
});

test('FieldsV1 is read and written, and everything else is refused', () => {
  const stored = {
    'f:metadata': { 'f:finalizers': { 'v:"a.b/c"': {} }, 'f:labels': { '.': {}, 'f:x': {} } },
    'f:spec': { 'f:list': { 'k:{"name":"a","port":1}': { '.': {}, 'f:name': {} } }, 'i:3': {} },
  };
  const set = decodeFields(stored);
  assert.ok(set !== undefined);
  assert.deepEqual(encodeFields(set), stored);
  assert.equal(parseElement('k:{"port":1,"name":"a"}'), 'k:{"name":"a","port":1}');
  let deep: unknown = {};
  for (let at = 0; at < 5000; at++) deep = { 'f:x': deep };
  for (const wrong of [
    null,
    1,
    [],
    { x: {} },
    { 'f:x': 1 },
    { 'k:[]': {} },
    { 'v:{': {} },
    { 'i:x': {} },
    deep,
  ]) {
    assert.equal(decodeFields(wrong), undefined);
  }
});

test('sets survive the stored form, and their operations keep the laws of sets', () => {
  const random = createRandom(7);
  for (let round = 0; round < 300; round++) {
    const [a, b] = [
      fieldsOf(SCHEMA, { spec: randomSpec(random) }),
      fieldsOf(SCHEMA, { spec: randomSpec(random) }),
    ];
    const names = (set: FieldSet): string[] => [...set.paths()].map(formatPath).sort();
    const read = decodeFields(JSON.parse(JSON.stringify(encodeFields(a))));
    assert.ok(read?.equals(a));
    assert.deepEqual(names(a.union(b)), [...new Set([...names(a), ...names(b)])].sort());
    assert.deepEqual(
      names(a.intersection(b)),
      names(a).filter((name) => names(b).includes(name)),
    );
    assert.deepEqual(
      names(a.difference(b)),
      names(a).filter((name) => !names(b).includes(name)),
    );
    assert.ok(a.difference(a).isEmpty);
    assert.equal(a.equals(b), names(a).join() === names(b).join());
    for (const path of a.paths()) assert.ok(a.has(path));
  }
});

test('comparing tells what came, went and changed, containers too', () => {
  const names = (set: FieldSet): string[] => [...set.paths()].map(formatPath);
  const { added, modified, removed } = compareFields(
    SCHEMA,
    { spec: { a: '1', set: ['p'], whole: ['x'] } },
    { spec: { a: '2', nested: { c: '1' }, whole: ['x', 'y'] } },
  );
  assert.deepEqual(names(added), ['.spec.nested', '.spec.nested.c']);
  assert.deepEqual(names(modified), ['.spec.a', '.spec.whole']);
  assert.deepEqual(names(removed), ['.spec.set', '.spec.set[="p"]']);
});

test('merged lists take the order of the configuration and keep what it does not name', () => {
  const schema: JsonSchema = { type: 'array', 'x-kubernetes-list-type': 'set', items: text };
  const merge = (live: string, config: string): string =>
    (mergeConfiguration(schema, live.split(''), config.split('')) as string[]).join('');
  assert.equal(merge('axb', 'ba'), 'xba');
  assert.equal(merge('ab', 'xaby'), 'xaby');
  assert.equal(merge('abc', ''), 'abc');
  assert.equal(merge('abc', 'c'), 'abc');
  assert.equal(merge('abc', 'cd'), 'abcd');
  assert.equal(merge('', 'ab'), 'ab');
});

test('applying twice changes nothing', () => {
  const random = createRandom(11);
  for (let round = 0; round < 200; round++) {
    const spec = randomSpec(random);
    const other = apply('other', randomSpec(random));
    const first = apply('m', spec, other, true);
    const second = apply('m', spec, first);
    assert.deepEqual(specOf(second), specOf(first));
    assert.deepEqual(encodeOwners(second.owners), encodeOwners(first.owners));
  }
});

test('applying nothing undoes an apply, and leaves what others own', () => {
  const random = createRandom(13);
  for (let round = 0; round < 300; round++) {
    const other = apply('other', { ...randomSpec(random), a: 'kept' });
    const spec = randomSpec(random);
    delete spec['a'];
    let both: Applied;
    try {
      both = apply('m', spec, other);
    } catch {
      continue; // conflicts have their own tests
    }
    const undone = apply('m', {}, both);
    const left = fieldsOf(SCHEMA, { spec: specOf(undone) });
    const theirs = other.owners.find((owner) => owner.manager === 'other')?.fields ?? FieldSet.of();
    const before = fieldsOf(SCHEMA, { spec: specOf(other) });
    assert.ok(before.intersection(theirs).difference(left).isEmpty, 'something of the other owner went');
    assert.ok(
      theirs.equals(undone.owners.find((owner) => owner.manager === 'other')?.fields ?? FieldSet.of()),
    );
    const mine = fieldsOf(SCHEMA, { spec }).difference(before);
    const stayed = [...mine.intersection(left).paths()].map(formatPath);
    assert.deepEqual(stayed, [], 'something that only this owner had stayed');
  }
});

test('different values of owned fields are conflicts, equal ones are owned together', () => {
  const first = apply('mgr-a', { a: '1', list: [{ name: 'x', port: 1, note: 'n' }] });
  const shared = apply('mgr-b', { a: '1' }, first);
  assert.deepEqual(ownedBy(shared, 'mgr-b'), { 'f:spec': { 'f:a': {} } });
  assert.throws(
    () => apply('mgr-b', { a: '2' }, first),
    (err: { status?: unknown }) => {
      assert.deepEqual(err.status, {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: 'Apply failed with 1 conflict: conflict with "mgr-a": .spec.a',
        reason: 'Conflict',
        details: {
          causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "mgr-a"', field: '.spec.a' }],
        },
        code: 409,
      });
      return true;
    },
  );
  assert.throws(() => apply('mgr-b', { a: '2', list: [{ name: 'x', port: 1, note: 'o' }] }, first), {
    message:
      'Apply failed with 2 conflicts: conflicts with "mgr-a":\n- .spec.a\n- .spec.list[name="x",port=1].note',
  });
  const forced = apply('mgr-b', { a: '2' }, first, true);
  assert.deepEqual(ownedBy(forced, 'mgr-b'), { 'f:spec': { 'f:a': {} } });
  assert.equal(JSON.stringify(ownedBy(forced, 'mgr-a')).includes('f:a'), false);
});

test('what is no longer applied goes, unless somebody else owns it', () => {
  const first = apply('m', { a: '1', b: '1', list: [{ name: 'x', port: 1 }], nested: { c: '1' } });
  const second = apply('other', { b: '1' }, first);
  assert.deepEqual(specOf(apply('m', { a: '1' }, second)), { a: '1', b: '1' });
});

test('a container that is applied stays, with the empty list that is left in it', () => {
  const first = apply('m', { nested: { c: '1' } });
  const second = apply('other', { nested: {} }, first);
  const live = { ...second.object, spec: { nested: { c: '1', inner: [] } } };
  const third = apply('m', { nested: {} }, { ...second, object: live });
  assert.deepEqual(specOf(third), { nested: { inner: [] } });
  for (const manager of ['m', 'other'])
    assert.deepEqual(ownedBy(third, manager), { 'f:spec': { 'f:nested': {} } });
});

test('updates take the fields they change and give up those they remove', () => {
  const writer = (manager: string) => ({
    manager,
    operation: 'Update' as const,
    apiVersion: API,
    subresource: '',
  });
  const update = (
    manager: string,
    current: KubeObject | undefined,
    next: KubeObject,
    time = '2026-01-01T00:00:00Z',
  ) =>
    trackUpdate({
      schema: SCHEMA,
      current,
      next,
      given: current?.metadata.managedFields,
      writer: writer(manager),
      time,
    });
  const created = update('c', undefined, object({ a: '1', b: '1' }));
  assert.deepEqual(created.metadata.managedFields?.[0]?.fieldsV1, {
    'f:spec': { '.': {}, 'f:a': {}, 'f:b': {} },
  });
  const changed = update('u', created, { ...created, spec: { a: '2' } });
  assert.deepEqual(
    changed.metadata.managedFields?.map((entry) => [entry.manager, entry.fieldsV1]),
    [
      ['c', { 'f:spec': {} }],
      ['u', { 'f:spec': { 'f:a': {} } }],
    ],
  );
  assert.equal(update('u', changed, { ...changed }, '2027-01-01T00:00:00Z'), changed, 'no change, no write');
  const reset = trackUpdate({
    schema: SCHEMA,
    current: changed,
    next: changed,
    given: [{}],
    writer: writer('u'),
    time: '',
  });
  assert.equal(reset.metadata.managedFields, undefined);
});

test('more than ten updaters are folded, the oldest first', () => {
  const owner = (at: number): Owner => ({
    manager: `u${at}`,
    operation: 'Update',
    apiVersion: API,
    subresource: '',
    time: `2026-01-01T00:00:${String(at).padStart(2, '0')}Z`,
    fields: FieldSet.of([['f:spec', `f:${at}`]]),
  });
  const folded = foldOldest(Array.from({ length: 12 }, (_, at) => owner(at)));
  assert.equal(folded.length, 10);
  const ancient = folded.find((entry) => entry.manager === 'ancient-changes');
  assert.deepEqual([...(ancient?.fields.paths() ?? [])].map(formatPath), ['.spec.0', '.spec.1', '.spec.2']);
  assert.equal(ancient?.time, '2026-01-01T00:00:02Z');
});

test('owners are written in order and read back, with any form of time', () => {
  const entries = [
    {
      manager: 'b',
      operation: 'Update',
      apiVersion: API,
      time: '2026-01-01T00:00:05.000Z',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:b': {} },
    },
    { manager: 'a', operation: 'Apply', apiVersion: API, fieldsType: 'FieldsV1', fieldsV1: { 'f:a': {} } },
  ] as const;
  const owners = decodeOwners(entries);
  assert.ok(owners !== undefined);
  const written = encodeOwners(owners);
  assert.deepEqual(
    written.map((entry) => [entry.manager, entry.time]),
    [
      ['a', undefined],
      ['b', '2026-01-01T00:00:05Z'],
    ],
  );
  assert.deepEqual(encodeOwners(decodeOwners(written) ?? []), written);
  assert.equal(decodeOwners([{ manager: 'x', operation: 'Apply', fieldsType: 'FieldsV2' }]), undefined);
});
