/** The file operations that durability rests on, behind an interface so that tests can make each of them fail. */
import { fdatasync, fdatasyncSync, writeSync } from 'node:fs';
import { mkdir, open, readdir, readFile, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory, writeFileAtomic } from '../../lib/atomic-file.ts';
import { errorCode } from '../../lib/errors.ts';
import { StrayFileError } from './errors.ts';

/** A file that is written at given positions. */
export interface WritableFile {
  /** Writes all of `data` at `position`, or rejects; a part may have been written then. */
  write(data: Uint8Array, position: number): Promise<void>;
  /**
   * Resolves when written data and the file's length are on the disk. `isAlone` says that nothing else waits for this
   * thread: it may then wait for the disk itself, where the disk has been quick.
   */
  sync(isAlone?: boolean): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

/** The file system as the store uses it. */
export interface FileLayer {
  makeDirectory(path: string): Promise<void>;
  list(path: string): Promise<string[]>;
  /** The whole file. */
  read(path: string): Promise<Buffer<ArrayBuffer>>;
  /** Opens for writing; creates the file when it is missing. */
  open(path: string): Promise<WritableFile>;
  /** Writes a whole file so that after a crash it is there entirely or not at all. */
  replace(path: string, data: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
}

/**
 * Removes what an operation that failed may have left, so that no start takes it for its result; `isSynced` says that it must
 * not come back with a power cut either. Throws StrayFileError when that cannot be done for sure.
 */
export async function removeLeftover(files: FileLayer, path: string, isSynced: boolean): Promise<void> {
  try {
    await files.remove(path);
    if (isSynced) await files.syncDirectory(dirname(path));
  } catch (err) {
    if (errorCode(err) !== 'ENOENT') throw new StrayFileError(path, err);
  }
}

/** A disk that takes longer is not waited for by the thread that serves, milliseconds. */
const QUICK_MS = 1;
/** What is left of a slow sync's time with each one after it: how long the disk counts as slow. */
const FORGETTING = 0.9;

/** The machine's file system. */
export const systemFiles: FileLayer = {
  makeDirectory: async (path) => {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  list: (path) => readdir(path),
  read: (path) => readFile(path),
  replace: (path, data) => writeFileAtomic(path, data),
  remove: (path) => unlink(path),
  syncDirectory,
  async open(path) {
    // not 'a': appends ignore positions, and a failed batch must be overwritten in place
    const handle = await open(path, 'r+').catch((err: NodeJS.ErrnoException) => {
      if (err.code !== 'ENOENT') throw err;
      return open(path, 'wx+', 0o600);
    });
    let recentMs = Infinity;
    return {
      async write(data, position) {
        let done = 0;
        while (done < data.length) {
          // into the page cache; the hop to another thread and back would take longer than the copy
          done += writeSync(handle.fd, data, done, data.length - done, position + done);
        }
      },
      async sync(isAlone = false) {
        const startedAt = performance.now();
        // to another thread and back takes about as long as a quick disk does
        if (isAlone && recentMs < QUICK_MS) fdatasyncSync(handle.fd);
        else await dataSync(handle.fd);
        recentMs = Math.max(performance.now() - startedAt, recentMs === Infinity ? 0 : recentMs * FORGETTING);
      },
      truncate: (length) => handle.truncate(length),
      close: () => handle.close(),
    };
  },
};

/** What handle.datasync() does, without its bookkeeping. */
function dataSync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (err) => (err === null ? resolve() : reject(err)));
  });
}
