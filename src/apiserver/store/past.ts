/**
 * The history before the checkpoint, from the journals that were kept for it. It is worth less than the rest: what is
 * missing or damaged there costs watches their resuming, who list again then, and never an object.
 */
import { join } from 'node:path';
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { FileLayer } from './files.ts';
import { History } from './history.ts';
import type { HistoryLimits } from './history.ts';
import { isInside, journalName, journalStarts } from './journal.ts';
import { decodeJournal } from './journal-frames.ts';
import type { JournalEnd, JournalRecord } from './journal-frames.ts';
import type { ObjectIndex } from './object-index.ts';
import { StoredObject } from './store.ts';

/** Files that are kept for the history: with very short journals more would be many. */
const MAX_KEPT_FILES = 256;

/**
 * The journals that nothing needs when a checkpoint holds everything up to `revision` and the history begins above
 * `floor`, given where journals start.
 */
export function unneededJournals(starts: readonly number[], revision: number, floor: number): number[] {
  return starts.filter(
    (_, at) =>
      isInside(starts, at, revision) && (isInside(starts, at, floor) || starts.length - at > MAX_KEPT_FILES),
  );
}

/** The history up to the revision of the checkpoint, which holds `objects`: as much as is there without a gap. */
export async function readPast(
  files: FileLayer,
  dir: string,
  revision: number,
  objects: ObjectIndex,
  limits: HistoryLimits,
  log: Logger,
): Promise<History> {
  const starts = journalStarts(await files.list(dir));
  const inside = starts.filter((_, at) => isInside(starts, at, revision));
  // the newest first: no more is read than the history can hold
  const found: JournalRecord[][] = [];
  let [floor, bytes] = [revision, limits.bytes];
  for (const start of inside.reverse()) {
    const path = join(dir, journalName(start));
    const records = await readKept(files, path, { after: revision - limits.events, bytes }, log);
    const wanted = endingWith(records, floor);
    found.push(wanted);
    floor -= wanted.length;
    for (const { json } of wanted) bytes -= json.length;
    const isAtEnd = wanted.length < records.length || floor > start - 1;
    if (isAtEnd || bytes <= 0) break;
  }
  const history = new History(limits, floor);
  for (const records of found.reverse()) for (const record of records) addRecord(history, record, objects);
  return history;
}

/** The last records, as far back as each has the revision before the next one; none when the last has another one. */
function endingWith(records: JournalRecord[], revision: number): JournalRecord[] {
  let from = records.length;
  while (from > 0 && records[from - 1]?.r === revision - (records.length - from)) from--;
  return records.slice(from);
}

async function readKept(
  files: FileLayer,
  path: string,
  end: JournalEnd,
  log: Logger,
): Promise<JournalRecord[]> {
  const complain = (error: string): void =>
    log.warn('a journal that is kept for watches cannot be read, they list again', { file: path, error });
  try {
    const { records, soundBytes, tornBytes } = decodeJournal(await files.read(path), end);
    if (tornBytes > 0) complain(`damaged at byte ${soundBytes}`);
    return records;
  } catch (err) {
    complain(errorMessage(err));
    return [];
  }
}

/** Adds a change to the history; an object that is still in that state is shared. Returns the object. */
export function addRecord(
  history: History,
  { r, t, k, n, at, l, json }: JournalRecord,
  objects: ObjectIndex,
): StoredObject {
  const known = objects.get(k, n);
  const stored = known?.revision === r ? known : new StoredObject(k, n, r, json);
  history.add({ type: t, stored, previousLabels: l ?? undefined }, at);
  history.compact(at);
  return stored;
}
