/** Unit tests of the rows of `edge ctl nodes`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeMaintenance, Router } from '../../api/gen/types.ts';
import { nodeRows, nodeTable } from './node-rows.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');
const at = (secondsAgo: number): string => new Date(NOW - secondsAgo * 1000).toISOString();

function object(state: 'online' | 'offline', node = 'node-7'): NodeMaintenance {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: {
      name: 'nodemaintenances-abc',
      annotations: {
        'edge.example.com/router': 'router-1',
        'edge.example.com/ssh-host-keys': 'ssh-rsa AAAA',
      },
    },
    spec: {
      nodeName: node,
      services: [
        {
          name: 'ssh-abc',
          type: 'ssh',
          proxyPort: '7000',
          frpServerIpAddress: '2001:db8::7',
          uniqueID: 'abc',
        },
      ],
    },
    status: { services: [{ name: 'ssh-abc', status: state, lastUpdate: at(300) }] },
  };
}

function router(silentSeconds: number): Router {
  return {
    metadata: { name: 'router-1' },
    status: { lastHeartbeatTime: at(silentSeconds) },
  } as unknown as Router;
}

test('a node that is online was last seen at the last heartbeat of its Router', () => {
  const [header, row] = nodeTable(nodeRows([object('online')], [router(10)], NOW), false, NOW);
  assert.deepEqual(header, ['NODE', 'STATE', 'SINCE', 'ROUTER', 'ADDRESS', 'LAST SEEN']);
  assert.deepEqual(row, ['node-7', 'online', '5m', 'router-1', '[2001:db8::7]:7000', '10s']);
});

test('a node is not believed to be online while its Router is silent', () => {
  const [row] = nodeRows([object('online')], [router(121)], NOW);
  assert.equal(row?.state, 'unknown');
  assert.equal(nodeRows([object('offline')], [router(121)], NOW)[0]?.state, 'offline');
});

test('nodes are sorted by name, and wide rows tell the fingerprints of host keys', () => {
  const rows = nodeRows([object('offline', 'b'), object('online', 'a')], [], NOW);
  assert.deepEqual(
    rows.map(({ node }) => node),
    ['a', 'b'],
  );
  const [, wide] = nodeTable(rows, true, NOW);
  assert.deepEqual(wide?.slice(6, 8), ['abc', 'nodemaintenances-abc']);
  assert.match(wide?.[8] ?? '', /^SHA256:[A-Za-z0-9+/]{43}$/u);
});

test('an object that nobody has reported on is offline and has no times', () => {
  const bare: NodeMaintenance = { ...object('online'), metadata: { name: 'x' }, spec: { nodeName: 'n' } };
  const [, row] = nodeTable(nodeRows([bare], [], NOW), false, NOW);
  assert.deepEqual(row, ['n', 'offline', '<unknown>', '<none>', '<none>', '<unknown>']);
});
