/** Writes the line of the audit log for what is done on a node, however it ends. */
import { errorCode, errorMessage } from '../../../lib/errors.ts';
import type { AuditRecord } from '../../../ssh/audit.ts';
import { ExitStatus } from '../../exit.ts';
import type { Access } from './login.ts';

/** What is known before it begins. */
export type AuditStart = Pick<AuditRecord, 'kind' | 'node' | 'user'> & { command?: string | undefined };
/** What is known when it has ended. */
export interface AuditEnd {
  exitStatus?: number | undefined;
  signal?: string | undefined;
  error?: string | undefined;
  bytesIn?: number;
  bytesOut?: number;
  recording?: string | undefined;
}

/** Runs the work and writes what came of it; its failure is written too, and passed on. */
export async function audited<T extends AuditEnd>(
  access: Access,
  start: AuditStart,
  work: () => Promise<T>,
): Promise<T> {
  const time = new Date().toISOString();
  const startedAt = performance.now();
  const write = (end: AuditEnd): Promise<void> => {
    const { kind, node, user, command } = start;
    const { exitStatus, signal, error, bytesIn, bytesOut, recording } = end;
    return access.audit({
      time,
      kind,
      node,
      user,
      ...(command === undefined ? {} : { command }),
      durationMs: Math.round(performance.now() - startedAt),
      ...(exitStatus === undefined ? {} : { exitStatus }),
      ...(signal === undefined ? {} : { signal }),
      ...(error === undefined ? {} : { error }),
      ...(bytesIn === undefined ? {} : { bytesIn }),
      ...(bytesOut === undefined ? {} : { bytesOut }),
      ...(recording === undefined ? {} : { recording }),
    });
  };
  let end: T;
  try {
    end = await work();
  } catch (err) {
    const code = errorCode(err);
    const isStatus = err instanceof ExitStatus;
    await write(
      isStatus ? { exitStatus: err.status } : { error: `${code ?? 'error'}: ${errorMessage(err)}` },
    );
    throw err;
  }
  await write(end);
  return end;
}
