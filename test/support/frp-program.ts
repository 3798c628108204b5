/** Runs real frps and frpc with a configuration, for the length of a test. */
import { execFileSync, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** The first minor release that speaks wire protocol v2. */
const FIRST_WITH_V2 = 69;

/**
 * The path of a real frp program, as requireProgram finds it; the test is skipped where there is none, in CI too, and
 * where the test needs wire protocol v2 and the program is older.
 */
export function requireFrp(t: Skippable, name: 'frps' | 'frpc', needsV2 = false): string | undefined {
  const program = requireProgram(t, name, { optional: true });
  if (program === undefined || !needsV2) return program;
  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 0 || minor >= FIRST_WITH_V2) return program;
  t.skip(`${name} ${version} speaks no wire protocol v2`);
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
