// Runs one of the traffic programs against a path, and reads what the path's processes used meanwhile.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { cpuSeconds, residentBytes } from './usage.mjs';

const traffic = join(import.meta.dirname, 'traffic');
/** A program that takes this much longer than it should hangs. */
const GRACE_MS = 30_000;

/**
 * Starts `traffic/PROGRAM.mjs HOST PORT ARGS...`; resolves with its result, and with the processor seconds that the
 * path used between its "begin" and "end", and its resident bytes at the "end".
 */
export async function drive(program, path, args, seconds) {
  const argv = [join(traffic, `${program}.mjs`), path.host, String(path.port), ...args.map(String)];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const limit = setTimeout(() => child.kill('SIGKILL'), seconds * 1000 + GRACE_MS);
  const ended = once(child, 'close');
  let cpuAtBegin = 0;
  let used;
  let result;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'begin') cpuAtBegin = cpuSeconds(path.pids);
    else if (line === 'end')
      used = { cpu: cpuSeconds(path.pids) - cpuAtBegin, rss: residentBytes(path.pids) };
    else result = JSON.parse(line);
  }
  const [code] = await ended;
  clearTimeout(limit);
  if (code !== 0 || result === undefined || used === undefined)
    throw new Error(`${program} failed on ${path.name} (${path.host}:${path.port}), status ${code}`);
  return { ...result, ...used };
}
