/** Replaces a file as a whole: readers see the old content or the new, also after a crash. */
import { randomUUID } from 'node:crypto';
import { open, rename, unlink, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Writes `data` to `path` by write-new, fsync, rename, fsync of the directory. Creates the directory. */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const dir = dirname(path);
  await mkdir(dir, { recursive: true });
  // Not by process id: programs in containers share theirs, with each other and with those that crashed before.
  const temporary = join(dir, `.${basename(path)}.${randomUUID()}.tmp`);
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(data);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (err) {
    await file.close().catch(() => {}); // already closed when rename failed
    await unlink(temporary).catch(() => {}); // nothing to remove when it was renamed
    throw err;
  }
  await syncDirectory(dir);
}

/** Makes renames and new files of a directory durable. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
