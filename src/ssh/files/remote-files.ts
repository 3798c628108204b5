/** The files of a node, over SFTP (draft-ietf-secsh-filexfer-02 and OpenSSH's extensions). */
import type { Stats } from 'ssh2';
import { errorMessage } from '../../lib/errors.ts';
import { SshError } from '../errors.ts';
import type { Sftp } from '../session.ts';
import { unfinishedName } from './file-tree.ts';
import type { FileAttributes, FileInfo, FileSink, FileTree } from './file-tree.ts';

/** Status codes of the protocol. */
const END_OF_FILE = 1;
const NO_SUCH_FILE = 2;
const PERMISSION_DENIED = 3;
const FAILURE = 4;

type Done<T> = (err: (Error & { code?: number | string }) | null | undefined, value: T) => void;

/** Creates the tree of a node. `closed` settles when the session ends: what waits for the node then rejects. */
export function createRemoteFiles(
  sftp: Sftp,
  { node, closed, random }: { node: string; closed: Promise<Error | undefined>; random: () => number },
): FileTree {
  const describe = (path: string): string => `${node}:${path}`;
  // the library forgets requests that are made when the connection has ended
  const waiting = new Set<(err: Error) => void>();
  let ended: Error | undefined;
  void closed.then((broken) => {
    ended = broken ?? new SshError('closed', `the session on ${node} has ended`);
    for (const fail of waiting) fail(ended);
  });
  const call = <T>(path: string, start: (done: Done<T>) => void): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const fail = (err: Error & { code?: number | string }): void => {
        waiting.delete(fail);
        reject(failure(describe(path), err));
      };
      if (ended !== undefined) {
        fail(ended);
        return;
      }
      waiting.add(fail);
      try {
        start((err, value) => {
          if (err !== null && err !== undefined) fail(err);
          else {
            waiting.delete(fail);
            resolve(value);
          }
        });
      } catch (err) {
        fail(err as Error); // an extension that is missing
      }
    });
  const stat = (path: string): Promise<FileInfo | undefined> =>
    call<Stats>(path, (done) => sftp.stat(path, done)).then(infoOf, absent);
  const parts: Parts = { sftp, call, stat, random };
  return {
    describe,
    stat,
    list: (path) =>
      call<{ filename: string; attrs: Stats }[]>(path, (done) => sftp.readdir(path, done)).then((entries) =>
        entries
          .filter(({ filename }) => filename !== '.' && filename !== '..')
          .map(({ filename, attrs }) => {
            // the node names files, this side decides where they go
            if (filename === '' || /[/\0]/u.test(filename))
              throw new SshError(
                'channel',
                `${describe(path)}: a name in it is not one: ${JSON.stringify(filename)}`,
              );
            return { name: filename, isLink: attrs.isSymbolicLink() };
          }),
      ),
    async read(path) {
      const handle = await call<Buffer>(path, (done) => sftp.open(path, 'r', done));
      const close = (): Promise<void> =>
        call(path, (done: Done<void>) => sftp.close(handle, (err) => done(err)));
      try {
        const info = infoOf(await call<Stats>(path, (done) => sftp.fstat(handle, done)));
        return { info, read: (buffer, position) => readFully(parts, path, handle, buffer, position), close };
      } catch (err) {
        await close().catch(() => {}); // the first failure is the one that counts
        throw err;
      }
    },
    create: (path, attributes) => createSink(path, attributes, parts),
    async makeDirectory(path, mode) {
      const known = await stat(path);
      if (known?.kind === 'directory') return;
      await call(path, (done: Done<void>) => sftp.mkdir(path, { mode }, (err) => done(err)));
    },
  };
}

interface Parts {
  sftp: Sftp;
  call: <T>(path: string, start: (done: Done<T>) => void) => Promise<T>;
  stat: (path: string) => Promise<FileInfo | undefined>;
  random: () => number;
}

class NoSuchFile extends SshError {}

function absent(err: unknown): undefined {
  if (err instanceof NoSuchFile) return undefined;
  throw err;
}

function failure(where: string, err: Error & { code?: number | string }): SshError {
  if (err.code === NO_SUCH_FILE)
    return new NoSuchFile('channel', `${where}: no such file or directory`, { cause: err });
  const text =
    err.code === PERMISSION_DENIED
      ? 'permission denied'
      : err.code === FAILURE
        ? 'the node could not do it (disk full, a directory in the way, not allowed?)'
        : err.message;
  return new SshError('channel', `${where}: ${text}`, { cause: err });
}

function infoOf(stats: Stats): FileInfo {
  return {
    kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other',
    size: stats.isFile() ? stats.size : 0,
    mode: stats.mode & 0o7777,
    modifiedAt: stats.mtime,
    uid: stats.uid,
    gid: stats.gid,
  };
}

async function readFully(
  { sftp, call }: Parts,
  path: string,
  handle: Buffer,
  buffer: Buffer,
  position: number,
): Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    const got = await call<number>(path, (done) =>
      sftp.read(handle, buffer, filled, buffer.length - filled, position + filled, (err, count) =>
        (err as { code?: number } | undefined)?.code === END_OF_FILE ? done(undefined, 0) : done(err, count),
      ),
    );
    if (got === 0) break;
    filled += got;
  }
  return filled;
}

async function createSink(
  path: string,
  { mode, modifiedAt }: FileAttributes,
  { sftp, call, stat, random }: Parts,
): Promise<FileSink> {
  const replaced = await stat(path);
  const isSpecial = replaced !== undefined && replaced.kind !== 'file';
  // a link stays one: what it leads to is replaced
  const target =
    replaced === undefined ? path : await call<string>(path, (done) => sftp.realpath(path, done));
  const slash = target.lastIndexOf('/') + 1;
  const unfinished = isSpecial
    ? target
    : `${target.slice(0, slash)}${unfinishedName(target.slice(slash), random)}`;
  const attributes = { mode: 0o600 };
  const handle = await call<Buffer>(path, (done) =>
    isSpecial ? sftp.open(target, 'w', done) : sftp.open(unfinished, 'wx', attributes, done),
  );
  const plain = (start: (done: (err: Error | null | undefined) => void) => void): Promise<void> =>
    call<void>(path, (done) => start((err) => done(err, undefined)));
  const close = (): Promise<void> => plain((done) => sftp.close(handle, done));
  return {
    isAtomic: !isSpecial,
    write: (bytes, position) => plain((done) => sftp.write(handle, bytes, 0, bytes.length, position, done)),
    async commit() {
      if (isSpecial) {
        await close();
        return;
      }
      // owner first: a change of it takes special bits away
      if (replaced !== undefined)
        await plain((done) => sftp.fchown(handle, replaced.uid, replaced.gid, done)).catch(() => {}); // only root may
      await plain((done) => sftp.fchmod(handle, replaced?.mode ?? mode, done));
      if (modifiedAt !== undefined) await plain((done) => sftp.futimes(handle, modifiedAt, modifiedAt, done));
      await plain((done) => sftp.ext_openssh_fsync(handle, done)).catch(() => {}); // servers other than OpenSSH
      await close();
      await plain((done) => sftp.ext_openssh_rename(unfinished, target, done)).catch(async (err: unknown) => {
        if (!isUnsupported(err)) throw err;
        // the protocol's own rename does not replace
        if (replaced !== undefined) await plain((done) => sftp.unlink(target, done));
        await plain((done) => sftp.rename(unfinished, target, done));
      });
    },
    async abandon() {
      await close().catch(() => {}); // closed already, or the connection is gone
      if (isSpecial) return undefined;
      return plain((done) => sftp.unlink(unfinished, done)).then(
        () => undefined,
        () => unfinished,
      );
    },
  };
}

/** Whether the node's server has no such extension; the library says so itself. */
function isUnsupported(err: unknown): boolean {
  return /does not support/u.test(errorMessage(err));
}
