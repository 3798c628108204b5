/** The file operations that durability rests on, behind an interface so that tests can make each of them fail. */
import { fdatasync, writeSync } from 'node:fs';
import { mkdir, open, readdir, readFile, unlink } from 'node:fs/promises';
import { syncDirectory, writeFileAtomic } from '../../lib/atomic-file.ts';

/** A file that is written at given positions. */
export interface WritableFile {
  /** Writes all of `data` at `position`, or rejects; a part may have been written then. */
  write(data: Uint8Array, position: number): Promise<void>;
  /** Resolves when written data and the file's length are on the disk. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

/** The file system as the store uses it. */
export interface FileLayer {
  makeDirectory(path: string): Promise<void>;
  list(path: string): Promise<string[]>;
  read(path: string): Promise<Buffer>;
  /** Opens for writing; creates the file when it is missing. */
  open(path: string): Promise<WritableFile>;
  /** Writes a whole file so that after a crash it is there entirely or not at all. */
  replace(path: string, data: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
}

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
    return {
      async write(data, position) {
        let done = 0;
        while (done < data.length) {
          // into the page cache; the hop to another thread and back would take longer than the copy
          done += writeSync(handle.fd, data, done, data.length - done, position + done);
        }
      },
      sync: () =>
        new Promise((resolve, reject) => {
          // what handle.datasync() does, without its bookkeeping
          fdatasync(handle.fd, (err) => (err === null ? resolve() : reject(err)));
        }),
      truncate: (length) => handle.truncate(length),
      close: () => handle.close(),
    };
  },
};
