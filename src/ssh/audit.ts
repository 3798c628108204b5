/** The audit log of sessions on nodes: one JSON line for each shell, command, copy and forwarding, when it has ended. */
import { appendFile, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorMessage, UsageError } from '../lib/errors.ts';

/** What was done on a node. */
export interface AuditRecord {
  /** When it began, RFC 3339. */
  time: string;
  kind: 'shell' | 'exec' | 'copy' | 'forward';
  /** Who did it, as the side that writes the log knows them. */
  operator: string;
  node: string;
  /** The account on the node. */
  user: string;
  /** The command, or what was copied or forwarded; absent for a shell. */
  command?: string;
  durationMs: number;
  exitStatus?: number;
  /** As `SIGTERM`. */
  signal?: string;
  /** Why it failed or was ended. */
  error?: string;
  /** Bytes from and to the node. */
  bytesIn?: number;
  bytesOut?: number;
  /** Where the session was recorded. */
  recording?: string;
}

/** Where records go. */
export interface AuditLog {
  /** Appends a record; rejects when it cannot be written. */
  write(record: AuditRecord): Promise<void>;
}

/** A command is cut off here, characters: a line stays small enough to be appended as a whole. */
const MAX_COMMAND_LENGTH = 8192;

/**
 * Opens a log, for its owner only, made when it is missing. Throws UsageError when it cannot be written: what cannot be
 * audited is not done. The file is opened for each record, so that it may be moved away at any time.
 */
export async function openAuditLog(path: string): Promise<AuditLog> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await (await open(path, 'a', 0o600)).close();
  } catch (err) {
    throw new UsageError(`cannot write the audit log ${path}: ${errorMessage(err)}`, {
      cause: err,
      hint: 'name another one with --audit-log (EDGE_AUDIT_LOG)',
    });
  }
  return {
    write: (record) => appendFile(path, `${JSON.stringify(shorten(record))}\n`, { mode: 0o600 }),
  };
}

/** Records that go nowhere. */
export const NO_AUDIT: AuditLog = { write: () => Promise.resolve() };

function shorten(record: AuditRecord): AuditRecord {
  const { command } = record;
  return command === undefined || command.length <= MAX_COMMAND_LENGTH
    ? record
    : { ...record, command: `${command.slice(0, MAX_COMMAND_LENGTH)}…` };
}
