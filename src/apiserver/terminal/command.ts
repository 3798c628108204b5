/** One command on a node, for callers who want its output and exit status: bounded in time and in size. */
import type { Readable } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import { EdgeError } from '../../lib/errors.ts';
import type { NodeSession } from './node-sessions.ts';

/** What a command left. */
export interface CommandResult {
  stdout: string;
  stderr: string;
  /** Absent when a signal ended it, or the time. */
  exit_status?: number;
  signal?: string;
  /** Whether output was left out. */
  truncated: boolean;
  ms: number;
}

/** Limits of a command. */
export interface CommandLimits {
  timeoutMs: number;
  /** Of both outputs together, bytes; what comes after is read and dropped. */
  maxOutputBytes: number;
}

/** The longest output that is kept. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Runs a command on an open session, which is closed afterwards. Rejects when its time is over or the signal aborts. */
export async function runCommand(
  session: NodeSession,
  command: string,
  { timeoutMs, maxOutputBytes }: CommandLimits,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<CommandResult> {
  const startedAt = clock.now();
  const stop = (err: Error): void => {
    failure ??= err;
    session.close();
  };
  let failure: Error | undefined;
  const onAbort = (): void =>
    stop(new EdgeError('EDGE_ERR_SSH_CLOSED', 'the caller of the command has gone'));
  const timer = clock.after(timeoutMs, () =>
    stop(new EdgeError('EDGE_ERR_SSH_TIMEOUT', `the command did not end in ${timeoutMs / 1000}s`)),
  );
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const channel = await session.exec(command);
    channel.io.end(); // nothing on its stdin
    const budget = { left: maxOutputBytes, isExceeded: false };
    const outputs = [collect(channel.io, budget), collect(channel.stderr, budget)] as const;
    const exit = await channel.exit;
    if (failure !== undefined) throw failure;
    if (exit.status === undefined && exit.signal === undefined)
      throw (
        (await session.closed) ??
        new EdgeError('EDGE_ERR_SSH_CLOSED', 'the connection ended with the command')
      );
    return {
      stdout: outputs[0](),
      stderr: outputs[1](),
      ...(exit.status === undefined ? {} : { exit_status: exit.status }),
      ...(exit.signal === undefined ? {} : { signal: exit.signal }),
      truncated: budget.isExceeded,
      ms: Math.round(clock.now() - startedAt),
    };
  } catch (err) {
    throw failure ?? err;
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onAbort);
    session.close();
  }
}

/** Reads a stream to its end; the answer is what the budget let through. */
function collect(stream: Readable, budget: { left: number; isExceeded: boolean }): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => {
    const kept = chunk.subarray(0, budget.left);
    budget.left -= kept.length;
    if (kept.length < chunk.length) budget.isExceeded = true;
    if (kept.length > 0) chunks.push(kept);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}
