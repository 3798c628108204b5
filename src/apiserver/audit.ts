/** The audit log: one JSON line a write or denied request, appended in order; it never holds up or fails a request. */
import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** Facts by name. */
export type AuditDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** What is recorded of a request. Bodies and credentials are not. */
export interface AuditEntry {
  time: string;
  user: string;
  groups: readonly string[];
  verb: string;
  resource: string;
  /** Of requests that name no resource. */
  method?: string;
  path?: string;
  name?: string;
  dryRun?: boolean;
  code: number;
  reason?: string;
  /** What more there is to know about the outcome: of a certificate its serial, of a session its length. */
  details?: AuditDetails;
  /** Time to the answer, milliseconds. */
  ms: number;
  sourceIP?: string;
  userAgent?: string;
}

/** Lines that may wait for a slow disk, bytes; more are dropped and counted. */
const MAX_BACKLOG_BYTES = 4 * 1024 * 1024;

/** An open audit log. */
export class AuditLog {
  readonly #path: string;
  readonly #log: Logger;
  #stream: WriteStream;
  #dropped = 0;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.#stream = this.#open();
  }

  #open(): WriteStream {
    const stream = createWriteStream(this.#path, { flags: 'a', mode: 0o600 });
    stream.on('error', (err) => this.#log.error('audit log', { file: this.#path, error: errorMessage(err) }));
    return stream;
  }

  write(entry: AuditEntry): void {
    if (!this.#stream.writable || this.#stream.writableLength > MAX_BACKLOG_BYTES) {
      if (this.#dropped++ === 0) this.#log.error('audit log entries are dropped', { file: this.#path });
      return;
    }
    if (this.#dropped > 0) this.#log.warn('audit log goes on', { file: this.#path, dropped: this.#dropped });
    this.#dropped = 0;
    this.#stream.write(`${JSON.stringify(entry)}\n`);
  }

  /** Opens the file again, after log rotation or an error. */
  reopen(): void {
    this.#stream.end();
    this.#stream = this.#open();
  }

  /** Resolves when everything written so far is with the system. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stream.closed) resolve();
      else {
        this.#stream.once('close', resolve);
        this.#stream.end();
      }
    });
  }
}
