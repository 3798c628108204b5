/** Puts option tables on commander commands and reads them back with environment and file. */
import { readFileSync } from 'node:fs';
import { Command, Option as CommanderOption } from 'commander';
import { errorMessage, UsageError } from '../lib/errors.ts';
import { flagName, resolveOptions } from '../lib/options.ts';
import type { OptionTable, OptionValues } from '../lib/options.ts';
import { parseYaml } from '../lib/yaml.ts';

/** A command whose mistakes end with status 2 and one line. */
export function createCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .helpOption('-h, --help', 'print this help')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /u, 'error: ')) })
    .showHelpAfterError(`run "${name} --help" for usage`)
    .exitOverride();
}

/** Adds a flag for every option of the table, with its variable and default in the help text. */
export function addOptions(command: Command, table: OptionTable): void {
  for (const [key, spec] of Object.entries(table)) {
    if (!spec.hasFlag) continue;
    const flags =
      spec.placeholder === undefined
        ? `--${flagName(key)} [BOOL]`
        : `--${flagName(key)} <${spec.placeholder}>`;
    const notes = [
      ...(spec.env.length > 0 ? [`env ${spec.env.join(', ')}`] : []),
      ...(spec.defaultText === undefined ? [] : [`default ${spec.defaultText}`]),
      ...(spec.isRepeatable ? ['repeatable'] : []),
    ];
    const description = notes.length > 0 ? `${spec.description} (${notes.join('; ')})` : spec.description;
    const option = new CommanderOption(flags, description);
    // All values come out as lists of texts; the table parses them, so that messages are the same for every source.
    option.argParser((text: string, previous: string[] | undefined) => [...(previous ?? []), text]);
    command.addOption(option);
  }
}

/** Reads the settings of a parsed command. `file` is the value of --config, where there is one. */
export function readOptions<Table extends OptionTable>(
  command: Command,
  table: Table,
  file?: { path: string; otherKeys?: readonly string[] },
): OptionValues<Table> {
  const given: Record<string, unknown> = command.opts();
  const flags: Record<string, readonly string[] | undefined> = {};
  for (const key of Object.keys(table)) {
    const value = given[key];
    if (value === true) flags[key] = [''];
    else if (Array.isArray(value)) flags[key] = value as string[];
  }
  return resolveOptions(table, {
    flags,
    env: process.env,
    file: file === undefined ? undefined : readSettingsFile(file.path),
    otherFileKeys: file?.otherKeys ?? [],
  });
}

function readSettingsFile(path: string): { name: string; values: unknown } {
  const text = readTextFile(path, '--config');
  try {
    return { name: path, values: parseYaml(text, path) };
  } catch (err) {
    throw new UsageError(errorMessage(err), { cause: err });
  }
}

/** Reads a file a user named; `what` is the flag or variable that named it. */
export function readTextFile(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    throw new UsageError(`${what}: cannot read ${path}: ${errorMessage(err).replace(`${path}: `, '')}`, {
      cause: err,
    });
  }
}
