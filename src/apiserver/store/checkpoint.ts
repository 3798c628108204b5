/** Checkpoints: whole SQLite images, named by revision and checksum, written so that a crash leaves the old or the new. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from '../../lib/log.ts';
import { damaged, isOutOfSpace, writeFailed } from './errors.ts';
import { removeLeftover } from './files.ts';
import type { FileLayer } from './files.ts';
import { journalName, journalStarts } from './journal.ts';
import { unneededJournals } from './past.ts';

const FILE_NAME = /^checkpoint-(\d{16})-([0-9a-f]{16})\.db$/u;

/** Where a store is. */
export interface Place {
  files: FileLayer;
  dir: string;
  log: Logger;
}

/** A checkpoint on the disk. */
export interface Checkpoint {
  revision: number;
  path: string;
  image: Buffer<ArrayBuffer>;
}

/** Bytes that are hashed before other work gets its turn. */
const HASH_STEP_BYTES = 1024 * 1024;

/** SHA-256 of an image, in hex; pauses, so that a large image does not hold up requests. */
export async function imageDigest(image: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < image.length; at += HASH_STEP_BYTES) {
    hash.update(image.subarray(at, at + HASH_STEP_BYTES));
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  return hash.digest('hex');
}

async function checksum(image: Uint8Array): Promise<string> {
  return (await imageDigest(image)).slice(0, 16);
}

/** The newest checkpoint among these files, by what its name says; undefined when there is none. */
function newestCheckpoint(
  names: readonly string[],
): { name: string; revision: number; checksum: string } | undefined {
  const name = names
    .filter((each) => FILE_NAME.test(each))
    .sort()
    .at(-1);
  const [, revision, checksum] = FILE_NAME.exec(name ?? '') ?? [];
  if (name === undefined || revision === undefined || checksum === undefined) return undefined;
  return { name, revision: Number(revision), checksum };
}

/** Loads the newest checkpoint; undefined when there is none. Throws EDGE_ERR_STORE_DAMAGED when it is not sound. */
export async function loadCheckpoint(files: FileLayer, dir: string): Promise<Checkpoint | undefined> {
  const newest = newestCheckpoint(await files.list(dir));
  if (newest === undefined) return undefined;
  const path = join(dir, newest.name);
  const image = await files.read(path);
  if ((await checksum(image)) !== newest.checksum) {
    throw damaged(
      path,
      'damaged checkpoint (its checksum does not fit its content)',
      `restore the file from a backup, or move ${dir} away to start empty`,
    );
  }
  return { revision: newest.revision, path, image };
}

/**
 * Writes a checkpoint and then removes what it makes unnecessary; `historyFloor` says from where on the history needs
 * journals, which go before their time when the disk is full. Rejects with EDGE_ERR_STORE_WRITE, and then the old state is
 * kept; with StrayFileError when a start might find the new one.
 */
export async function saveCheckpoint(
  { files, dir, log }: Place,
  revision: number,
  image: Uint8Array,
  historyFloor: () => number,
): Promise<void> {
  const name = `checkpoint-${String(revision).padStart(16, '0')}-${await checksum(image)}.db`;
  const path = join(dir, name);
  const isNew = !(await files.list(dir).catch((): string[] => [])).includes(name);
  try {
    await files.replace(path, image).catch(async (err: unknown) => {
      if (!isOutOfSpace(err) || (await dropKeptJournals(files, dir, log)) === 0) throw err;
      await files.replace(path, image);
    });
  } catch (err) {
    if (isNew) await removeLeftover(files, path, true);
    throw writeFailed(path, err);
  }
  await removeObsolete(files, dir, name, revision, historyFloor()).catch(() => {}); // the next checkpoint tries again
}

/** Removes the journals that only the history needs, for want of space; resolves with how many that were. */
export async function dropKeptJournals(files: FileLayer, dir: string, log: Logger): Promise<number> {
  const names = await files.list(dir).catch((): string[] => []);
  const revision = newestCheckpoint(names)?.revision ?? 0;
  const kept = unneededJournals(journalStarts(names), revision, revision);
  let removed = 0;
  for (const start of kept) {
    const isGone = await files.remove(join(dir, journalName(start))).then(
      () => true,
      () => false, // another one may do
    );
    if (isGone) removed++;
  }
  if (removed > 0)
    log.warn('the disk is full: removed journals that were kept for watches', { dir, removed });
  return removed;
}

/** Removes older checkpoints, journals that nothing needs any more, and temporary files of a crash. */
async function removeObsolete(
  files: FileLayer,
  dir: string,
  kept: string,
  revision: number,
  floor: number,
): Promise<void> {
  const names = await files.list(dir);
  const journals = new Set(unneededJournals(journalStarts(names), revision, floor).map(journalName));
  for (const name of names) {
    const isOldCheckpoint = FILE_NAME.test(name) && name !== kept;
    const isTemporary = /^\.checkpoint-.*\.tmp$/u.test(name);
    if (journals.has(name) || isOldCheckpoint || isTemporary) await files.remove(join(dir, name));
  }
}
