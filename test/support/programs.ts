/** Finds the real programs that tests run beside; a missing one skips the test locally and fails it in CI. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What of a test context is needed here; node:test's TestContext fits. */
export interface Skippable {
  skip(message?: string): void;
}

/** Options of requireProgram. */
export interface ProgramOptions {
  /** Programs that a CI machine need not have: their tests are skipped there too. */
  optional?: boolean;
}

/**
 * The path of a program from `EDGE_TEST_<NAME>` or PATH. When it is missing the test is marked skipped and the
 * answer is undefined (return then); with `CI=true` a missing program that is not optional throws.
 */
export function requireProgram(t: Skippable, name: string, options: ProgramOptions = {}): string | undefined {
  const found = findProgram(name);
  if (found !== undefined) return found;
  const reason = `missing program: ${name}`;
  if (process.env['CI'] === 'true' && options.optional !== true) throw new Error(reason);
  t.skip(reason);
  return undefined;
}

/** The path of a program, or undefined. A variable that names a file which cannot run is an error, not a miss. */
export function findProgram(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const variable = `EDGE_TEST_${name.toUpperCase().replaceAll('-', '_')}`;
  const given = env[variable];
  if (given !== undefined && given !== '') {
    if (!isExecutable(given)) throw new Error(`${variable}: ${given} is not an executable file`);
    return given;
  }
  return (env['PATH'] ?? '')
    .split(delimiter)
    .filter((dir) => dir !== '')
    .map((dir) => join(dir, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
