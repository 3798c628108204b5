/** Node maintenance with real processes: nodes come online and go offline, whatever dies. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE_MAINTENANCES } from '../../src/api/edge.ts';
import type { NodeMaintenance } from '../../src/api/gen/types.ts';
import { runEdge, startEdgeReady } from '../support/edge-process.ts';
import { startNode } from '../support/sidecar-world.ts';
import type { Node } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import type { Cleanup } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const NAME = 'nodemaintenances-node7';

function maintenanceEnv(t: Cleanup): Record<string, string> {
  const hostKeys = tempDir(t);
  writeFileSync(join(hostKeys, 'ssh_host_ed25519_key.pub'), 'ssh-ed25519 AAAAC3Nza root@node\n');
  return {
    EDGE_MAINTENANCE: 'true',
    EDGE_MAINTENANCE_UNIQUE_ID: 'node7',
    EDGE_MAINTENANCE_HOST_KEY_DIR: hostKeys,
  };
}

/** How long that took is said, not asserted: a busy machine pauses for longer than any bound worth having. */
async function whenState(node: Node, state: 'online' | 'offline'): Promise<NodeMaintenance> {
  return waitFor(
    async () => {
      const object = await node.client.get<NodeMaintenance>(NODE_MAINTENANCES, NAME);
      return object.status?.services?.[0]?.status === state ? object : undefined;
    },
    { what: `${NAME} to be ${state}` },
  );
}

test('a node is online while its sidecar lives, and offline once it is killed', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const router = node.startRouter('node-1');
  const sidecar = await node.startSidecar('agent', maintenanceEnv(t));
  const online = await whenState(node, 'online');
  assert.equal(online.spec.nodeName, 'node-1');
  const service = online.spec.services?.[0];
  assert.equal(service?.name, 'ssh-node7');
  assert.equal(service?.frpServerIpAddress, '127.0.0.1');
  assert.equal(online.metadata.annotations?.['edge.example.com/ssh-host-keys'], 'ssh-ed25519 AAAAC3Nza');
  assert.equal(online.status?.conditions?.[0]?.name, 'maintainable');

  const shown = await runEdge(['ctl', 'nodes', '--server', node.client.server]);
  assert.match(shown.stdout, /^NODE +STATE .*\nnode-1 +online +\d+s +node-1 +127\.0\.0\.1:\d+ +\d+s\n$/u);

  const killedAt = performance.now();
  await sidecar.process.kill();
  await whenState(node, 'offline');
  assert.doesNotMatch(router.stderr, /client is silent/u, 'the end of its connection was enough');
  t.diagnostic(`offline ${Math.round(performance.now() - killedAt)} ms after kill -9 of the sidecar`);

  await node.startSidecar('agent', maintenanceEnv(t));
  await whenState(node, 'online');
  await node.client.delete(NODE_MAINTENANCES, NAME);
  await whenState(node, 'online');
  await router.stop();
  await whenState(node, 'offline');
});

test('a Router that was killed sets its nodes offline when it starts again without them', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const first = node.startRouter('node-1');
  const sidecar = await node.startSidecar('agent', maintenanceEnv(t));
  await whenState(node, 'online');
  await first.kill();
  await sidecar.process.kill();
  await whenState(node, 'online'); // nobody is left to say otherwise
  const second = node.startRouter('node-1');
  await second.waitForLine(/tunnel server listens/u);
  const startedAt = performance.now();
  await whenState(node, 'offline');
  t.diagnostic(`offline ${Math.round(performance.now() - startedAt)} ms after the start of the Router`);
  await node.startSidecar('agent', maintenanceEnv(t));
  await whenState(node, 'online');
});

test('the adapter answers on its own address, and asks for a token where it is not loopback', async (t) => {
  const dataDir = tempDir(t);
  const tokens = join(dataDir, 'tokens.csv');
  writeFileSync(tokens, 'secret,cloud,,cloud\n');
  const start = async (adapter: string): Promise<string> => {
    const child = await startEdgeReady(t, [
      'apiserver',
      '--data-dir',
      tempDir(t),
      '--insecure-http',
      '--listen',
      '127.0.0.1:0',
      '--token-auth-file',
      tokens,
      '--adapter-listen',
      adapter,
    ]);
    const [, port = ''] = /adapter listens address=http:\/\/[^:]+:(\d+)/u.exec(child.stderr) ?? [];
    return `http://127.0.0.1:${port}`;
  };
  const open = await start('127.0.0.1:0');
  const body = new URLSearchParams({ frp_server_ip_address: '192.0.2.1', unique_id: 'x1', port: '6022' });
  const created = await fetch(`${open}/frp_create`, { method: 'POST', body });
  const data = { frp_server_ip_address: '192.0.2.1', proxy_port: '6022', status: 'offline' };
  assert.deepEqual(await created.json(), { code: 200, data });
  const fetched = await fetch(`${open}/frp_fetch/nodemaintenances-x1`);
  assert.deepEqual(await fetched.json(), { code: 200, data });

  const guarded = await start('0.0.0.0:0');
  const refused = await fetch(`${guarded}/nm_useless`, { method: 'PUT' });
  assert.deepEqual(await refused.json(), { code: 401, error: { message: 'Unauthorized' } });
  const headers = { authorization: 'Bearer secret' };
  const done = await fetch(`${guarded}/nm_useless`, { method: 'PUT', headers });
  assert.deepEqual(await done.json(), { code: 200, data: { changed: 0 } });
});
