/** Copies files and directories from one place to another: several files at a time, each whole or not at all. */
import { errorMessage } from '../../lib/errors.ts';
import { SshError } from '../errors.ts';
import { copyChunks } from './copy-chunks.ts';
import type { FileInfo, FileTree } from './file-tree.ts';

/** Where something is, or shall be. */
export interface Place {
  tree: FileTree;
  path: string;
}

/** How to copy. */
export interface CopyOptions {
  isRecursive: boolean;
  /** Keeps modes and times as they are. */
  isPreserving: boolean;
  /** Bits that are taken off the modes of new files, as by umask(2). */
  umask: number;
  signal: AbortSignal;
  observer: CopyObserver;
}

/** Who watches a copy. */
export interface CopyObserver {
  /** A file begins; its size is 0 when nobody knows it. */
  begin(name: string, size: number): void;
  progress(bytes: number): void;
  /** Something was not copied; the rest goes on. */
  problem(text: string): void;
}

/** What was copied. */
export interface CopyResult {
  files: number;
  bytes: number;
  /** What was not. */
  problems: number;
}

/** Files under way at once; small ones cost round trips, not bytes. */
const MAX_FILES = 8;
/** Directories within directories; a tree that is deeper is a loop. */
const MAX_DEPTH = 128;

/** Copies sources to a target: into it when it is a directory, else to that name. Rejects when nothing can be copied. */
export async function copyTree(
  sources: readonly Place[],
  target: Place,
  options: CopyOptions,
): Promise<CopyResult> {
  const into = await target.tree.stat(target.path);
  const isInto = into?.kind === 'directory' || target.path.endsWith('/');
  if (sources.length > 1 && into?.kind !== 'directory')
    throw new SshError(
      'channel',
      `${target.tree.describe(target.path)}: not a directory, for several sources`,
    );
  if (isInto && into === undefined)
    throw new SshError('channel', `${target.tree.describe(target.path)}: no such directory`);
  const copier = new Copier(options);
  try {
    for (const source of sources) {
      const name = baseName(source.path);
      const path = isInto && name !== '' ? joinPath(target.path, name) : target.path;
      await copier.attempt(source, () => copier.copy(source, { tree: target.tree, path }, 0));
    }
  } finally {
    await copier.settle();
  }
  options.signal.throwIfAborted();
  return copier.result;
}

class Copier {
  readonly result: CopyResult = { files: 0, bytes: 0, problems: 0 };
  readonly #options: CopyOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(options: CopyOptions) {
    this.#options = options;
  }

  /** A failure of one file is told; one of everything, as a broken connection, ends it all. */
  async attempt(source: Place, work: () => Promise<void>): Promise<void> {
    const { signal, observer } = this.#options;
    try {
      await work();
    } catch (err) {
      if (signal.aborted) throw err;
      this.result.problems++;
      const text = errorMessage(err);
      const where = source.tree.describe(source.path);
      observer.problem(text.includes(where) ? text : `${where}: ${text}`);
    }
  }

  async copy(source: Place, target: Place, depth: number): Promise<void> {
    const { isRecursive } = this.#options;
    const info = await source.tree.stat(source.path);
    const where = source.tree.describe(source.path);
    if (info === undefined) {
      const isGarbled = source.path.includes('\ufffd');
      throw new SshError(
        'channel',
        `${where}: ${isGarbled ? 'its name is not UTF-8' : 'no such file or directory'}`,
      );
    }
    // a pipe or a device has no end, and reading one may wait for ever
    if (info.kind === 'other') throw new SshError('channel', `${where}: not a regular file`);
    if (info.kind === 'file') {
      await this.#startFile(source, target, info);
      return;
    }
    if (!isRecursive) throw new SshError('channel', `${where}: a directory; --recursive (-r) copies it`);
    if (depth > MAX_DEPTH) throw new SshError('channel', `${where}: too deep, is it a loop?`);
    await target.tree.makeDirectory(target.path, this.#modeOf(info) | 0o700);
    for (const { name, isLink } of await source.tree.list(source.path)) {
      const from = { tree: source.tree, path: joinPath(source.path, name) };
      const to = { tree: target.tree, path: joinPath(target.path, name) };
      await this.attempt(from, async () => {
        // a link to a directory may lead anywhere, also back
        if (isLink && (await source.tree.stat(from.path))?.kind === 'directory')
          throw new SshError(
            'channel',
            `${source.tree.describe(from.path)}: a link to a directory is left out`,
          );
        await this.copy(from, to, depth + 1);
      });
    }
  }

  async #startFile(source: Place, target: Place, info: FileInfo): Promise<void> {
    while (this.#running.size >= MAX_FILES) await Promise.race(this.#running);
    this.#options.signal.throwIfAborted();
    const run = this.attempt(source, () => this.#copyFile(source, target, info));
    const tracked = run.finally(() => this.#running.delete(tracked));
    tracked.catch(() => {}); // only an abort makes one fail
    this.#running.add(tracked);
  }

  /** Waits for the files under way: what breaks off is removed before the connection ends. Never rejects. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  async #copyFile(source: Place, target: Place, info: FileInfo): Promise<void> {
    const { observer, signal, isPreserving } = this.#options;
    const reader = await source.tree.read(source.path);
    try {
      observer.begin(baseName(source.path), reader.info.size);
      const sink = await target.tree.create(target.path, {
        mode: this.#modeOf(info),
        modifiedAt: isPreserving ? info.modifiedAt : undefined,
      });
      let copied = 0;
      try {
        await copyChunks(reader, sink, {
          signal,
          onProgress: (bytes) => {
            copied += bytes;
            observer.progress(bytes);
          },
        });
        await sink.commit();
      } catch (err) {
        const leftOver = await sink.abandon();
        const where = target.tree.describe(target.path);
        const state = sink.isAtomic ? `${where} is as it was before` : `${where} is incomplete`;
        const rest = leftOver === undefined ? '' : `, ${leftOver} is left over`;
        // one failure ends it all then, and speaks for all files
        if (signal.aborted && leftOver !== undefined) observer.problem(`${where}: ${leftOver} is left over`);
        throw new SshError(
          'channel',
          `${source.tree.describe(source.path)}: broke off after ${copied} of ${reader.info.size} bytes (${errorMessage(err)}); ${state}${rest}`,
          { cause: err },
        );
      }
      this.result.files++;
      this.result.bytes += copied;
    } finally {
      await reader.close().catch(() => {}); // it has been read
    }
  }

  #modeOf({ mode }: FileInfo): number {
    const { isPreserving, umask } = this.#options;
    return isPreserving ? mode : mode & 0o777 & ~umask;
  }
}

/** The last name of a path; empty for `/`, `.` and `..`, whose content is meant. */
export function baseName(path: string): string {
  const name = path.replace(/\/+$/u, '').split('/').at(-1) ?? '';
  return name === '.' || name === '..' ? '' : name;
}

function joinPath(directory: string, name: string): string {
  return directory === '' ? name : directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`;
}
