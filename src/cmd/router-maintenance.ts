/** `edge router --maintenance`: its flags, and the publisher of the node's own sshd that they make. */
import { systemClock } from '../lib/clock.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import { stringOption, switchOption } from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';
import type { Maintenance } from '../router/maintenance.ts';
import { createOwnSshd } from '../router/own-sshd.ts';
import type { OwnSshdConfig } from '../router/own-sshd.ts';
import type { RouterState } from '../router/router.ts';
import { createMaintenanceHost, maintenanceExport } from '../ssh/node-sshd.ts';
import { createFrpClient } from '../tunnel/frpc/client.ts';
import { readCredentials, tunnelOptions } from './tunnel-options.ts';

/** The same flags and variables as the sidecar's. */
export const routerMaintenanceOptions = {
  maintenance: switchOption({
    description: "publish this node's sshd for maintenance",
    env: 'EDGE_MAINTENANCE',
  }),
  maintenanceTarget: stringOption({
    description: 'where the sshd of --maintenance listens',
    placeholder: 'HOST:PORT',
    env: 'EDGE_MAINTENANCE_TARGET',
    defaultText: '127.0.0.1:22',
  }),
  uniqueId: stringOption({
    description: "the node's id for maintenance (default a hash of its hardware address)",
    placeholder: 'ID',
    env: 'EDGE_MAINTENANCE_UNIQUE_ID',
  }),
  hostKeyDir: stringOption({
    description: 'where the public host keys of that sshd are',
    placeholder: 'DIR',
    env: 'EDGE_MAINTENANCE_HOST_KEY_DIR',
    defaultText: '/etc/ssh',
  }),
  secretKey: tunnelOptions.secretKey,
  secretKeyFile: tunnelOptions.secretKeyFile,
  requireSealed: tunnelOptions.requireSealed,
};

/** Reads the settings; undefined without --maintenance. Throws UsageError that names the wrong one. */
export function readOwnSshd(
  settings: OptionValues<typeof routerMaintenanceOptions>,
  node: string,
): OwnSshdConfig | undefined {
  if (!settings.maintenance) return undefined;
  const { maintenanceTarget: target = '127.0.0.1:22', uniqueId, hostKeyDir = '/etc/ssh' } = settings;
  const { service } = maintenanceExport({ target, uniqueId, hostKeyDir }, createMaintenanceHost(), node);
  const { secret, isSealRequired } = readCredentials({
    ...settings,
    routerToken: undefined, // the Router knows its own token
    routerTokenFile: undefined,
  });
  return { service, node, secret, isSealRequired };
}

/** The reporter of nodes together with the publisher, whichever there are; undefined for neither. */
export function withOwnSshd(
  createReporter: ((state: RouterState) => Maintenance) | undefined,
  config: OwnSshdConfig | undefined,
  log: Logger,
): ((state: RouterState) => Maintenance) | undefined {
  if (config === undefined) return createReporter;
  return (state) => {
    const reporter = createReporter?.(state);
    const sshd = createOwnSshd(config, {
      clock: systemClock,
      log,
      state,
      createClient: (client) => createFrpClient(client, { clock: systemClock, random: Math.random, log }),
    });
    const parts: (Component & { notify(): void })[] = reporter === undefined ? [sshd] : [sshd, reporter];
    return {
      notify: () => parts.forEach((part) => part.notify()),
      async start() {
        for (const part of parts) await part.start();
      },
      // the sshd first, so that the reporter's last word is that the node is offline
      async stop() {
        for (const part of parts) await part.stop();
      },
    };
  };
}
