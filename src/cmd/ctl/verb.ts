/** What every verb shares: its flags, its way to the API server, where it writes. */
import type { Command } from 'commander';
import { createApiClient } from '../../apiclient/client.ts';
import type { ApiClient } from '../../apiclient/client.ts';
import type { ClusterAccess } from '../../apiclient/kubeconfig.ts';
import { defaultDataDir } from '../../lib/data-dir.ts';
import { durationOption, stringOption } from '../../lib/options.ts';
import type { OptionValues } from '../../lib/options.ts';
import { accessLoader, connectionOptions } from '../connection.ts';
import { addOptions, createCommand, readOptions } from '../options.ts';

/** Flags that every verb takes, before or after its name. */
export const globalOptions = {
  ...connectionOptions,
  dataDir: stringOption({
    description: 'where this node keeps its state and kubeconfigs',
    placeholder: 'DIR',
    env: 'EDGE_DATA_DIR',
  }),
  requestTimeout: durationOption({
    description: 'longest wait for one answer; 0 waits for ever',
    default: '30s',
  }),
};

/** The global flags that take a value: a verb may stand behind them. */
export const VALUE_FLAGS: ReadonlySet<string> = new Set([
  '--kubeconfig',
  '--context',
  '--server',
  '--token-file',
  '--ca-file',
  '--client-cert',
  '--client-key',
  '--data-dir',
  '--request-timeout',
]);

/** A verb's connection and output. */
export interface Session {
  client: ApiClient;
  /** Where the API server is and who to be there, for what is no JSON. */
  access: () => Promise<ClusterAccess>;
  settings: OptionValues<typeof globalOptions>;
  dataDir: string;
  /** Writes to stdout; resolves when there is room for more. */
  print: (text: string) => Promise<void>;
  /** Writes a line to stderr. */
  warn: (line: string) => void;
}

/** Starts the command of a verb, with the global flags. */
export function createVerb(usage: string, description: string): Command {
  const command = createCommand(`edge ctl ${usage.split(' ', 1)[0] ?? ''}`, description);
  command.usage(`${usage.split(' ').slice(1).join(' ')} [flags]`);
  command.option('-n, --namespace <NAME>', 'taken for compatibility; the types here have no namespace');
  addOptions(command, globalOptions);
  return command;
}

/** Longest wait that a timer can hold; stands for "for ever". */
const NO_LIMIT_MS = 2 ** 31 - 1;

/** Parses the arguments and runs the verb's work with a session; the connection is closed whatever happens. */
export async function runVerb(
  command: Command,
  argv: readonly string[],
  work: (session: Session, args: readonly string[]) => Promise<void>,
): Promise<void> {
  command.parse(plainFlags(command, argv), { from: 'user' });
  const settings = readOptions(command, globalOptions);
  const dataDir = settings.dataDir ?? defaultDataDir(process.env);
  const access = accessLoader(settings, dataDir, ['admin', 'sidecar']);
  const client = createApiClient(access, {
    component: 'ctl',
    requestTimeoutMs: settings.requestTimeout === 0 ? NO_LIMIT_MS : settings.requestTimeout,
    onWarning: (text) => void process.stderr.write(`Warning: ${text}\n`),
  });
  try {
    await work(
      { client, access, settings, dataDir, print, warn: (line) => void process.stderr.write(`${line}\n`) },
      command.args,
    );
  } finally {
    client.close();
  }
}

/**
 * kubectl's spellings in commander's: `--flag=true`, `--flag=false`, `-o=json`. A switch takes its value behind `=` only,
 * so that the argument behind it is not taken for one.
 */
function plainFlags(command: Command, argv: readonly string[]): string[] {
  const switches = new Set(
    command.options.filter((option) => !option.required && !option.optional).map((option) => option.long),
  );
  const withValue = new Set(command.options.filter(({ optional }) => optional).map(({ long }) => long));
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  return argv.flatMap((arg, at) => {
    if (at >= end) return [arg];
    const short = /^(-[A-Za-z])=(.*)$/su.exec(arg);
    if (short !== null) return [short[1] ?? '', short[2] ?? ''];
    if (withValue.has(arg)) return [`${arg}=true`];
    const match = /^(--[a-z-]+)=(true|false)$/u.exec(arg);
    const flag = match?.[1] ?? '';
    if (match === null || !switches.has(flag)) return [arg];
    if (match[2] === 'true') return [flag];
    const negated = `--no-${flag.slice(2)}`;
    return switches.has(negated) ? [negated] : [];
  });
}

function print(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, () => resolve());
  });
}

/** Collects a repeatable flag. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** Collects a repeatable flag whose values may also be separated by commas. */
export function collectList(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), ...value.split(',')];
}
