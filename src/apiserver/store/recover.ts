/** What a server finds at its start: checkpoint and journals of a directory, read into memory. Cuts a torn tail. */
import type { Logger } from '../../lib/log.ts';
import { releaseMemory } from '../../lib/release-memory.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { damaged } from './errors.ts';
import type { FileLayer } from './files.ts';
import { History } from './history.ts';
import type { HistoryLimits } from './history.ts';
import { Journal } from './journal.ts';
import type { JournalRecord } from './journal-frames.ts';
import { ObjectIndex } from './object-index.ts';
import { addRecord, readPast } from './past.ts';
import { replayJournals } from './replay.ts';
import { SqliteImage } from './sqlite.ts';
import { StoredObject } from './store.ts';

/** The state of a directory, and the files to go on with. */
export interface Recovered {
  revision: number;
  objects: ObjectIndex;
  history: History;
  journal: Journal;
  checkpointBytes: number;
  /** Bytes of earlier journal files that no checkpoint holds yet. */
  uncheckpointedBytes: number;
  /** Changes that came from journals. */
  replayed: number;
}

interface Loaded {
  revision: number;
  objects: ObjectIndex;
  history: History;
  /** How long the checkpoint was that it began with. */
  bytes: number;
}

/** Reads the state of a locked directory. Rejects with EDGE_ERR_STORE_DAMAGED, and then has changed nothing. */
export async function recoverStore(
  files: FileLayer,
  dir: string,
  limits: HistoryLimits,
  log: Logger,
): Promise<Recovered> {
  const loaded = await loadState(files, dir, limits, log);
  const { began, records, earlierBytes, last } = await replayJournals(files, dir, loaded?.revision, log);
  const state = loaded ?? {
    revision: began,
    objects: new ObjectIndex(),
    history: new History(limits, began),
    bytes: 0,
  };
  apply(records, state);
  const { revision, objects, history, bytes } = state;
  // a first journal is that of revision 1, so that one is missed where there should be an earlier one
  const start = last?.firstRevision ?? (loaded === undefined ? 1 : revision + 1);
  const journal = await Journal.open(files, dir, start, last);
  return {
    revision,
    objects,
    history,
    journal,
    checkpointBytes: bytes,
    uncheckpointedBytes: earlierBytes,
    replayed: records.length,
  };
}

function apply(records: readonly JournalRecord[], state: Loaded): void {
  for (const record of records) {
    const stored = addRecord(state.history, record, state.objects);
    if (record.t === 'DELETED') state.objects.remove(record.k, record.n);
    else state.objects.put(stored);
    state.revision = record.r;
  }
}

async function loadState(
  files: FileLayer,
  dir: string,
  limits: HistoryLimits,
  log: Logger,
): Promise<Loaded | undefined> {
  const checkpoint = await loadCheckpoint(files, dir);
  if (checkpoint === undefined) return undefined;
  const objects = new ObjectIndex();
  const { path, revision } = checkpoint;
  const bytes = checkpoint.image.length;
  const image = await SqliteImage.open(checkpoint.image);
  try {
    const [format, found] = [image.meta('format'), image.meta('revision')];
    if (format !== 1 || found !== revision) {
      throw damaged(
        path,
        `holds format ${format}, revision ${found}`,
        'it was written by another version of edge: run that version, or restore a backup',
      );
    }
    const byRevision = new Map<number, StoredObject>();
    for (const row of image.objects()) {
      const stored = new StoredObject(row.resource, row.name, row.revision, row.json);
      byRevision.set(row.revision, stored);
      objects.put(stored);
    }
    const floor = image.meta('floor');
    let history: History;
    if (floor < revision) {
      history = new History(limits, floor); // edge once kept the history in its checkpoints
      for (const { change, at } of image.events(byRevision)) history.add(change, at);
    } else history = await readPast(files, dir, revision, objects, limits, log);
    return { revision, objects, history, bytes };
  } finally {
    image.close();
    // a short one may be a part of Node's pool
    if (bytes === checkpoint.image.buffer.byteLength) releaseMemory(checkpoint.image.buffer);
  }
}
