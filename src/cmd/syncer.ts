/** `edge syncer`: mirrors the peers' Routers into the local API. */
import { hostname } from 'node:os';
import { createApiClient } from '../apiclient/client.ts';
import { systemClock } from '../lib/clock.ts';
import { UsageError } from '../lib/errors.ts';
import { listOption, stringOption } from '../lib/options.ts';
import { parsePeerList } from '../syncer/peers.ts';
import { createSyncer } from '../syncer/syncer.ts';
import { accessLoader, connectionOptions } from './connection.ts';
import { addOptions, createCommand } from './options.ts';
import { createContext, processOptions, readSettings, runComponent } from './process.ts';

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
  const command = createCommand(programName, "Mirror the peers' Routers into the local API.");
  command.option('--config <FILE>', 'YAML file with these settings, in camelCase');
  addOptions(command, options);
  command.parse([...argv], { from: 'user' });
  const settings = readSettings(command, options, command.opts<{ config?: string }>().config);
  if (settings.peers.length > 0 && settings.peersFile !== undefined) {
    throw new UsageError('--peers and --peers-file exclude each other');
  }
  const credentials = {
    tokenFile: settings.peerTokenFile,
    caFile: settings.peerCaFile,
    clientCertFile: settings.peerClientCert,
    clientKeyFile: settings.peerClientKey,
  };
  const peers = settings.peersFile ?? parsePeerList(settings.peers, credentials, '--peers');
  const context = createContext('syncer', settings);
  if (peers.length === 0)
    context.log.warn('no peers: nothing to mirror, mirrors of former peers are removed');
  const local = createApiClient(accessLoader(settings, context.dataDir, ['syncer']), { component: 'syncer' });
  const syncer = createSyncer(
    { node: settings.node ?? hostname().toLowerCase(), peers, local },
    { clock: systemClock, log: context.log, registry: context.registry },
  );
  await runComponent(
    {
      ...syncer,
      async stop() {
        await syncer.stop();
        local.close();
      },
    },
    context,
    settings,
  );
}
