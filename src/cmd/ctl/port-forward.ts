/** `edge ctl port-forward SERVICE [LOCAL:]PORT`: a port of this machine that leads to a service, as a sidecar would reach it. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { ROUTERS } from '../../api/edge.ts';
import type { Router } from '../../api/gen/types.ts';
import { createInformer } from '../../apiclient/informer.ts';
import { formatHostPort } from '../../lib/address.ts';
import { systemClock } from '../../lib/clock.ts';
import { EdgeError, errorCode, errorMessage, UsageError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { stringOption } from '../../lib/options.ts';
import { createForward } from '../../sidecar/forward.ts';
import { createMaintenanceHost } from '../../ssh/node-sshd.ts';
import { buildConfig } from '../../sidecar/options.ts';
import type { SidecarConfig } from '../../sidecar/options.ts';
import { checkPort, parseMapped, serviceKey } from '../../sidecar/services.ts';
import { sidecarOptions } from '../../sidecar/settings.ts';
import { createFrpClient } from '../../tunnel/frpc/client.ts';
import { addOptions, readOptions, readTextFile } from '../options.ts';
import { createVerb, runVerb } from './verb.ts';

/** The way through Routers is a sidecar's, and so are its flags and variables. */
const options = {
  routerToken: sidecarOptions.routerToken,
  routerTokenFile: sidecarOptions.routerTokenFile,
  routerTls: sidecarOptions.routerTls,
  routerCaFile: sidecarOptions.routerCaFile,
  secretKey: sidecarOptions.secretKey,
  secretKeyFile: sidecarOptions.secretKeyFile,
  requireSealed: sidecarOptions.requireSealed,
  routers: sidecarOptions.routers,
  node: stringOption({ description: 'the node this runs on; its Router is preferred', placeholder: 'NAME' }),
};

/** Ports that are tried when any will do: another program may take one in the moment before it is used. */
const FREE_PORT_TRIES = 5;

const HELP = `
Examples:
  edge ctl port-forward mysql 3306                 # 127.0.0.1:3306 is port 3306 of mysql.default
  edge ctl port-forward web.prod 8080:80
  edge ctl port-forward web.prod :80               # a port that is free
  edge ctl port-forward mysql 3306 --address 0.0.0.0`;

/** Runs the verb until it is interrupted. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('port-forward SERVICE [LOCAL:]PORT', 'Forward a local port to a service.')
    .argument('<SERVICE>', 'NAME[.NAMESPACE]')
    .argument('<PORT>', '[LOCAL:]PORT')
    .option('--address <IP>', 'where to listen', '127.0.0.1')
    .allowExcessArguments(false)
    .addHelpText('after', HELP);
  addOptions(command, options);
  await runVerb(command, argv, async ({ client, dataDir, print, warn }, [service, ports]) => {
    if (service === undefined || ports === undefined)
      throw new UsageError('port-forward: wanted SERVICE [LOCAL:]PORT');
    const { address } = command.opts<{ address: string }>();
    const { local, port } = parsePorts(ports);
    const mapped = parseMapped(service, 'port-forward', 'default');
    const config = configFor(serviceKey(mapped), readOptions(command, options), dataDir);
    // warnings of single connections are told once; what goes on inside is not for a terminal
    const log = createLogger({ level: 'warn', format: 'text', write: warn });
    const interrupted = new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    });
    // what goes on here has timers that keep nobody alive
    const keepAlive = setInterval(() => {}, 2 ** 31 - 1);
    try {
      for (let attempt = 1; ; attempt++) {
        const listen = { host: address, port: local === 0 ? await freePort(address) : local };
        const forward = createForward(
          { config, listen, port },
          {
            clock: systemClock,
            random: Math.random,
            log,
            routers: createInformer<Router>({ client, resource: ROUTERS }, { clock: systemClock, log }),
            createClient: (frpc, clientLog) =>
              createFrpClient(frpc, { clock: systemClock, random: Math.random, log: clientLog }),
          },
        );
        try {
          await forward.start();
          const from = formatHostPort(listen.host, listen.port);
          await print(`Forwarding from ${from} -> ${serviceKey(mapped)}:${port}\n`);
          await interrupted;
          return;
        } catch (err) {
          const isTaken = errorCode(err) === 'EDGE_ERR_LISTEN';
          if (local !== 0 || !isTaken || attempt === FREE_PORT_TRIES) throw err;
        } finally {
          await forward.stop();
        }
      }
    } finally {
      clearInterval(keepAlive);
    }
  });
}

/** `PORT`, `LOCAL:PORT`, or `:PORT` for a local port that is free. */
function parsePorts(text: string): { local: number; port: number } {
  const [, local, port] = /^(?:(\d*):)?(\d+)$/u.exec(text) ?? [];
  if (port === undefined) throw new UsageError(`port-forward: "${text}" is not [LOCAL:]PORT`);
  const wanted = checkPort(port, 'port', 'port-forward');
  if (local === '') return { local: 0, port: wanted };
  return {
    local: local === undefined ? wanted : checkPort(local, 'local port', 'port-forward'),
    port: wanted,
  };
}

/** The configuration of a sidecar that maps only this service. */
function configFor(
  service: string,
  settings: ReturnType<typeof readOptions<typeof options>>,
  dataDir: string,
): SidecarConfig {
  const defaults = Object.fromEntries(
    Object.entries(sidecarOptions).map(([key, option]) => [key, option.default]),
  ) as Parameters<typeof buildConfig>[0];
  return buildConfig(
    { ...defaults, ...settings, mappedServices: [service], dnsAddr: 'off', adminAddr: 'off' },
    {
      hostname: hostname(),
      dataDir,
      readFile: readTextFile,
      resolvConf: () => undefined,
      host: createMaintenanceHost(),
    },
  );
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (err) => reject(new EdgeError('EDGE_ERR_CTL_LISTEN', errorMessage(err))));
    server.listen({ host, port: 0 }, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
