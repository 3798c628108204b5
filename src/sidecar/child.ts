/**
 * The command that runs beside the sidecar: started once, gets every signal, and its end is the sidecar's.
 *
 * Node reaps only processes that it started. What the command leaves behind is reaped by the shell that stands in front
 * of the program when it is PID 1 of a container (src/cmd/shell-init.sh).
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorCode, errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** A command beside the sidecar. */
export interface ChildCommand {
  /** Starts it; standard input, output and error are the sidecar's own. */
  start(): void;
  /** Passes a signal on. False when there is no process to take it. */
  signal(signal: NodeJS.Signals): boolean;
  /** Ends it for good; used when the sidecar itself must go. */
  kill(): void;
  /** Its exit status once it has ended: 128 + n for signal n, 126 or 127 when it could not be started. */
  readonly ended: Promise<number>;
}

/** What the child needs. */
export interface ChildDeps {
  clock: Clock;
  log: Logger;
  /** Time from the first SIGTERM or SIGINT to SIGKILL, milliseconds. */
  graceMs: number;
}

/** Describes the command; nothing runs before start(). */
export function createChild(command: readonly [string, ...string[]], deps: ChildDeps): ChildCommand {
  const [file, ...args] = command;
  let child: ChildProcess | undefined;
  let grace: Timer | undefined;
  let finish: (status: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    finish = (status) => {
      grace?.cancel();
      child = undefined;
      resolve(status);
    };
  });
  return {
    ended,
    start() {
      if (child !== undefined) return;
      child = spawn(file, args, { stdio: 'inherit' });
      child.once('error', (err) => {
        deps.log.error('cannot start the command', { command: file, error: errorMessage(err) });
        finish(errorCode(err) === 'ENOENT' ? 127 : 126); // as shells say it
      });
      child.once('exit', (code, signal) => {
        const status = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
        deps.log.info('command ended', { command: file, status, signal: signal ?? undefined });
        finish(status);
      });
    },
    signal(signal) {
      if (child === undefined) return false;
      child.kill(signal);
      if (signal === 'SIGTERM' || signal === 'SIGINT') {
        grace ??= deps.clock.after(deps.graceMs, () => {
          deps.log.warn('command did not end in time, killing it', { command: file });
          child?.kill('SIGKILL');
        });
      }
      return true;
    },
    kill() {
      child?.kill('SIGKILL');
    },
  };
}
