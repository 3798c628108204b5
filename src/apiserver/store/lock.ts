/** One process a directory: the second is refused with the first one's pid; a killed holder leaves nothing behind. */
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { EdgeError, errorCode } from '../../lib/errors.ts';

/** A held lock. */
export interface DirectoryLock {
  release(): Promise<void>;
}

interface Holder {
  pid: number;
  /** When the process started, in the kernel's ticks: tells a reused pid from the holder. */
  startTime: string;
}

function processStartTime(pid: number): string | undefined {
  try {
    // field 22 of proc(5) stat; the command name before it may hold spaces and parentheses
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined; // no such process, or no /proc on this system
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    const holder = JSON.parse(readFileSync(path, 'utf8')) as Partial<Holder> | null;
    if (typeof holder?.pid === 'number' && typeof holder.startTime === 'string') return holder as Holder;
  } catch {
    // missing or cut short by a crash: then it names nobody
  }
  return undefined;
}

function refused(dir: string, holder: Holder | undefined): EdgeError {
  const who = holder === undefined ? 'another edge apiserver' : `another edge apiserver (pid ${holder.pid})`;
  return new EdgeError('EDGE_ERR_STORE_LOCKED', `${dir}: in use by ${who}`, {
    hint: 'stop it first, or give this one its own --data-dir',
  });
}

/**
 * Takes the lock of a directory, which must exist. Throws EDGE_ERR_STORE_LOCKED when a live process holds it.
 *
 * Two guards: an abstract unix socket named after the directory's inode, which the kernel hands to one process and
 * frees when that dies; and a file with pid and start time, for holders in another network namespace.
 */
export async function lockDirectory(dir: string): Promise<DirectoryLock> {
  const path = join(dir, 'lock');
  const { dev, ino } = statSync(dir);
  const guard =
    process.platform === 'linux' ? await bindGuard(`\0edge-apiserver-${dev}-${ino}`, dir, path) : undefined;
  const holder = readHolder(path);
  if (
    holder !== undefined &&
    holder.pid !== process.pid &&
    processStartTime(holder.pid) === holder.startTime
  ) {
    guard?.close();
    throw refused(dir, holder);
  }
  const own: Holder = { pid: process.pid, startTime: processStartTime(process.pid) ?? '' };
  await writeFileAtomic(path, `${JSON.stringify(own)}\n`);
  return {
    async release() {
      await writeFileAtomic(path, '').catch(() => {}); // a full disk: the dead pid says the same
      guard?.close();
    },
  };
}

function bindGuard(name: string, dir: string, path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (err) =>
      reject(errorCode(err) === 'EADDRINUSE' ? refused(dir, readHolder(path)) : err),
    );
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}
