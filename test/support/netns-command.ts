/** The programs that change network namespaces, run to their end at once; what they refuse is thrown. */
import { spawnSync } from 'node:child_process';

/** A test file waits this long for one of them, milliseconds. */
const COMMAND_TIMEOUT_MS = 20_000;

/** Runs `ip ARGS…`. */
export function ip(...args: string[]): void {
  command('ip', args);
}

/** Runs a program with some input; throws what it complains about. */
export function command(program: string, args: readonly string[], input = ''): void {
  const { status, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    input,
    timeout: COMMAND_TIMEOUT_MS,
  });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr.trim() || `status ${status}`}`);
}
