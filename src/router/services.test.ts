/** Proxies are recognised as services and grouped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleProxy, serviceMetas } from '../../test/support/router-samples.ts';
import { groupServices, identifyService } from './services.ts';

test('metas name the service, port, protocol and node', () => {
  const proxy = sampleProxy('x', { type: 'sudp', metas: serviceMetas('ntp', 'time', 123, 'UDP') });
  assert.deepEqual(identifyService(proxy), {
    name: 'ntp',
    namespace: 'time',
    protocol: 'UDP',
    port: 123,
    node: 'node-1',
    instance: 'x',
    isReady: true,
    message: '',
  });
});

test('a proxy without metas counts by its name of three parts or more', () => {
  const found = identifyService(sampleProxy('mysql.default.pod-abc.x'));
  assert.equal(found?.name, 'mysql');
  assert.equal(found?.namespace, 'default');
  assert.equal(found?.instance, 'pod-abc.x');
  assert.equal(found?.port, undefined);
});

test('the user prefix of the wire name is no part of the service', () => {
  assert.equal(identifyService(sampleProxy('alice.mysql.default.pod', { user: 'alice' }))?.name, 'mysql');
});

test('names that are no services are left out', () => {
  for (const name of ['ssh', 'ssh.default', 'Web.default.pod', 'a..pod', 'a_b.default.pod', '..', '']) {
    assert.equal(identifyService(sampleProxy(name)), undefined, name);
  }
  assert.equal(identifyService(sampleProxy('x', { metas: { service: 'Bad Name' } })), undefined);
});

test('a port that is no port and a protocol that is none are ignored', () => {
  const found = identifyService(
    sampleProxy('x', { type: 'udp', metas: { service: 'dns', port: '70000', protocol: 'SCTP' } }),
  );
  assert.equal(found?.port, undefined);
  assert.equal(found?.protocol, 'UDP');
});

test('providers of one service stand together, in a stable order', () => {
  const metas = serviceMetas('mysql', 'default', 3306);
  const groups = groupServices([
    sampleProxy('web.default.pod-b'),
    sampleProxy('mysql.default.pod-b', { metas }),
    sampleProxy('mysql.default.pod-a', { metas }),
    sampleProxy('mysql.cache.pod-a'),
    sampleProxy('not-a-service'),
  ]);
  assert.deepEqual(
    groups.map(
      (group) => `${group.namespace}/${group.name}:${group.providers.map((p) => p.proxy.name).join(',')}`,
    ),
    [
      'cache/mysql:mysql.cache.pod-a',
      'default/mysql:mysql.default.pod-a,mysql.default.pod-b',
      'default/web:web.default.pod-b',
    ],
  );
  assert.equal(groups[1]?.targetPort, 3306);
});

test('a tcp proxy is a service with a port of its own', () => {
  const metas = serviceMetas('web', 'default', 80);
  const groups = groupServices([
    sampleProxy('web.default.a', { metas }),
    sampleProxy('web.default.b', { metas, type: 'tcp', remotePort: 7001 }),
  ]);
  assert.deepEqual(
    groups.map((group) => group.remotePort),
    [undefined, 7001],
  );
});
