/**
 * The audit log: one JSON line a write or denied request, appended in order; it never holds up or fails a request.
 * What nobody in particular sends is bounded, so that no stranger can fill the disk with refusals.
 */
import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** Facts by name. */
export type AuditDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** What is recorded of a request. Bodies and credentials are not. */
export interface AuditEntry {
  time: string;
  user: string;
  /** Whom the user acted as; the groups are that one's. */
  impersonatedUser?: string;
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

/** The user of a request without credentials, or with wrong ones. */
export const ANONYMOUS = 'system:anonymous';
/** Entries of anonymous requests: so many at once, then so many a second. About 30 MB a day at the most. */
const ANONYMOUS_BURST = 100;
const ANONYMOUS_PER_SECOND = 1;

/** An open audit log. */
export class AuditLog {
  readonly #path: string;
  readonly #log: Logger;
  readonly #clock: Clock;
  #stream: WriteStream;
  #dropped = 0;
  /** Anonymous entries that may be written now, as of when, and how many were left out since the last one. */
  #allowed = ANONYMOUS_BURST;
  #allowedAt: number;
  #leftOut = 0;

  constructor(path: string, log: Logger, clock: Clock) {
    this.#path = path;
    this.#log = log;
    this.#clock = clock;
    this.#allowedAt = clock.now();
    this.#stream = this.#open();
  }

  #open(): WriteStream {
    const stream = createWriteStream(this.#path, { flags: 'a', mode: 0o600 });
    stream.on('error', (err) => this.#log.error('audit log', { file: this.#path, error: errorMessage(err) }));
    return stream;
  }

  write(entry: AuditEntry): void {
    if (entry.user !== ANONYMOUS) this.#append(entry);
    else if (this.#admitsAnonymous()) {
      const leftOut = this.#leftOut;
      this.#leftOut = 0;
      this.#append(
        leftOut === 0 ? entry : { ...entry, details: { ...entry.details, leftOutBefore: leftOut } },
      );
    } else this.#leftOut++;
  }

  #admitsAnonymous(): boolean {
    const now = this.#clock.now();
    const gained = ((now - this.#allowedAt) / 1000) * ANONYMOUS_PER_SECOND;
    this.#allowed = Math.min(ANONYMOUS_BURST, this.#allowed + gained);
    this.#allowedAt = now;
    if (this.#allowed < 1) return false;
    this.#allowed--;
    return true;
  }

  #append(entry: AuditEntry): void {
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
