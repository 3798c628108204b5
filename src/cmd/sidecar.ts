/** `edge sidecar`: settings to configuration, real sockets and clocks to the component, a command as its child. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { ROUTERS } from '../api/edge.ts';
import type { Router } from '../api/gen/types.ts';
import { createApiClient } from '../apiclient/client.ts';
import { createInformer } from '../apiclient/informer.ts';
import { systemClock } from '../lib/clock.ts';
import { UsageError } from '../lib/errors.ts';
import { stringOption } from '../lib/options.ts';
import { parseYaml } from '../lib/yaml.ts';
import { createChild } from '../sidecar/child.ts';
import type { ChildCommand } from '../sidecar/child.ts';
import { createMaintenanceHost } from '../ssh/node-sshd.ts';
import { createNameService } from '../sidecar/names.ts';
import { buildConfig, RESOLV_CONF } from '../sidecar/options.ts';
import { sidecarOptions } from '../sidecar/settings.ts';
import type { SidecarConfig } from '../sidecar/options.ts';
import { isRouter } from '../sidecar/router-shape.ts';
import { createSidecar } from '../sidecar/sidecar.ts';
import { createFrpClient } from '../tunnel/frpc/client.ts';
import { accessLoader, connectionOptions } from './connection.ts';
import { addOptions, createCommand, readOptions, readTextFile } from './options.ts';
import { createContext, processOptions, runComponent } from './process.ts';
import { secureRandom } from '../lib/random.ts';
import { tuneForRelaying } from './relay-runtime.ts';

const fileOptions = {
  config: stringOption({
    description: 'YAML file with the same settings in camelCase; re-read when it changes and on SIGHUP',
    placeholder: 'FILE',
    env: 'SIDECAR_CONFIG',
  }),
};
const table = { ...processOptions, ...connectionOptions, ...sidecarOptions };

/** Signals that go to the command besides SIGTERM and SIGINT. Not SIGHUP: it reloads, and would end most commands. */
const PASSED_SIGNALS = ['SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const;

const HELP = `
Examples:
  edge sidecar --mapped-services mysql,redis.cache:6379
  edge sidecar --exported-services web=8080,db.prod=127.0.0.1:3306
  edge sidecar --mapped-services mysql --dns-addr 127.0.0.2:53 -- ./app --verbose
  edge sidecar --maintenance --dns-addr off
  curl http://127.0.0.1:7460/status

The configuration file may also have "services": a list of {name, namespace, lbPolicy,
secretKey, parkTimeout}, the settings of single services.

Signals: SIGTERM and SIGINT drain and stop, or go to COMMAND and end with it; SIGHUP
re-reads all files; SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH go to COMMAND.`;

/** Runs the subcommand until a signal or the end of its command. */
export async function run(argv: readonly string[], programName: string): Promise<void> {
  const dashes = argv.indexOf('--');
  const own = dashes === -1 ? argv : argv.slice(0, dashes);
  const [file, ...rest] = dashes === -1 ? [] : argv.slice(dashes + 1);
  if (dashes !== -1 && file === undefined) throw new UsageError('a command is missing after "--"');
  const command = createCommand(
    programName,
    'Bring remote services to loopback, publish local ones, answer their names.',
  )
    .usage('[options] [-- COMMAND [ARGS...]]')
    .allowExcessArguments(false);
  addOptions(command, { ...fileOptions, ...table });
  command.addHelpText('after', HELP);
  await command.parseAsync([...own], { from: 'user' });

  const { config: configPath } = readOptions(command, fileOptions);
  const readSettings = () =>
    readOptions(
      command,
      table,
      configPath === undefined ? undefined : { path: configPath, otherKeys: ['services'] },
    );
  const settings = readSettings();
  const context = createContext('sidecar', settings);
  const host = createMaintenanceHost();
  const readConfig = (): SidecarConfig => {
    const perService =
      configPath === undefined ? undefined : { value: servicesOf(configPath), source: configPath };
    const config = buildConfig(readSettings(), {
      hostname: hostname(),
      dataDir: context.dataDir,
      readFile: readTextFile,
      resolvConf: () => textOrNothing(RESOLV_CONF),
      perService,
      host,
    });
    return configPath === undefined ? config : { ...config, files: [...config.files, configPath] };
  };
  const initial = readConfig();
  const client = createApiClient(accessLoader(settings, context.dataDir, ['sidecar']), {
    component: 'sidecar',
  });
  const { log } = context;
  if (file !== undefined && process.pid === 1)
    log.warn('what the command leaves behind will stay as zombies: start "edge", not "node edge"');
  const child: ChildCommand | undefined =
    file === undefined
      ? undefined
      : createChild([file, ...rest], { clock: systemClock, log, graceMs: context.drainTimeoutMs });
  const sidecar = createSidecar({
    clock: systemClock,
    random: Math.random,
    log,
    registry: context.registry,
    drainTimeoutMs: context.drainTimeoutMs,
    routers: createInformer<Router>(
      { client, resource: ROUTERS, isWanted: isRouter },
      { clock: systemClock, log },
    ),
    readConfig,
    createClient: (frpc, clientLog) =>
      createFrpClient(frpc, { clock: systemClock, random: Math.random, log: clientLog }),
    names:
      initial.dns === undefined
        ? undefined
        : createNameService(
            {
              ...initial,
              listen: initial.dns,
              upstreams: initial.dnsUpstreams,
              allowRemoteClients: initial.dnsAllowRemote,
            },
            { clock: systemClock, random: secureRandom, log, registry: context.registry },
          ),
    child,
  });
  if (child !== undefined)
    for (const signal of PASSED_SIGNALS) process.on(signal, () => child.signal(signal));
  const passOn = (signal: NodeJS.Signals): boolean => {
    const isTaken = child?.signal(signal) ?? false;
    if (isTaken) sidecar.announceEnd();
    return isTaken;
  };
  tuneForRelaying();
  await runComponent(
    {
      ...sidecar,
      ...(child === undefined ? {} : { ended: child.ended, onSignal: (signal) => passOn(signal) }),
    },
    context,
    settings,
  );
}

function textOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // minimal images have none
  }
}

/** The per-service settings of the configuration file. */
function servicesOf(path: string): unknown {
  const values = parseYaml(readTextFile(path, '--config'), path);
  return typeof values === 'object' && values !== null
    ? (values as Record<string, unknown>)['services']
    : undefined;
}
