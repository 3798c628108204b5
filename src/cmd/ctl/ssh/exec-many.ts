/** One command on many nodes: some at a time, output by node, and a summary of how it went. */
import { finished } from 'node:stream/promises';
import type { Writable } from 'node:stream';
import { errorMessage } from '../../../lib/errors.ts';
import { STATUS_BROKEN } from '../../../ssh/channel.ts';
import { isOnline } from '../../../ssh/node-target.ts';
import { ColumnWriter } from '../printers/columns.ts';
import { execWithStreams } from './exec-one.ts';
import { onInterruption, statusOfSignal } from './interruption.ts';
import type { Access } from './login.ts';
import { prefixedOutput } from './prefixed-output.ts';

/** A node to run on. */
export interface ExecTarget {
  node: string;
  user: string;
}

/** What came of it on one node. */
export interface ExecResult {
  node: string;
  exitStatus: number;
  durationMs: number;
  /** Why there is no status of the command. */
  error: string | undefined;
}

/** The nodes that match, by name. */
export async function selectNodes(
  access: Access,
  selector: string | undefined,
  skipsOffline: boolean,
): Promise<{ node: string; user: undefined }[]> {
  const objects = await access.nodes(selector);
  const names = objects
    .filter((object) => !skipsOffline || isOnline(object))
    .map(({ spec }) => spec.nodeName);
  return [...new Set(names)].sort().map((node) => ({ node, user: undefined }));
}

/** Runs the command on all of them and prints output and summary; resolves with the exit status of it all. */
export async function execOnMany(
  access: Access,
  targets: readonly ExecTarget[],
  { text, parallel, timeoutMs }: { text: string; parallel: number; timeoutMs: number },
): Promise<number> {
  const abort = new AbortController();
  let interrupted: number | undefined;
  const interruption = onInterruption((signal) => {
    interrupted = statusOfSignal(signal);
    abort.abort();
  });
  const width = Math.max(...targets.map(({ node }) => node.length));
  const results: ExecResult[] = [];
  const waiting = targets.entries();
  const work = async (): Promise<void> => {
    for (const [index, target] of waiting) {
      if (abort.signal.aborted) return;
      results[index] = await execOn(access, { ...target, text, timeoutMs }, width, abort.signal);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(parallel, targets.length) }, work));
  } finally {
    interruption.stop();
  }
  process.stderr.write(summaryText(targets.map(({ node }, index) => results[index] ?? notRun(node))));
  return interrupted ?? Math.max(...results.map(({ exitStatus }) => exitStatus));
}

async function execOn(
  access: Access,
  request: ExecTarget & { text: string; timeoutMs: number },
  width: number,
  signal: AbortSignal,
): Promise<ExecResult> {
  const { node } = request;
  const prefix = `${node.padEnd(width)} | `;
  const output = prefixedOutput(prefix, process.stdout);
  const errors = prefixedOutput(prefix, process.stderr);
  const startedAt = performance.now();
  const result = (exitStatus: number, error: string | undefined): ExecResult => {
    return { node, exitStatus, error, durationMs: performance.now() - startedAt };
  };
  try {
    const { exitStatus, error } = await execWithStreams(access, request, { output, errors }, signal);
    return result(exitStatus, error);
  } catch (err) {
    return result(STATUS_BROKEN, errorMessage(err));
  } finally {
    await Promise.all([endOf(output), endOf(errors)]);
  }
}

function endOf(output: Writable): Promise<void> {
  output.end();
  return finished(output).catch(() => {}); // a reader that left
}

function notRun(node: string): ExecResult {
  return { node, exitStatus: STATUS_BROKEN, durationMs: 0, error: 'not begun' };
}

/** A line a node, and how many failed. */
export function summaryText(results: readonly ExecResult[]): string {
  const rows = results.map(({ node, exitStatus, durationMs, error }) => [
    node,
    String(exitStatus),
    `${(durationMs / 1000).toFixed(1)}s`,
    error ?? '',
  ]);
  const failed = results.filter(({ exitStatus }) => exitStatus !== 0).length;
  const table = new ColumnWriter().format([['NODE', 'STATUS', 'TIME', 'PROBLEM'], ...rows]);
  const last = failed === 0 ? `all ${results.length} done` : `${failed} of ${results.length} failed`;
  return `\n${table.replaceAll(/ +$/gmu, '')}${last}\n`;
}
