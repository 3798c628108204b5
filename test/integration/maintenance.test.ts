/** Node maintenance with real processes: nodes come online and go offline in time, whatever dies. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE_MAINTENANCES } from '../../src/api/edge.ts';
import type { NodeMaintenance } from '../../src/api/gen/types.ts';
import { startNode } from '../support/sidecar-world.ts';
import type { Node } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import type { Cleanup } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const NAME = 'nodemaintenances-node7';
/** A change must show within a second of its cause; the rest is for a loaded machine. */
const SHOWN_MS = 3000;
/** Processes that start take a while on such a machine. */
const STARTED_MS = 15_000;

function maintenanceEnv(t: Cleanup): Record<string, string> {
  const hostKeys = tempDir(t);
  writeFileSync(join(hostKeys, 'ssh_host_ed25519_key.pub'), 'ssh-ed25519 AAAAC3Nza root@node\n');
  return {
    EDGE_MAINTENANCE: 'true',
    EDGE_MAINTENANCE_UNIQUE_ID: 'node7',
    EDGE_MAINTENANCE_HOST_KEY_DIR: hostKeys,
  };
}

async function whenState(
  node: Node,
  state: 'online' | 'offline',
  timeoutMs = SHOWN_MS,
): Promise<NodeMaintenance> {
  return waitFor(
    async () => {
      const object = await node.client.get<NodeMaintenance>(NODE_MAINTENANCES, NAME);
      return object.status?.services?.[0]?.status === state ? object : undefined;
    },
    { what: `${NAME} to be ${state}`, timeoutMs },
  );
}

test('a node is online while its sidecar lives, and offline within a second of its kill', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const router = node.startRouter('node-1');
  const sidecar = await node.startSidecar('agent', maintenanceEnv(t));
  const online = await whenState(node, 'online', STARTED_MS);
  assert.equal(online.spec.nodeName, 'node-1');
  const service = online.spec.services?.[0];
  assert.equal(service?.name, 'ssh-node7');
  assert.equal(service?.frpServerIpAddress, '127.0.0.1');
  assert.equal(online.metadata.annotations?.['edge.example.com/ssh-host-keys'], 'ssh-ed25519 AAAAC3Nza');
  assert.equal(online.status?.conditions?.[0]?.name, 'maintainable');

  const killedAt = performance.now();
  await sidecar.process.kill();
  await whenState(node, 'offline');
  t.diagnostic(`offline ${Math.round(performance.now() - killedAt)} ms after kill -9 of the sidecar`);

  await node.startSidecar('agent', maintenanceEnv(t));
  await whenState(node, 'online', STARTED_MS);
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
  await whenState(node, 'online', STARTED_MS);
  await first.kill();
  await sidecar.process.kill();
  await whenState(node, 'online'); // nobody is left to say otherwise
  const second = node.startRouter('node-1');
  await second.waitForLine(/tunnel server listens/u);
  const startedAt = performance.now();
  await whenState(node, 'offline');
  t.diagnostic(`offline ${Math.round(performance.now() - startedAt)} ms after the start of the Router`);
  await node.startSidecar('agent', maintenanceEnv(t));
  await whenState(node, 'online', STARTED_MS);
});
