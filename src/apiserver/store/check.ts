/** Checks the files of a store as recovery would read them, and more closely; never writes, locks or cuts anything. */
import { join } from 'node:path';
import { EdgeError, errorMessage } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { systemFiles } from './files.ts';
import type { FileLayer } from './files.ts';
import { imageProblems } from './image-check.ts';
import { isInside, journalName, journalStarts } from './journal.ts';
import { decodeJournal } from './journal-frames.ts';
import { replayJournals } from './replay.ts';
import { SqliteImage } from './sqlite.ts';

/** What a check found. */
export interface CheckReport {
  /** One line a file and one of the whole, for people. */
  lines: string[];
  /** What makes the store unusable; empty when a server would start from it with every acknowledged write. */
  problems: string[];
}

/** checkStore on the machine's own files; rejects with EDGE_ERR_STORE_CHECK when the directory cannot be read. */
export async function checkStoreFiles(dir: string): Promise<CheckReport> {
  try {
    return await checkStore(systemFiles, dir);
  } catch (err) {
    throw new EdgeError('EDGE_ERR_STORE_CHECK', `check the store: ${errorMessage(err)}`, { cause: err });
  }
}

/** Checks the store in `dir`; rejects only when the directory cannot be read. */
export async function checkStore(files: FileLayer, dir: string): Promise<CheckReport> {
  const report: CheckReport = { lines: [], problems: [] };
  const names = await files.list(dir);
  let after: number | undefined;
  let image: SqliteImage | undefined;
  try {
    const checkpoint = await loadCheckpoint(files, dir);
    if (checkpoint === undefined) report.lines.push('checkpoint: none yet');
    else {
      image = await SqliteImage.open(checkpoint.image);
      report.problems.push(...imageProblems(image).map((problem) => `${checkpoint.path}: ${problem}`));
      if (image.meta('revision') !== checkpoint.revision)
        report.problems.push(`${checkpoint.path}: holds revision ${image.meta('revision')}`);
      after = checkpoint.revision;
      report.lines.push(
        `checkpoint: ${checkpoint.path}: revision ${after}, ${image.objects().length} objects, ${checkpoint.image.length} bytes`,
      );
    }
    const starts = journalStarts(names);
    for (const [at, start] of starts.entries()) {
      const name = journalName(start);
      const isKept = isInside(starts, at, after ?? 0);
      const data = await files.read(join(dir, name)).catch((err: unknown) => {
        if (!isKept) throw err;
        report.lines.push(`journal: ${name}: ${errorMessage(err)}; only for watches to resume from`);
      });
      if (data !== undefined) report.lines.push(describeJournal(name, data, isKept));
    }
    // the same judgement as at a start, across files
    const { began, records } = await replayJournals(files, dir, after, silentLogger);
    const newest = records.at(-1)?.r ?? began;
    report.lines.push(`newest acknowledged revision: ${newest} (${records.length} changes in the journal)`);
  } catch (err) {
    report.problems.push(errorMessage(err));
  } finally {
    image?.close();
  }
  return report;
}

function describeJournal(name: string, data: Buffer, isKept: boolean): string {
  const { records, tornBytes, resumesAt } = decodeJournal(data);
  const [first, last] = [records[0]?.r, records.at(-1)?.r];
  const range = first === undefined || last === undefined ? 'no changes' : `revisions ${first} to ${last}`;
  const tail =
    tornBytes === 0
      ? ''
      : resumesAt === undefined && !isKept
        ? `, ${tornBytes} bytes of a write that was never acknowledged`
        : `, damaged at byte ${data.length - tornBytes}`;
  const use = isKept ? '; only for watches to resume from' : '';
  return `journal: ${name}: ${range}, ${data.length} bytes${tail}${use}`;
}
