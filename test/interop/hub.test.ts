/**
 * `edge syncer --hub` with a Kubernetes API server as the hub, and the manifests of deploy/hub in force.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { NODE_MAINTENANCES, ROUTERS } from '../../src/api/edge.ts';
import type { NodeMaintenance, Router } from '../../src/api/gen/types.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import type { ApiClient } from '../../src/apiclient/client.ts';
import { readKubeconfig } from '../../src/apiclient/kubeconfig.ts';
import { startEdgeReady } from '../support/edge-process.ts';
import { useKubeServer, writeKubeconfig } from '../support/kube-server.ts';
import { freePort } from '../support/ports.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

/** A node: its own API server, a service account of its name at the hub, and a syncer. */
async function startNode(t: TestContext, hub: ApiClient, server: string, name: string) {
  const [dir, port] = [tempDir(t), await freePort()];
  await startEdgeReady(t, ['apiserver', '--data-dir', dir, '--node', name, '--listen', `127.0.0.1:${port}`]);
  const admin = createApiClient(readKubeconfig(join(dir, 'admin.kubeconfig')));
  t.after(() => admin.close());
  await hub.request('POST', '/api/v1/namespaces/edge-nodes/serviceaccounts', {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } }),
  });
  const answer = await hub.request('POST', `/api/v1/namespaces/edge-nodes/serviceaccounts/${name}/token`, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} }),
  });
  const { token } = (JSON.parse(answer.text) as { status: { token: string } }).status;
  const file = writeKubeconfig(t, server, token);
  const syncer = await startEdgeReady(t, ['syncer', '--data-dir', dir, '--node', name, '--hub', file]);
  const asNode = createApiClient({ server, token, insecureSkipVerify: true });
  t.after(() => asNode.close());
  return { admin, syncer, asNode };
}

test('two nodes meet at a Kubernetes API, which keeps each to its own objects', async (t) => {
  const kube = await useKubeServer(t, ['deploy/hub/rbac.yaml', 'deploy/hub/policy.yaml']);
  if (kube === undefined) return;
  const { server, client: hub } = kube;
  const id = Date.now().toString(36);
  const [nameA, nameB] = [`hub-a-${id}`, `hub-b-${id}`];
  t.after(async () => {
    for (const name of [nameA, nameB]) await hub.delete(ROUTERS, name).catch(() => {});
  });
  const router = (name: string, bindPort: number): Router => ({
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindPort } },
  });
  const portAt = async (at: ApiClient, name: string): Promise<number> =>
    (await at.get<Router>(ROUTERS, name)).spec.frps.bindPort;
  await hub.create(ROUTERS, router(nameA, 7001));
  const a = await startNode(t, hub, server, nameA);
  const b = await startNode(t, hub, server, nameB);
  await b.admin.create(ROUTERS, router(nameB, 7002));
  await b.admin.create<NodeMaintenance>(NODE_MAINTENANCES, {
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name: `nodemaintenances-${id}` },
    spec: { nodeName: 'node-7', proxy: { type: 'FRP', endpoint: '' } },
  });
  await waitFor(async () => (await portAt(a.admin, nameA)) === 7001, { what: 'spec from the hub' });
  await waitFor(async () => (await portAt(a.admin, nameB)) === 7002, { what: 'mirror on a' });
  await waitFor(async () => (await portAt(b.admin, nameA)) === 7001, { what: 'mirror on b' });
  await waitFor(() => a.admin.get(NODE_MAINTENANCES, `nodemaintenances-${id}`), { what: 'maintenance on a' });

  const patch = (at: ApiClient, body: unknown, subresource?: string) =>
    at.patch(ROUTERS, nameB, body, { type: 'merge', subresource });
  await patch(b.admin, { status: { version: '9' } }, 'status');
  await waitFor(async () => (await a.admin.get<Router>(ROUTERS, nameB)).status?.version === '9', {
    what: 'status crosses',
  });
  await patch(hub, { spec: { frps: { bindPort: 7022 } } });
  await waitFor(async () => (await portAt(b.admin, nameB)) === 7022, {
    what: 'spec comes down',
  });

  // nothing moves on its own, whatever the two servers make of defaults and managedFields
  const settled = await waitFor(
    async () => {
      const before = (await hub.get(ROUTERS, nameB)).metadata.resourceVersion;
      await new Promise((resolve) => {
        setTimeout(resolve, 1500);
      });
      return before === (await hub.get(ROUTERS, nameB)).metadata.resourceVersion;
    },
    { what: 'at rest' },
  );
  assert.ok(settled);

  const current = await hub.get<Router>(ROUTERS, nameB);
  const isDenied = (err: unknown): boolean => [403, 422].includes((err as { statusCode: number }).statusCode);
  await assert.rejects(a.asNode.update(ROUTERS, current), isDenied);
  await assert.rejects(a.asNode.updateStatus(ROUTERS, current), isDenied);
  await assert.rejects(a.asNode.create(ROUTERS, router(`other-${id}`, 1)), isDenied);
  await assert.rejects(a.asNode.delete(NODE_MAINTENANCES, `nodemaintenances-${id}`), isDenied);
  await assert.rejects(a.asNode.delete(ROUTERS, nameA), isDenied);
  await b.admin.delete(NODE_MAINTENANCES, `nodemaintenances-${id}`);
  await waitFor(
    async () => {
      const { items } = await a.admin.list(NODE_MAINTENANCES);
      return items.length === 0;
    },
    { what: 'maintenance object gone' },
  );
});
