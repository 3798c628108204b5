/** The flags and variables with which every subcommand finds its API server. */
import { join } from 'node:path';
import { loadAccess } from '../apiclient/kubeconfig.ts';
import type { AccessSettings, ClusterAccess } from '../apiclient/kubeconfig.ts';
import { stringOption } from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';

/** Settings that say where the API server is and who to be there. */
export const connectionOptions = {
  kubeconfig: stringOption({
    description: 'kubeconfig of the API server (default DATA-DIR/COMPONENT.kubeconfig)',
    placeholder: 'FILE',
    env: 'KUBECONFIG',
  }),
  context: stringOption({
    description: 'context of the kubeconfig to use instead of its current one',
    placeholder: 'NAME',
  }),
  server: stringOption({
    description: 'address of the API server: https://HOST:PORT, http://HOST:PORT or unix:///PATH',
    placeholder: 'URL',
    env: 'EDGE_SERVER',
  }),
  tokenFile: stringOption({
    description: 'file that holds the bearer token for --server',
    placeholder: 'FILE',
  }),
  caFile: stringOption({
    description: 'PEM file of the authorities that may sign the certificate of --server',
    placeholder: 'FILE',
  }),
  clientCert: stringOption({
    description: 'PEM file of the client certificate for --server',
    placeholder: 'FILE',
  }),
  clientKey: stringOption({ description: 'PEM file of the key of --client-cert', placeholder: 'FILE' }),
};

/** A function that finds the access anew on each call, for createApiClient; nothing is read before. */
export function accessLoader(
  settings: OptionValues<typeof connectionOptions>,
  dataDir: string,
  components: readonly string[],
): () => Promise<ClusterAccess> {
  const { kubeconfig, server } = settings;
  const full: AccessSettings = {
    ...settings,
    // a server that was named wins over a KUBECONFIG that happens to be in the environment
    kubeconfig: server === undefined ? kubeconfig : undefined,
    defaultKubeconfigs: components.map((component) => join(dataDir, `${component}.kubeconfig`)),
  };
  return () => loadAccess(full);
}
