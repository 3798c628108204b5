/** What every long-running subcommand does around its component: log, signals, readiness, drain, exit. */
import { execFile } from 'node:child_process';
import type { Command } from 'commander';
import { createAdminApp } from '../lib/admin.ts';
import { parseHostPort } from '../lib/address.ts';
import { commit, version } from '../lib/build-info.ts';
import { defaultDataDir } from '../lib/data-dir.ts';
import { errorMessage } from '../lib/errors.ts';
import { listenHttp } from '../lib/http.ts';
import type { HttpServer } from '../lib/http.ts';
import { within } from '../lib/lifecycle.ts';
import type { Component, ReadinessCheck } from '../lib/lifecycle.ts';
import { createLogger, LOG_FORMATS, LOG_LEVELS, wantsColor } from '../lib/log.ts';
import type { Logger, LoggerOptions } from '../lib/log.ts';
import { createRegistry } from '../lib/metrics.ts';
import type { Registry } from '../lib/metrics.ts';
import { choiceOption, durationOption, stringOption } from '../lib/options.ts';
import type { OptionTable, OptionValues } from '../lib/options.ts';
import { EXIT_FAILURE, report } from './exit.ts';
import { readOptions } from './options.ts';

/** Settings that every long-running subcommand has. */
export const processOptions = {
  logFormat: choiceOption({
    description: 'log lines as text or JSON',
    choices: LOG_FORMATS,
    default: 'text',
    env: 'EDGE_LOG_FORMAT',
  }),
  logLevel: choiceOption({
    description: 'least important level to log',
    choices: LOG_LEVELS,
    default: 'info',
    env: 'EDGE_LOG_LEVEL',
  }),
  metricsAddr: stringOption({
    description: 'serve /healthz, /readyz and /metrics there',
    placeholder: 'HOST:PORT',
    env: 'EDGE_METRICS_ADDR',
  }),
  drainTimeout: durationOption({
    description: 'longest graceful drain on SIGTERM',
    default: '10s',
    env: 'EDGE_DRAIN_TIMEOUT',
  }),
  dataDir: stringOption({
    description: 'where state is kept (default /var/lib/edge for root, else ~/.local/state/edge)',
    placeholder: 'DIR',
    env: 'EDGE_DATA_DIR',
  }),
};

/** What a component's factory gets. */
export interface ProcessContext {
  log: Logger;
  registry: Registry;
  dataDir: string;
  drainTimeoutMs: number;
}

/** A component as a process runs it. */
export interface ProcessComponent extends Component {
  /** Why the component is not ready, for /readyz. */
  checks?: readonly ReadinessCheck[];
  /** Re-reads configuration (SIGHUP). */
  reload?(): Promise<void>;
  /** Resolves with an exit status when the component ends by itself (a child process that exits). */
  ended?: Promise<number>;
  /** Takes signals instead of draining at once (the sidecar passes them on to its child). */
  onSignal?(signal: NodeJS.Signals): boolean;
}

/** Makes log and registry by the process settings; `logChanges` come from a file that says where a log goes. */
export function createContext(
  component: string,
  settings: OptionValues<typeof processOptions>,
  logChanges: Partial<Pick<LoggerOptions, 'level' | 'write' | 'hasColor'>> = {},
): ProcessContext {
  const log = createLogger({
    level: settings.logLevel,
    format: settings.logFormat,
    write: (line) => process.stderr.write(`${line}\n`),
    hasColor: wantsColor(process.stderr.isTTY, process.env),
    ...logChanges,
  });
  return {
    log,
    registry: createRegistry(component, version, commit),
    dataDir: settings.dataDir ?? defaultDataDir(process.env),
    drainTimeoutMs: settings.drainTimeout,
  };
}

/** Reads the table's settings from a parsed command, with `--config` where the command has it. */
export function readSettings<Table extends OptionTable>(
  command: Command,
  table: Table,
  configPath: string | undefined,
): OptionValues<Table> {
  return readOptions(command, table, configPath === undefined ? undefined : { path: configPath });
}

/** Runs a component until a signal or its own end; resolves after the process is told its exit status. */
export async function runComponent(
  component: ProcessComponent,
  context: ProcessContext,
  settings: OptionValues<typeof processOptions>,
): Promise<void> {
  const { log } = context;
  process.on('unhandledRejection', (err) => {
    log.error('unhandled rejection', {
      error: err instanceof Error ? (err.stack ?? err.message) : String(err),
    });
    process.exit(EXIT_FAILURE);
  });
  // Components' timers do not keep the process alive; one that waits for its servers has nothing else open.
  const keepAlive = setInterval(() => {}, 2 ** 31 - 1);
  const ending = waitForEnd(component, log);
  let admin: HttpServer | undefined;
  let status: number;
  try {
    if (settings.metricsAddr !== undefined) {
      const { host, port } = parseHostPort(settings.metricsAddr, '--metrics-addr');
      const app = createAdminApp({ registry: context.registry, checks: component.checks ?? [] });
      admin = await listenHttp({ fetch: app.fetch, host, port });
    }
    const first = await Promise.race([component.start().then(() => undefined), ending]);
    if (first === undefined) {
      log.info('ready');
      notifySystemd('--ready', log);
    }
    status = first ?? (await ending);
  } catch (err) {
    status = report(err);
  }
  notifySystemd('--stopping', log);
  const isDrained = await within(
    component.stop().catch((err: unknown) => log.error('stop failed', { error: errorMessage(err) })),
    context.drainTimeoutMs + 2000,
  );
  if (!isDrained) log.warn('drain timed out', { limitMs: context.drainTimeoutMs });
  await admin?.close(0);
  clearInterval(keepAlive);
  process.stderr.write('', () => process.exit(status));
}

/** Resolves with an exit status on SIGTERM, SIGINT or the component's own end; a second signal ends at once. */
function waitForEnd(component: ProcessComponent, log: Logger): Promise<number> {
  return new Promise((resolve) => {
    let isEnding = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (component.onSignal?.(signal) === true) return;
      if (isEnding) process.exit(EXIT_FAILURE);
      isEnding = true;
      log.info('stopping', { signal });
      resolve(0);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
    process.on('SIGHUP', () => {
      if (component.reload === undefined) {
        log.info('nothing to reload', { signal: 'SIGHUP' });
        return;
      }
      component.reload().then(
        () => log.info('reloaded'),
        (err: unknown) =>
          log.error('reload failed, keeping the old configuration', { error: errorMessage(err) }),
      );
    });
    component.ended?.then(resolve, () => resolve(EXIT_FAILURE));
  });
}

/**
 * Tells systemd. Node has no unix datagram sockets, so systemd's own tool sends the message;
 * the unit needs `NotifyAccess=all` for that.
 */
function notifySystemd(state: '--ready' | '--stopping', log: Logger): void {
  if ((process.env['NOTIFY_SOCKET'] ?? '') === '') return;
  execFile('systemd-notify', [state, `--pid=${process.pid}`], (err) => {
    if (err !== null) log.warn('cannot notify systemd', { error: errorMessage(err) });
  });
}
