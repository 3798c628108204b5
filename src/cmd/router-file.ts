/** What `edge router` does with a frps configuration file before it runs: checks it, and logs as it says. */
import { appendFileSync } from 'node:fs';
import { errorMessage, UsageError } from '../lib/errors.ts';
import type { LoggerOptions } from '../lib/log.ts';
import type { RouterDefaults } from '../router/config.ts';
import { buildFrpsConfig, frpsLog, readFrpsSettings } from '../router/frps-file/config.ts';
import { createSecretReader } from '../router/secrets.ts';

/** Reads a file and all that it names. Throws an error that names the file and the key or line. */
export function checkFile(path: string, overrides: RouterDefaults): void {
  const secrets = createSecretReader(process.env);
  buildFrpsConfig(path, readFrpsSettings(path, secrets), overrides, secrets);
}

/** The log settings of a file; a level that was given by flag or variable wins. Throws UsageError for a log that cannot be written. */
export function readLogSettings(
  path: string,
  isLevelFlag: boolean,
): Partial<Pick<LoggerOptions, 'level' | 'write' | 'hasColor'>> {
  const { file, level, hasColor } = frpsLog(readFrpsSettings(path, createSecretReader(process.env)));
  const isLevelGiven = isLevelFlag || (process.env['EDGE_LOG_LEVEL'] ?? '') !== '';
  return {
    ...(isLevelGiven ? {} : { level }),
    ...(hasColor && file === undefined ? {} : { hasColor: false }),
    ...(file === undefined ? {} : { write: appendTo(file, path) }),
  };
}

/** Opens the file for each line, so that it may be rotated at any time. */
function appendTo(file: string, source: string): (line: string) => void {
  try {
    appendFileSync(file, '');
  } catch (err) {
    throw new UsageError(
      `${source}: log.to: cannot write ${file}: ${errorMessage(err).replace(`${file}: `, '')}`,
      {
        cause: err,
      },
    );
  }
  return (line) => {
    try {
      appendFileSync(file, `${line}\n`);
    } catch {
      process.stderr.write(`${line}\n`); // a full disk must not end the tunnel, nor hide why
    }
  };
}
