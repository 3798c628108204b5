/** Unit tests of finding a node's sshd. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeMaintenance } from '../api/gen/types.ts';
import { findNode } from './node-target.ts';

function object(id: string, status: 'online' | 'offline', port = '7000'): NodeMaintenance {
  const name = `ssh-${id}`;
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: {
      name: `nodemaintenances-${id}`,
      annotations: {
        'edge.example.com/router': 'router-1',
        'edge.example.com/ssh-host-keys': 'ssh-ed25519 AAAA\nssh-rsa BBBB',
      },
    },
    spec: {
      nodeName: 'node-7',
      services: [{ name, type: 'ssh', proxyPort: port, frpServerIpAddress: '203.0.113.7', uniqueID: id }],
    },
    status: { services: [{ name, status }] },
  };
}

test('a node is found by its name, its id and the name of its object', () => {
  for (const name of ['node-7', 'abc', 'nodemaintenances-abc']) {
    assert.deepEqual(findNode([object('abc', 'online')], name), {
      node: 'node-7',
      service: 'ssh-abc.maintenance',
      router: 'router-1',
      host: '203.0.113.7',
      port: 7000,
      hostKeys: ['ssh-ed25519 AAAA', 'ssh-rsa BBBB'],
    });
  }
});

test('of two objects of one node the one that is online counts', () => {
  const { service } = findNode([object('old', 'offline'), object('new', 'online')], 'node-7');
  assert.equal(service, 'ssh-new.maintenance');
});

test('a node that is unknown, offline or without an address is told apart', () => {
  assert.throws(() => findNode([], 'node-7'), { code: 'EDGE_ERR_USAGE' });
  assert.throws(() => findNode([object('a', 'offline')], 'node-7'), { code: 'EDGE_ERR_SSH_NODE_OFFLINE' });
  assert.throws(() => findNode([object('a', 'online', '')], 'a'), { code: 'EDGE_ERR_SSH_NODE_ADDRESS' });
});

test('without a Router the endpoint is what the tunnel server is asked for; without that the port is the sshd', () => {
  const foreign = { ...object('a', 'online'), metadata: { name: 'nodemaintenances-a' } };
  const { service, router } = findNode([foreign], 'a');
  assert.deepEqual([service, router], [undefined, '']);
  const proxy = { type: 'FRP', endpoint: 'ssh-a.maintenance.pod' };
  const visited = { ...foreign, spec: { ...foreign.spec, proxy } };
  assert.equal(findNode([visited], 'a').service, 'ssh-a.maintenance.pod');
});
