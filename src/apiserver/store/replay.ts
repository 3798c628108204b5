/** Reads the journals of a directory at a start, as far as the checkpoint does not hold what is in them. */
import { join } from 'node:path';
import type { EdgeError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { damaged } from './errors.ts';
import type { FileLayer } from './files.ts';
import { isInside, journalName, journalStarts } from './journal.ts';
import { decodeJournal } from './journal-frames.ts';
import type { JournalRecord } from './journal-frames.ts';

function missing(path: string, revision: number, instead: string, dir: string): EdgeError {
  return damaged(
    path,
    `revision ${revision} is missing: ${instead}`,
    `a journal or checkpoint file was removed; restore ${dir} from a backup, or move it away to start empty`,
  );
}

/** The revision of a store that nothing was written to: to clients 0 is no revision but any. */
const FIRST_REVISION = 1;

/** What recovery found in the journal files above a revision. */
export interface Replay {
  /** The revision before the first record: that of the checkpoint, or of a store without changes. */
  began: number;
  records: JournalRecord[];
  /** Bytes of frames in the files before the last one. */
  earlierBytes: number;
  /** The file to go on with, when there is one. */
  last: { firstRevision: number; bytes: number; lastFrameAt: number | undefined } | undefined;
}

/**
 * Reads all journal files above the revision of the checkpoint, or all when there is none. Throws
 * EDGE_ERR_STORE_DAMAGED when records are missing or broken anywhere but at the end of the last file, where a crash in
 * the middle of a write leaves a torn frame.
 */
export async function replayJournals(
  files: FileLayer,
  dir: string,
  checkpoint: number | undefined,
  log: Logger,
): Promise<Replay> {
  const starts = journalStarts(await files.list(dir));
  const records: JournalRecord[] = [];
  const after = checkpoint ?? 0;
  let began = checkpoint;
  let revision = after;
  let earlierBytes = 0;
  let last: Replay['last'];
  for (const [at, start] of starts.entries()) {
    const path = join(dir, journalName(start));
    const isLast = at === starts.length - 1;
    if (isInside(starts, at, after)) continue;
    if (start > revision + 1) throw missing(path, revision + 1, `starts at ${start}`, dir);
    const data = await files.read(path);
    const { records: found, soundBytes, lastFrameAt, tornBytes, resumesAt } = decodeJournal(data);
    if (tornBytes > 0 && (!isLast || resumesAt !== undefined)) {
      throw damaged(
        path,
        `damaged at byte ${soundBytes}${resumesAt === undefined ? '' : `, sound again at byte ${resumesAt}`}`,
        `acknowledged writes are in the damaged part; restore the file from a backup, or move ${dir} away to start empty`,
      );
    }
    if (tornBytes > 0) log.warn('cut a torn journal tail', { file: path, bytes: tornBytes });
    began ??= found[0]?.r === FIRST_REVISION ? 0 : FIRST_REVISION; // stores once began with 0
    revision = Math.max(revision, began);
    for (const record of found) {
      if (record.r <= after) continue;
      if (record.r !== revision + 1) {
        throw missing(path, revision + 1, `found ${record.r}`, dir);
      }
      revision = record.r;
      records.push(record);
    }
    if (isLast) last = { firstRevision: start, bytes: soundBytes, lastFrameAt };
    else earlierBytes += soundBytes;
  }
  return { began: began ?? FIRST_REVISION, records, earlierBytes, last };
}
