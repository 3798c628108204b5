/** `edge router`: the tunnel server of this node, configured by its Router object or by a frps configuration file. */
import { hostname, networkInterfaces } from 'node:os';
import { isAbsolute } from 'node:path';
import type { Command } from 'commander';
import { NODE_MAINTENANCES, ROUTERS } from '../api/edge.ts';
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { createInformer } from '../apiclient/informer.ts';
import { systemClock } from '../lib/clock.ts';
import { UsageError } from '../lib/errors.ts';
import { flagName, listOption, stringOption } from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';
import { checkAdvertised, routerAddresses } from '../router/addresses.ts';
import type { RouterDefaults, TokenSource } from '../router/config.ts';
import { createDashboard } from '../router/dashboard/dashboard.ts';
import { createFileSource } from '../router/file-source.ts';
import { LIMIT_NAMES, parseLimits } from '../router/limits.ts';
import { createObjectSource } from '../router/object-source.ts';
import { createMaintenance } from '../router/maintenance.ts';
import { createRouter } from '../router/router.ts';
import type { RouterDeps, RouterState } from '../router/router.ts';
import { createSecretReader } from '../router/secrets.ts';
import type { ConfigSource } from '../router/source.ts';
import { createSpecCache } from '../router/spec-cache.ts';
import { createStatusWriter } from '../router/status-writer.ts';
import { createFrpServer } from '../tunnel/frps/server.ts';
import { accessLoader, connectionOptions } from './connection.ts';
import { addOptions, createCommand, readOptions, readTextFile } from './options.ts';
import { createContext, processOptions, runComponent } from './process.ts';
import type { ProcessContext } from './process.ts';
import { tuneForRelaying } from './relay-runtime.ts';
import { checkFile, readLogSettings } from './router-file.ts';
import { readOwnSshd, routerMaintenanceOptions, withOwnSshd } from './router-maintenance.ts';

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
  limit: listOption({
    description: `bound of the tunnel server, such as clients=100: ${LIMIT_NAMES.join(', ')}`,
    placeholder: 'NAME=VALUE',
    env: 'EDGE_ROUTER_LIMITS',
  }),
  ...routerMaintenanceOptions,
  terminalUrl: stringOption({
    description: "the API server's page of terminals, for links to it on the dashboard",
    placeholder: 'URL',
    env: 'EDGE_TERMINAL_URL',
    check: checkPageUrl,
  }),
  ...processOptions,
};

/** Flags that lead to an API server, which a router with a file has no use for. */
const API_FLAGS = [...Object.keys(connectionOptions), 'serverTokenFile', 'advertiseAddress'].filter(
  (key) => key !== 'tokenFile',
);

type Settings = OptionValues<typeof options>;

const HELP = `
Without --config the Router object of the node is followed. With it, FILE is a frps
configuration (TOML, YAML or JSON), read again on SIGHUP and when it changes; no API server
is needed. "verify --config FILE" is the same as "--config FILE --check".
`;

/** Runs the subcommand; resolves after a drain, or after a check. */
export async function run(argv: readonly string[], programName: string): Promise<void> {
  const isVerify = argv[0] === 'verify';
  const command = createCommand(programName, 'Run the frp-compatible tunnel server of this node.');
  command.option('-c, --config <FILE>', 'frps configuration file to run by, instead of a Router object');
  command.option('--check', 'check the file of --config, say so and end');
  addOptions(command, options);
  command.addHelpText('after', HELP);
  command.parse(isVerify ? argv.slice(1) : [...argv], { from: 'user' });
  const { config: file, check } = command.opts<{ config?: string; check?: boolean }>();
  const settings = readOptions(command, options);
  const defaults: RouterDefaults = {
    token: tokenSource(settings, isGiven(command, 'tokenFile')),
    socketPath: settings.socket,
    limits: parseLimits(settings.limit, '--limit'),
  };
  if (file === undefined) {
    if (isVerify || check === true) throw new UsageError('--check: wants --config FILE');
    await runByObject(settings, defaults);
    return;
  }
  const apiFlag = API_FLAGS.find((key) => isGiven(command, key));
  if (apiFlag !== undefined)
    throw new UsageError(`--${flagName(apiFlag)}: is not used with --config, which needs no API server`);
  if (isVerify || check === true) {
    checkFile(file, defaults);
    process.stdout.write(`${file}: syntax is ok\n`);
    return;
  }
  await runByFile(file, settings, defaults, isGiven(command, 'logLevel'));
}

function isGiven(command: Command, key: string): boolean {
  return command.opts<Record<string, unknown>>()[key] !== undefined;
}

async function runByFile(
  file: string,
  settings: Settings,
  overrides: RouterDefaults,
  isLevelGiven: boolean,
): Promise<void> {
  checkFile(file, overrides); // a mistake that is there from the start ends the program, as frps does
  const context = createContext('router', settings, readLogSettings(file, isLevelGiven));
  const source = createFileSource(file, overrides, {
    clock: systemClock,
    log: context.log,
    secrets: createSecretReader(process.env),
  });
  await runRouter(source, settings, context);
}

async function runByObject(settings: Settings, defaults: RouterDefaults): Promise<void> {
  for (const address of settings.advertiseAddress) checkAdvertised(address, '--advertise-address');
  const context = createContext('router', settings);
  const { log, dataDir } = context;
  const node = nodeName(settings);
  const access = accessLoader({ ...settings, tokenFile: settings.serverTokenFile }, dataDir, ['router']);
  const client = createApiClient(access, { component: 'router' });
  const objects = createInformer<Router>(
    { client, resource: ROUTERS, fieldSelector: `metadata.name=${node}` },
    { clock: systemClock, log },
  );
  const source = createObjectSource(node, defaults, {
    clock: systemClock,
    log,
    objects,
    secrets: createSecretReader(process.env),
    cache: createSpecCache(dataDir, node, log),
    writeStatus: createStatusWriter(client),
  });
  const maintenance = (state: RouterState) =>
    createMaintenance({
      clock: systemClock,
      random: Math.random,
      log,
      objects: createInformer<NodeMaintenance>(
        { client, resource: NODE_MAINTENANCES },
        { clock: systemClock, log },
      ),
      client,
      proxies: () => state.view().proxies,
      endpoint: () => ({ router: node, address: ownAddress(state, settings), port: state.view().port }),
    });
  await runRouter(source, settings, context, { onStopped: () => client.close(), maintenance });
}

async function runRouter(
  source: ConfigSource,
  settings: Settings,
  context: ProcessContext,
  extras: { onStopped?: () => void; maintenance?: RouterDeps['createMaintenance'] } = {},
): Promise<void> {
  const { log, registry } = context;
  const sshd = readOwnSshd(settings, nodeName(settings));
  const maintenance = withOwnSshd(extras.maintenance, sshd, log);
  const router = createRouter(
    {
      node: nodeName(settings),
      advertised: settings.advertiseAddress,
      socketPath: settings.socket,
      drainTimeoutMs: context.drainTimeoutMs,
    },
    {
      clock: systemClock,
      random: Math.random,
      log,
      source,
      createServer: createFrpServer,
      createDashboard: (state, onChange) =>
        createDashboard(state, onChange, {
          clock: systemClock,
          random: Math.random,
          log,
          registry,
          terminalUrl: settings.terminalUrl,
        }),
      ...(maintenance === undefined ? {} : { createMaintenance: maintenance }),
      interfaces: networkInterfaces,
    },
  );
  tuneForRelaying();
  await runComponent(
    {
      checks: router.checks,
      start: () => router.start(),
      reload: () => router.reload(),
      async stop() {
        await router.stop();
        extras.onStopped?.();
      },
    },
    context,
    settings,
  );
}

/** The first address that the Router's status tells sidecars to dial. */
function ownAddress(state: RouterState, settings: Settings): string {
  const [first] = routerAddresses({
    advertised: settings.advertiseAddress,
    bindAddr: state.config?.server.bindAddr ?? '0.0.0.0',
    socketPath: undefined,
    interfaces: networkInterfaces(),
  });
  return first?.address ?? '';
}

function nodeName({ node }: Settings): string {
  return node ?? checkNodeName(hostname().toLowerCase(), 'host name');
}

/** A flag wins over both variables, the value over the file. */
function tokenSource({ token: value, tokenFile: file }: Settings, isFileFlag: boolean): TokenSource {
  if (file !== undefined && (isFileFlag || value === undefined)) {
    readTextFile(file, '--token-file'); // read again when the tunnel starts and when it changes; a typo shows now
    return { file };
  }
  return value === undefined ? undefined : { value };
}

/** A link of another kind would run as a script of the dashboard. */
function checkPageUrl(text: string, what: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/u.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new UsageError(`${what}: "${text}" is no address of a page, as https://HOST:7480/terminal/`);
  url.hash = '';
  return url.href;
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
