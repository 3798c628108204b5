/** One command on one node: logs in, runs it with the streams it is given, and writes the audit. */
import { systemClock } from '../../../lib/clock.ts';
import { exitStatusOf } from '../../../ssh/channel.ts';
import type { SshChannel } from '../../../ssh/channel.ts';
import { SshError } from '../../../ssh/errors.ts';
import { audited } from './audited.ts';
import type { AuditEnd } from './audited.ts';
import { onInterruption, STATUS_BROKEN_PIPE, statusOfSignal } from './interruption.ts';
import type { Access, NodeSession } from './login.ts';
import { runWithStreams } from './streams.ts';
import type { LocalStreams } from './streams.ts';
import { runAtTerminal, sizeOf } from './terminal.ts';

/** The exit status of a command that took too long, as timeout(1) gives it. */
export const STATUS_TIMEOUT = 124;

/** What is to be run. */
export interface ExecRequest {
  node: string;
  user: string;
  /** For the shell of the node. */
  text: string;
  /** 0 for no limit. */
  timeoutMs: number;
}

/** Runs a command with the streams of this program, or its terminal; resolves with the exit status. */
export async function execOnNode(
  access: Access,
  request: ExecRequest & { hasTerminal: boolean },
): Promise<number> {
  const abort = new AbortController();
  let interrupted: number | undefined;
  const interruption = onInterruption((signal) => {
    interrupted = statusOfSignal(signal);
    abort.abort();
  });
  try {
    const streams = { input: process.stdin, output: process.stdout, errors: process.stderr };
    const end = await execWithStreams(access, request, streams, abort.signal);
    if (end.error !== undefined && end.exitStatus !== STATUS_BROKEN_PIPE)
      process.stderr.write(`error: ${request.node}: ended for ${end.error}\n`);
    return interrupted ?? end.exitStatus;
  } catch (err) {
    if (interrupted !== undefined) return interrupted;
    throw err;
  } finally {
    interruption.stop();
  }
}

/**
 * Runs a command until it ends, its time is over or the signal aborts: the node then gets a SIGTERM for it. Rejects
 * with what broke the session, or kept it from beginning.
 */
export function execWithStreams(
  access: Access,
  request: ExecRequest & { hasTerminal?: boolean },
  streams: LocalStreams,
  signal: AbortSignal,
): Promise<AuditEnd & { exitStatus: number }> {
  const { node, user, text, timeoutMs } = request;
  return audited(access, { kind: 'exec', node, user, command: text }, async () => {
    const abort = new AbortController();
    let isLate = false;
    const onAbort = (): void => abort.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const timer =
      timeoutMs === 0
        ? undefined
        : systemClock.after(timeoutMs, () => {
            isLate = true;
            abort.abort();
          });
    let login: NodeSession | undefined;
    try {
      login = await access.open(node, { user, signal: abort.signal });
      return await runIn(login, access, request, streams, abort.signal);
    } catch (err) {
      if (isLate) return { exitStatus: STATUS_TIMEOUT, error: 'timeout' };
      throw err;
    } finally {
      timer?.cancel();
      signal.removeEventListener('abort', onAbort);
      await login?.close();
    }
  });
}

async function runIn(
  { ssh, node }: NodeSession,
  { settings }: Access,
  { text, hasTerminal = false }: ExecRequest & { hasTerminal?: boolean },
  streams: LocalStreams,
  signal: AbortSignal,
): Promise<AuditEnd & { exitStatus: number }> {
  const terminal = { input: process.stdin, output: process.stdout };
  const size = { ...sizeOf(terminal), term: process.env['TERM'] ?? 'xterm' };
  const channel = await ssh.exec(text, hasTerminal ? { terminal: size } : {});
  const stop = (): void => endCommand(channel);
  const aborted = new Promise<never>((_resolve, reject) => {
    const fail = (): void => {
      stop();
      reject(new SshError('closed', `${node}: given up`, { retryable: false }));
    };
    signal.addEventListener('abort', fail, { once: true });
    if (signal.aborted) fail();
  });
  aborted.catch(() => {}); // heard by the race, if it is still on
  const options = { clock: systemClock, idleTimeoutMs: settings.idleTimeout };
  if (hasTerminal && process.stdin.isTTY) {
    const { endedBy, ...end } = await Promise.race([runAtTerminal(channel, terminal, options), aborted]);
    return { ...end, ...(endedBy === undefined ? {} : { error: endedBy }), exitStatus: exitStatusOf(end) };
  }
  const { isIdle, isUnread, ...end } = await Promise.race([
    runWithStreams(channel, streams, options),
    aborted,
  ]);
  if (isUnread) return { ...end, error: 'output closed', exitStatus: STATUS_BROKEN_PIPE };
  if (end.status === undefined && end.signal === undefined && !isIdle) {
    const broken = await Promise.race([ssh.closed, Promise.resolve(undefined)]);
    throw broken ?? new SshError('closed', `${node} ended the command without a status`);
  }
  return { ...end, ...(isIdle ? { error: 'idle' } : {}), exitStatus: exitStatusOf(end) };
}

function endCommand(channel: SshChannel): void {
  channel.signal('TERM');
  channel.close();
}
