/** Unit tests of NodeMaintenance objects: which registrations count, and what is written when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleProxy } from '../../test/support/router-samples.ts';
import type { NodeMaintenance } from '../api/gen/types.ts';
import type { ProxyInfo } from '../tunnel/frps/types.ts';
import { planOffline, planOnline, registrations } from './maintenance-object.ts';
import type { Plan } from './maintenance-object.ts';

const NOW = new Date('2026-01-02T03:04:05.678Z');
const ENDPOINT = { router: 'router-1', address: '203.0.113.7', port: 7000 };
const REGISTRATION = { uniqueId: 'abc', nodeName: 'node-7', hostKeys: 'ssh-ed25519 AAAA' };
const KEYS = 'edge.example.com/ssh-host-keys';

function proxy(metas: Record<string, string>, startedAt = NOW, isLost = false): ProxyInfo {
  return sampleProxy('ssh-abc.maintenance.pod', { metas, startedAt, isLost });
}

const METAS = {
  type: 'ssh',
  uniqueId: 'abc',
  service: 'ssh-abc',
  node: 'node-7',
  hostKeys: 'ssh-ed25519 AAAA',
};

/** The object that a plan leaves. */
function written({ main, status }: Plan, before?: NodeMaintenance): NodeMaintenance {
  const object = main ?? before;
  assert.ok(object);
  return { ...object, ...(status === undefined ? {} : { status }) };
}

test('only a proxy whose service is that of its id registers a node', () => {
  assert.deepEqual(
    [...registrations([proxy(METAS)])],
    [['nodemaintenances-abc', { ...REGISTRATION, isLost: false }]],
  );
  for (const wrong of [{ type: 'http' }, { uniqueId: 'other' }, { uniqueId: '../x', service: 'ssh-../x' }])
    assert.equal(registrations([proxy({ ...METAS, ...wrong })]).size, 0, JSON.stringify(wrong));
});

test('a node name and host keys that are none are left out', () => {
  const [entry] = registrations([proxy({ ...METAS, node: 'A B', hostKeys: 'a\nb' })]).values();
  assert.deepEqual(entry, { uniqueId: 'abc', nodeName: 'node-abc', hostKeys: '', isLost: false });
  const [long] = registrations([proxy({ ...METAS, hostKeys: `ssh-rsa ${'A'.repeat(6000)}` })]).values();
  assert.equal(long?.hostKeys, '');
});

test('of two registrations with one id the later one counts', () => {
  const later = proxy({ ...METAS, node: 'node-8' }, new Date(NOW.getTime() + 1));
  for (const order of [
    [proxy(METAS), later],
    [later, proxy(METAS)],
  ])
    assert.equal(registrations(order).get('nodemaintenances-abc')?.nodeName, 'node-8');
});

test('an object is made online, and then nothing is left to write', () => {
  const object = written(planOnline(undefined, REGISTRATION, ENDPOINT, NOW));
  assert.deepEqual(object, {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: {
      name: 'nodemaintenances-abc',
      annotations: { 'edge.example.com/router': 'router-1', [KEYS]: 'ssh-ed25519 AAAA' },
    },
    spec: {
      nodeName: 'node-7',
      proxy: { type: 'FRP', endpoint: '' },
      services: [
        {
          name: 'ssh-abc',
          type: 'ssh',
          proxyPort: '7000',
          frpServerIpAddress: '203.0.113.7',
          uniqueID: 'abc',
        },
      ],
    },
    status: {
      conditions: [
        {
          name: 'maintainable',
          type: 'Maintainable',
          status: true,
          timeStamp: '2026-01-02T03:04:05Z',
          reason: 'TunnelUp',
          message: 'the node is reached through router-1',
        },
      ],
      services: [{ name: 'ssh-abc', status: 'online', lastUpdate: '2026-01-02T03:04:05Z' }],
    },
  });
  assert.deepEqual(planOnline(object, REGISTRATION, ENDPOINT, new Date(0)), {});
});

test('an own object goes offline once, and other services of it stay as they are', () => {
  const object = written(planOnline(undefined, REGISTRATION, ENDPOINT, NOW));
  object.status?.services?.push({ name: 'web', status: 'online', lastUpdate: 'then' });
  const offline = written(planOffline(object, 'router-1', NOW), object);
  assert.deepEqual(
    offline.status?.services?.map(({ name, status }) => `${name} ${status}`),
    ['ssh-abc offline', 'web online'],
  );
  assert.equal(offline.status?.conditions?.[0]?.name, 'unmaintainable');
  assert.deepEqual(planOffline(offline, 'router-1', NOW), {});
});

test('a node that is silent is offline, and says that its tunnel is there', () => {
  const [silent] = registrations([proxy(METAS, NOW, true)]).values();
  assert.equal(silent?.isLost, true);
  const object = written(planOnline(undefined, REGISTRATION, ENDPOINT, NOW));
  const offline = written(planOffline(object, 'router-1', NOW, true), object);
  assert.equal(offline.status?.services?.[0]?.status, 'offline');
  const [condition] = offline.status?.conditions ?? [];
  assert.equal(condition?.reason, 'NodeSilent');
  assert.equal(condition?.message, 'router-1 has a tunnel to the node, and hears nothing through it');
  const back = written(planOnline(offline, REGISTRATION, ENDPOINT, NOW), offline);
  assert.equal(back.status?.conditions?.[0]?.reason, 'TunnelUp');
});

test('a node that another Router has online is left alone, and taken over once it is offline there', () => {
  const elsewhere = written(planOnline(undefined, REGISTRATION, { ...ENDPOINT, router: 'router-2' }, NOW));
  assert.deepEqual(planOnline(elsewhere, REGISTRATION, ENDPOINT, NOW), {});
  assert.deepEqual(planOffline(elsewhere, 'router-1', NOW), {});
  const offline = written(planOffline(elsewhere, 'router-2', NOW), elsewhere);
  const taken = written(planOnline(offline, REGISTRATION, ENDPOINT, NOW), offline);
  assert.equal(taken.metadata.annotations?.['edge.example.com/router'], 'router-1');
  assert.equal(taken.status?.services?.[0]?.status, 'online');
});

test('an object that somebody else made keeps its annotations and further services', () => {
  const made: NodeMaintenance = {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name: 'nodemaintenances-abc', resourceVersion: '5', annotations: { note: 'x' } },
    spec: { nodeName: 'node-abc', services: [{ name: 'web' }] },
  };
  assert.deepEqual(planOffline(made, 'router-1', NOW), {});
  const { main } = planOnline(made, REGISTRATION, ENDPOINT, NOW);
  assert.equal(main?.metadata.resourceVersion, '5');
  assert.equal(main?.metadata.annotations?.['note'], 'x');
  assert.deepEqual(
    main?.spec.services?.map(({ name }) => name),
    ['ssh-abc', 'web'],
  );
});
