/** Runs real frps and frpc with a configuration, for the length of a test. */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

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
