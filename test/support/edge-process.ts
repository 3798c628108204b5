/** dist/edge as processes: its long-running subcommands and single runs of `edge ctl`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runProcess, startProcess } from './processes.ts';
import type { ProcessOptions, ProcessResult, TestLike, TestProcess } from './processes.ts';

/** The line that every subcommand logs when it is ready, as text or JSON. */
const READY_LINE = /^\S+ INFO {2}ready(?: |$)|"msg":"ready"/u;

/** Variables of the surroundings that would change what edge does; a test sets its own. */
export const CLEAN_ENV: Readonly<Record<string, undefined>> = Object.fromEntries(
  Object.keys(process.env)
    .filter((name) => /^(?:EDGE_(?!TEST_)|SIDECAR_|SYNCER_|FRP_|POD_|KUBE|NOTIFY_SOCKET)/u.test(name))
    .map((name) => [name, undefined]),
);

/** The built program; throws when there is none. `scripts/test.mjs` builds it before the tiers that need it. */
export function edgePath(): string {
  const path = join(process.cwd(), 'dist/edge');
  if (!existsSync(path)) throw new Error(`${path} is missing; run "npm run build" in the repository`);
  return path;
}

/** Starts `edge ARGS…` with the Node that runs the test; ended after the test. */
export function startEdge(t: TestLike, args: readonly string[], options: ProcessOptions = {}): TestProcess {
  return startProcess(t, process.execPath, [edgePath(), ...args], withDefaults(args, options));
}

/** As startEdge, and waits until the subcommand has logged that it is ready. */
export async function startEdgeReady(
  t: TestLike,
  args: readonly string[],
  options: ProcessOptions & { timeoutMs?: number } = {},
): Promise<TestProcess> {
  const child = startEdge(t, args, options);
  await child.waitForLine(READY_LINE, options.timeoutMs);
  return child;
}

/** Runs `edge ARGS…` to its end. */
export async function runEdge(
  args: readonly string[],
  options: ProcessOptions & { timeoutMs?: number } = {},
): Promise<ProcessResult> {
  return runProcess(process.execPath, [edgePath(), ...args], withDefaults(args, options));
}

function withDefaults<Options extends ProcessOptions>(args: readonly string[], options: Options): Options {
  return { name: `edge ${args[0] ?? ''}`, ...options, env: { ...CLEAN_ENV, ...options.env } };
}
