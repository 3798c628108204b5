/** Recordings of terminals in one directory: bounded in size and number, the oldest go first. */
import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';
import { mkdir, readdir, readFile, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { CastWriter } from '../../lib/asciicast.ts';
import type { Clock } from '../../lib/clock.ts';
import { EdgeError, errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { TerminalSize } from './messages.ts';

/** Limits of a directory. */
export interface RecordingLimits {
  /** One recording, bytes. */
  maxBytes: number;
  /** All of them. */
  maxTotalBytes: number;
  maxCount: number;
}

/** The limits in force. */
export const RECORDING_LIMITS: RecordingLimits = {
  maxBytes: 16 * 1024 * 1024,
  maxTotalBytes: 1024 * 1024 * 1024,
  maxCount: 1000,
};

/** A recording under way. */
export interface Recorder {
  /** Its name in the directory. */
  readonly name: string;
  output(chunk: Uint8Array): void;
  resize(size: TerminalSize): void;
  /** Resolves when it is with the system. Never rejects. */
  end(): Promise<void>;
}

/** What is listed of a recording. */
export interface RecordingEntry {
  name: string;
  bytes: number;
  /** When it was last written, RFC 3339. */
  time: string;
}

/** `20260101T000000.000Z-NODE-ID.cast`: sorted by time, and nothing that could leave the directory. */
const NAME = /^\d{8}T\d{6}\.\d{3}Z-[-.a-z0-9]{1,253}-[0-9a-f]{8}\.cast$/u;
/** Lines that may wait for a slow disk, bytes; with more the recording ends. */
const MAX_BACKLOG_BYTES = 4 * 1024 * 1024;

/** The recordings of one server. */
export class Recordings {
  readonly #dir: string;
  readonly #limits: RecordingLimits;
  readonly #clock: Clock;
  readonly #log: Logger;
  #pruning: Promise<void> = Promise.resolve();

  constructor(dir: string, deps: { clock: Clock; log: Logger; limits?: RecordingLimits }) {
    this.#dir = dir;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#limits = deps.limits ?? RECORDING_LIMITS;
  }

  /** Begins a recording; rejects when it cannot be written, and then the session must not begin. */
  async start(about: { node: string; user: string; id: string; size: TerminalSize }): Promise<Recorder> {
    const { node, user, id, size } = about;
    const now = this.#clock.wallNow();
    const time = now.toISOString().replaceAll(/[-:]/gu, '');
    const name = `${time}-${node.toLowerCase().replaceAll(/[^-.a-z0-9]/gu, '-')}-${id}.cast`;
    let file: WriteStream;
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      file = createWriteStream(join(this.#dir, name), { flags: 'wx', mode: 0o600 });
      await new Promise<void>((resolve, reject) => {
        file.once('open', () => resolve());
        file.once('error', reject);
      });
    } catch (err) {
      throw new EdgeError('EDGE_ERR_TERMINAL_RECORDING', `recording: ${errorMessage(err)}`, { cause: err });
    }
    await this.#prune();
    return this.#record(file, name, {
      width: size.cols,
      height: size.rows,
      timestamp: Math.floor(now.getTime() / 1000),
      title: `${user}@${node}`,
    });
  }

  #record(file: WriteStream, name: string, header: ConstructorParameters<typeof CastWriter>[0]): Recorder {
    let isLost = false;
    const lose = (why: string): void => {
      if (!isLost) this.#log.error('a recording ends early', { recording: name, error: why });
      isLost = true;
    };
    file.on('error', (err) => lose(errorMessage(err)));
    const writer = new CastWriter(header, {
      clock: this.#clock,
      maxBytes: this.#limits.maxBytes,
      write(text) {
        if (isLost) return;
        if (file.writableLength > MAX_BACKLOG_BYTES) lose('the disk is too slow');
        else file.write(text);
      },
    });
    return {
      name,
      output: (chunk) => writer.output(chunk),
      resize: ({ cols, rows }) => writer.resize(cols, rows),
      end() {
        writer.end();
        return new Promise((resolve) => {
          if (file.closed) resolve();
          else {
            file.once('close', () => resolve());
            file.end();
          }
        });
      },
    };
  }

  /** The newest first. */
  async list(): Promise<RecordingEntry[]> {
    const entries = await Promise.all((await this.#names()).map((name) => this.#entry(name)));
    return entries.filter((entry) => entry !== undefined).reverse();
  }

  /** The text of a recording; undefined when there is none of this name. */
  async read(name: string): Promise<string | undefined> {
    if (!NAME.test(name)) return undefined;
    try {
      return await readFile(join(this.#dir, name), 'utf8');
    } catch {
      return undefined; // pruned meanwhile, or never there
    }
  }

  /** One after the other: two at once would remove twice as much. */
  #prune(): Promise<void> {
    this.#pruning = this.#pruning.then(async () => {
      const names = await this.#names();
      const entries = await Promise.all(names.map((name) => this.#entry(name)));
      // the new one may grow to its limit
      let total = this.#limits.maxBytes;
      let count = entries.length;
      for (const entry of entries) total += entry?.bytes ?? 0;
      for (const entry of entries) {
        if (count <= this.#limits.maxCount && total <= this.#limits.maxTotalBytes) break;
        if (count <= 1 || entry === undefined) continue;
        await unlink(join(this.#dir, entry.name)).catch(() => {}); // removed by somebody else
        total -= entry.bytes;
        count--;
      }
    });
    return this.#pruning;
  }

  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.#dir)).filter((name) => NAME.test(name)).sort();
    } catch {
      return []; // not made yet
    }
  }

  async #entry(name: string): Promise<RecordingEntry | undefined> {
    try {
      const { size, mtime } = await stat(join(this.#dir, name));
      return { name, bytes: size, time: mtime.toISOString() };
    } catch {
      return undefined; // pruned meanwhile
    }
  }
}
