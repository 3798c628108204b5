/** How the program ends: one clear line on stderr and the right exit status. */
import type { CommanderError } from 'commander';
import { errorCode, errorMessage, USAGE_ERROR } from '../lib/errors.ts';
import type { EdgeError } from '../lib/errors.ts';

/** Done, or drained after a signal. */
export const EXIT_OK = 0;
/** The work failed. */
export const EXIT_FAILURE = 1;
/** Flags, variables or files are wrong. */
export const EXIT_USAGE = 2;

/** The code of ExitStatus. */
export const EXIT_STATUS = 'EDGE_EXIT_STATUS';

/** Ends the process with a status that was decided elsewhere and already explained to the user. */
export class ExitStatus extends Error {
  readonly code = EXIT_STATUS;
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}

/**
 * Prints one line (and a hint) for an error and returns the exit status that fits it. Tells errors apart by code
 * and not by class: subcommands are bundles of their own, with their own copies of the classes.
 */
export function report(err: unknown): number {
  const code = errorCode(err);
  if (code === EXIT_STATUS) return (err as ExitStatus).status;
  if (code?.startsWith('commander.') === true) {
    // commander has printed its own line; help and version end well
    return (err as CommanderError).exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
  const hint = (err as EdgeError | undefined)?.hint;
  process.stderr.write(`error: ${errorMessage(err)}${typeof hint === 'string' ? `\nhint: ${hint}` : ''}\n`);
  if (process.env['EDGE_DEBUG'] === '1' && err instanceof Error) process.stderr.write(`${err.stack ?? ''}\n`);
  return code === USAGE_ERROR ? EXIT_USAGE : EXIT_FAILURE;
}

/** Reports an error and ends the process once stderr is written. */
export function reportAndExit(err: unknown): void {
  process.exitCode = report(err);
  // A half-started component may hold sockets and timers open; nothing of it is worth waiting for.
  process.stderr.write('', () => process.exit());
}
