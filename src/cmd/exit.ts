/** How the program ends: one clear line on stderr and the right exit status. */
import { CommanderError } from 'commander';
import { EdgeError, errorMessage, UsageError } from '../lib/errors.ts';

/** Done, or drained after a signal. */
export const EXIT_OK = 0;
/** The work failed. */
export const EXIT_FAILURE = 1;
/** Flags, variables or files are wrong. */
export const EXIT_USAGE = 2;

/** Ends the process with a status that was decided elsewhere and already explained to the user. */
export class ExitStatus extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}

/** Prints one line (and a hint) for an error and returns the exit status that fits it. */
export function report(err: unknown): number {
  if (err instanceof ExitStatus) return err.status;
  if (err instanceof CommanderError) {
    // commander has printed its own line; help and version end well
    return err.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
  const hint = err instanceof EdgeError && err.hint !== undefined ? `\nhint: ${err.hint}` : '';
  process.stderr.write(`error: ${errorMessage(err)}${hint}\n`);
  if (process.env['EDGE_DEBUG'] === '1' && err instanceof Error) process.stderr.write(`${err.stack ?? ''}\n`);
  return err instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE;
}

/** Reports an error and ends the process once stderr is written. */
export function reportAndExit(err: unknown): void {
  process.exitCode = report(err);
  // A half-started component may hold sockets and timers open; nothing of it is worth waiting for.
  process.stderr.write('', () => process.exit());
}
