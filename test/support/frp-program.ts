/** Runs real frps and frpc with a configuration, for the length of a test. */
import { execFileSync, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** What a test may need of a real frp, and the first minor release that has it. */
const SINCE = {
  'wire protocol v2': 69,
  /** Older servers tear such a connection down when one side has ended. */
  'ends of websockets without a mux': 69,
} as const;

/**
 * The path of a real frp program, as requireProgram finds it; the test is skipped where there is none, in CI too, and
 * where the program is older than what the test needs.
 */
export function requireFrp(
  t: Skippable,
  name: 'frps' | 'frpc',
  needs?: keyof typeof SINCE | false,
): string | undefined {
  const program = requireProgram(t, name, { optional: true });
  if (program === undefined || needs === undefined || needs === false) return program;
  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 0 || minor >= SINCE[needs]) return program;
  t.skip(`${name} ${version} is too old for ${needs}`);
  return undefined;
}

/** Starts a real frp program with a configuration and waits for a line of its output. */
export async function startFrp(t: TestContext, program: string, config: string, line: string): Promise<void> {
  const file = join(tempDir(t), 'frp.toml');
  await writeFile(file, config);
  const child = spawn(program, ['-c', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const onOutput = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', onOutput);
  child.stderr.on('data', onOutput);
  const ended = new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
  });
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  await waitFor(() => output.includes(line), {
    what: `"${line}" from ${program}; it said:\n${output}`,
  }).catch((err: unknown) => {
    throw new Error(`no "${line}"; the program said:\n${output}`, { cause: err });
  });
}
