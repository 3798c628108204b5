/** The files of this machine. */
import { open, lstat, mkdir, readdir, realpath, rename, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorCode, EdgeError, errorMessage } from '../../lib/errors.ts';
import { unfinishedName } from './file-tree.ts';
import type { FileAttributes, FileInfo, FileSink, FileTree } from './file-tree.ts';

/** Creates the tree. */
export function createLocalFiles(random: () => number): FileTree {
  const call = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (err) {
      const text = errorMessage(err).replace(`${path}: `, '');
      throw new EdgeError('EDGE_ERR_FILE', `${path}: ${text}`, { cause: err });
    }
  };
  const info = async (path: string): Promise<FileInfo | undefined> => {
    try {
      return infoOf(await stat(path));
    } catch (err) {
      if (errorCode(err) === 'ENOENT') return undefined;
      throw err;
    }
  };
  return {
    describe: (path) => path,
    stat: (path) => call(path, () => info(path)),
    list: (path) =>
      call(path, async () =>
        (await readdir(path, { withFileTypes: true })).map((entry) => ({
          name: entry.name,
          isLink: entry.isSymbolicLink(),
        })),
      ),
    read: (path) =>
      call(path, async () => {
        const file = await open(path, 'r');
        return {
          info: infoOf(await file.stat()),
          read: (buffer, position) => call(path, () => readFully(file, buffer, position)),
          close: () => file.close(),
        };
      }),
    create: (path, attributes) => call(path, () => createSink(path, attributes, random)),
    makeDirectory: (path, mode) =>
      call(path, async () => {
        try {
          await mkdir(path, { mode });
        } catch (err) {
          if (errorCode(err) !== 'EEXIST' || !(await stat(path)).isDirectory()) throw err;
        }
      }),
  };
}

function infoOf(stats: Stats): FileInfo {
  return {
    kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other',
    size: stats.isFile() ? stats.size : 0,
    mode: stats.mode & 0o7777,
    modifiedAt: Math.floor(stats.mtimeMs / 1000),
    uid: stats.uid,
    gid: stats.gid,
  };
}

async function readFully(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

async function createSink(
  path: string,
  { mode, modifiedAt }: FileAttributes,
  random: () => number,
): Promise<FileSink> {
  const existing = await lstat(path).catch(() => undefined); // no file, or its directory is the problem: open says
  const target = existing?.isSymbolicLink() === true ? await realpath(path) : path;
  const replaced = existing === undefined ? undefined : await stat(target);
  if (replaced !== undefined && !replaced.isFile()) {
    // a device or a pipe has no content to keep whole
    const file = await open(target, 'w');
    return {
      isAtomic: false,
      write: (bytes) => writeFully(file, bytes, 0),
      commit: () => file.close(),
      abandon: () => file.close().then(nothing, nothing),
    };
  }
  const unfinished = join(dirname(target), unfinishedName(basename(target), random));
  const file = await open(unfinished, 'wx', 0o600);
  return {
    isAtomic: true,
    write: (bytes, position) => writeFully(file, bytes, position),
    async commit() {
      // owner first: a change of it takes special bits away
      if (replaced !== undefined) await file.chown(replaced.uid, replaced.gid).catch(() => {}); // only root may
      await file.chmod(replaced === undefined ? mode : replaced.mode & 0o7777);
      if (modifiedAt !== undefined) await file.utimes(modifiedAt, modifiedAt);
      await file.sync();
      await file.close();
      await rename(unfinished, target);
    },
    async abandon() {
      await file.close().catch(() => {}); // commit may have closed it
      return unlink(unfinished).then(nothing, () => unfinished);
    },
  };
}

const nothing = (): undefined => undefined;
