/**
 * A real Kubernetes API server, named by EDGE_TEST_KUBE_APISERVER: `https://TOKEN@HOST:PORT` of an administrator. It
 * needs no more than RBAC; what a test wants of deploy/ is applied there and stays.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NODE_MAINTENANCES, ROUTERS } from '../../src/api/edge.ts';
import type { KubeObject, ResourceRef } from '../../src/api/meta.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import type { ApiClient } from '../../src/apiclient/client.ts';
import { parseYamlDocuments } from '../../src/lib/yaml.ts';
import { tempDir } from './temp-dir.ts';
import type { Cleanup } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** The server, and how to reach it. */
export interface KubeServer {
  server: string;
  client: ApiClient;
}

const CRDS = [
  'deploy/crds/edge.example.com_routers.yaml',
  'deploy/crds/edge.example.com_nodemaintenances.yaml',
];
const PLURALS: Readonly<Record<string, string>> = {
  ValidatingAdmissionPolicy: 'validatingadmissionpolicies',
};

function resourceOf({ apiVersion, kind }: KubeObject): ResourceRef {
  const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  return { group, version, plural: PLURALS[kind] ?? `${kind.toLowerCase()}s`, kind };
}

/** The server with our CRDs and `files` in force; skips the test and gives nothing when none is named. */
export async function useKubeServer(
  t: Cleanup & { skip(message: string): void },
  files: readonly string[] = [],
): Promise<(KubeServer & { token: string }) | undefined> {
  const url = process.env['EDGE_TEST_KUBE_APISERVER'] ?? '';
  if (url === '') {
    t.skip('EDGE_TEST_KUBE_APISERVER names no Kubernetes API server');
    return undefined;
  }
  const { host, username: token } = new URL(url);
  const server = `https://${host}`;
  const client = createApiClient({ server, token, insecureSkipVerify: true });
  t.after(() => client.close());
  for (const file of [...CRDS, ...files]) {
    for (const object of parseYamlDocuments(readFileSync(file, 'utf8'), file) as KubeObject[]) {
      await client.patch(resourceOf(object), object.metadata.name ?? '', object, {
        type: 'apply',
        fieldManager: 'test',
        force: true,
      });
    }
  }
  for (const resource of [ROUTERS, NODE_MAINTENANCES])
    await waitFor(() => client.list(resource), { what: 'CRDs are served' });
  return { server, client, token };
}

/** Writes a kubeconfig with a token for the server, and gives its path. */
export function writeKubeconfig(t: Cleanup, server: string, token: string): string {
  const file = join(tempDir(t), 'kubeconfig');
  const kubeconfig = {
    'current-context': 'kube',
    clusters: [{ name: 'kube', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'kube', context: { cluster: 'kube', user: 'user' } }],
  };
  writeFileSync(file, JSON.stringify(kubeconfig));
  return file;
}
