/** `edge syncer`: mirrors the other nodes' objects into the local API, from a mesh of peers or a hub. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createApiClient } from '../apiclient/client.ts';
import type { ApiClient } from '../apiclient/client.ts';
import { readKubeconfig } from '../apiclient/kubeconfig.ts';
import { systemClock } from '../lib/clock.ts';
import { errorMessage, UsageError } from '../lib/errors.ts';
import { listOption, stringOption } from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';
import { parsePeerList } from '../syncer/peers.ts';
import { createSyncer } from '../syncer/syncer.ts';
import type { SyncerConfig } from '../syncer/syncer.ts';
import { accessLoader, connectionOptions } from './connection.ts';
import { addOptions, createCommand } from './options.ts';
import { createContext, processOptions, readSettings, runComponent } from './process.ts';
import type { ProcessContext } from './process.ts';

const options = {
  node: stringOption({
    description: "this node's name (default: host name)",
    placeholder: 'NAME',
    env: 'EDGE_NODE_NAME',
  }),
  peers: listOption({ description: 'peers: NODE=URL,…', placeholder: 'LIST', env: 'SYNCER_PEERS' }),
  peersFile: stringOption({
    description: 'YAML file with the peers and their credentials; re-read when it changes',
    placeholder: 'FILE',
    env: 'SYNCER_PEERS_FILE',
  }),
  hub: stringOption({
    description: 'kubeconfig of one Kubernetes API to publish to and mirror from, instead of a mesh of peers',
    placeholder: 'KUBECONFIG',
    env: 'SYNCER_HUB',
  }),
  peerTokenFile: stringOption({
    description: 'bearer token for the peers of --peers',
    placeholder: 'FILE',
    env: 'SYNCER_PEER_TOKEN_FILE',
  }),
  peerCaFile: stringOption({
    description: 'authorities of the peers of --peers, PEM',
    placeholder: 'FILE',
    env: 'SYNCER_PEER_CA_FILE',
  }),
  peerClientCert: stringOption({
    description: 'client certificate for the peers of --peers, PEM',
    placeholder: 'FILE',
    env: 'SYNCER_PEER_CLIENT_CERT',
  }),
  peerClientKey: stringOption({
    description: 'key of --peer-client-cert, PEM',
    placeholder: 'FILE',
    env: 'SYNCER_PEER_CLIENT_KEY',
  }),
  ...connectionOptions,
  ...processOptions,
};

/** Runs the subcommand; resolves after a drain. */
export async function run(argv: readonly string[], programName: string): Promise<void> {
  const command = createCommand(
    programName,
    "Mirror the other nodes' Routers and NodeMaintenances into the local API.",
  );
  command.option('--config <FILE>', 'YAML file with these settings, in camelCase');
  addOptions(command, options);
  command.parse([...argv], { from: 'user' });
  const settings = readSettings(command, options, command.opts<{ config?: string }>().config);
  const context = createContext('syncer', settings);
  const client = (components: readonly string[]): ApiClient =>
    createApiClient(accessLoader(settings, context.dataDir, components), { component: 'syncer' });
  const local = client(['syncer']);
  const { from, opened } = source(settings, context, client);
  const syncer = createSyncer(
    { node: settings.node ?? hostname().toLowerCase(), from, local },
    { clock: systemClock, log: context.log, registry: context.registry },
  );
  await runComponent(
    {
      ...syncer,
      async stop() {
        await syncer.stop();
        for (const each of [local, ...opened]) each.close();
      },
    },
    context,
    settings,
  );
}

/** Where mirrors come from, and the clients that were opened for it. */
function source(
  settings: OptionValues<typeof options>,
  context: ProcessContext,
  client: (components: readonly string[]) => ApiClient,
): { from: SyncerConfig['from']; opened: ApiClient[] } {
  const { hub: hubFile, peersFile, log } = { ...settings, log: context.log };
  const given = [
    ...(settings.peers.length > 0 ? ['--peers'] : []),
    ...(peersFile === undefined ? [] : ['--peers-file']),
    ...(hubFile === undefined ? [] : ['--hub']),
  ];
  if (given.length > 1) throw new UsageError(`${given.join(' and ')} exclude each other`);
  if (hubFile !== undefined) {
    const hub = createApiClient(() => Promise.resolve(readKubeconfig(hubFile)), { component: 'syncer' });
    const own = client(['cloud']);
    return { from: { hub, own, publisher: installationId(context) }, opened: [hub, own] };
  }
  const from =
    peersFile ??
    parsePeerList(
      settings.peers,
      {
        tokenFile: settings.peerTokenFile,
        caFile: settings.peerCaFile,
        clientCertFile: settings.peerClientCert,
        clientKeyFile: settings.peerClientKey,
      },
      '--peers',
    );
  if (from.length === 0) log.warn('no peers: nothing to mirror, mirrors of former peers are removed');
  return { from, opened: [] };
}

/** What tells this installation from another one of the same name at the hub; made once, and kept beside the other state. */
function installationId({ dataDir, log }: ProcessContext): string {
  const path = join(dataDir, 'syncer.id');
  try {
    const known = readFileSync(path, 'utf8').trim();
    if (/^[0-9a-f-]{36}$/u.test(known)) return known;
  } catch {
    // the first start
  }
  const id = randomUUID();
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    writeFileSync(path, `${id}\n`, { mode: 0o600 });
  } catch (err) {
    const hint = 'after a restart the hub takes 90 s to accept this node again';
    log.warn('cannot keep the id of this installation', { error: errorMessage(err), hint });
  }
  return id;
}
