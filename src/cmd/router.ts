/** `edge router`: the tunnel server of this node, configured by its Router object. */
import { hostname, networkInterfaces } from 'node:os';
import { isAbsolute } from 'node:path';
import { ROUTERS } from '../api/edge.ts';
import type { Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { createInformer } from '../apiclient/informer.ts';
import { systemClock } from '../lib/clock.ts';
import { UsageError } from '../lib/errors.ts';
import { listOption, stringOption } from '../lib/options.ts';
import { checkAdvertised } from '../router/addresses.ts';
import type { TokenSource } from '../router/config.ts';
import { createDashboard } from '../router/dashboard/dashboard.ts';
import { createRouter } from '../router/router.ts';
import { createSecretReader } from '../router/secrets.ts';
import { createStatusWriter } from '../router/status-writer.ts';
import { createFrpServer } from '../tunnel/frps/server.ts';
import { accessLoader, connectionOptions } from './connection.ts';
import { addOptions, createCommand, readOptions } from './options.ts';
import { createContext, processOptions, runComponent } from './process.ts';

const options = {
  node: stringOption({
    description: 'which Router object is this one (default: host name)',
    placeholder: 'NAME',
    env: 'EDGE_NODE_NAME',
    check: checkNodeName,
  }),
  advertiseAddress: listOption({
    description: 'address that sidecars elsewhere dial (default: first non-loopback address)',
    placeholder: 'ADDRESS',
    env: 'EDGE_ADVERTISE_ADDRESS',
  }),
  socket: stringOption({
    description: 'accept tunnel connections on a unix socket too',
    placeholder: 'PATH',
    env: 'EDGE_ROUTER_SOCKET',
    check: checkSocketPath,
  }),
  ...connectionOptions,
  // The flag is the tunnel's here; the API server's token has a name of its own.
  tokenFile: stringOption({
    description: 'file with the frp token, where the Router object names none',
    placeholder: 'FILE',
    env: 'EDGE_ROUTER_TOKEN_FILE',
  }),
  token: stringOption({ description: 'the frp token itself', env: 'EDGE_ROUTER_TOKEN', hasFlag: false }),
  serverTokenFile: stringOption({
    description: 'file that holds the bearer token for --server',
    placeholder: 'FILE',
  }),
  ...processOptions,
};

/** Runs the subcommand; resolves after a drain. */
export async function run(argv: readonly string[], programName: string): Promise<void> {
  const command = createCommand(programName, 'Run the frp-compatible tunnel server of this node.');
  addOptions(command, options);
  command.parse([...argv], { from: 'user' });
  const settings = readOptions(command, options);
  for (const address of settings.advertiseAddress) checkAdvertised(address, '--advertise-address');
  const hasTokenFlag = command.opts<{ tokenFile?: unknown }>().tokenFile !== undefined;
  const context = createContext('router', settings);
  const { log, registry } = context;
  const node = settings.node ?? checkNodeName(hostname().toLowerCase(), 'host name');
  const access = accessLoader({ ...settings, tokenFile: settings.serverTokenFile }, context.dataDir, [
    'router',
  ]);
  const client = createApiClient(access, { component: 'router' });
  const objects = createInformer<Router>(
    { client, resource: ROUTERS, fieldSelector: `metadata.name=${node}` },
    { clock: systemClock, log },
  );
  const router = createRouter(
    {
      node,
      advertised: settings.advertiseAddress,
      defaults: {
        token: tokenSource(settings.token, settings.tokenFile, hasTokenFlag),
        socketPath: settings.socket,
      },
      drainTimeoutMs: context.drainTimeoutMs,
    },
    {
      clock: systemClock,
      random: Math.random,
      log,
      objects,
      secrets: createSecretReader(process.env),
      writeStatus: createStatusWriter(client),
      createServer: createFrpServer,
      createDashboard: (state, onChange) =>
        createDashboard(state, onChange, { clock: systemClock, random: Math.random, log, registry }),
      interfaces: networkInterfaces,
    },
  );
  await runComponent(
    {
      checks: router.checks,
      start: () => router.start(),
      reload: () => router.reload(),
      async stop() {
        await router.stop();
        client.close();
      },
    },
    context,
    settings,
  );
}

/** A flag wins over both variables, the value over the file. */
function tokenSource(value: string | undefined, file: string | undefined, isFileFlag: boolean): TokenSource {
  if (file !== undefined && (isFileFlag || value === undefined)) return { file };
  return value === undefined ? undefined : { value };
}

/** Object names are DNS subdomains (RFC 1123); a wrong one would wait for an object that cannot exist. */
function checkNodeName(text: string, what: string): string {
  const isName = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/u.test(text);
  if (!isName)
    throw new UsageError(`${what}: "${text}" is not a node name (lower-case letters, digits, "-" and ".")`);
  return text;
}

/** sun_path holds 107 bytes and a terminating zero on Linux. */
function checkSocketPath(text: string, what: string): string {
  if (!isAbsolute(text)) throw new UsageError(`${what}: "${text}" is not an absolute path`);
  if (Buffer.byteLength(text) > 107) throw new UsageError(`${what}: the path is longer than 107 bytes`);
  return text;
}
