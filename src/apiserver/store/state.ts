/** The whole state at one revision, and its form as a SQLite file: what checkpoints and backups hold. */
import type { History, HistoryEvent } from './history.ts';
import type { ObjectIndex } from './object-index.ts';
import { SqliteImage } from './sqlite.ts';
import type { StoredObject } from './store.ts';

/** A consistent state; nothing in it changes any more. */
export interface StoreState {
  revision: number;
  /** Changes up to here are not among the events. */
  floor: number;
  objects: readonly StoredObject[];
  events: readonly HistoryEvent[];
}

/** What a row takes beside its value, and how much longer a file is than its rows; measured, and only a guess. */
const ROW_BYTES = 100;
const FILL = 1.1;

/** Rows that are written before other work gets its turn, a few milliseconds. */
const STEP_ROWS = 200;

/** Takes the committed state; costs two arrays, since what is stored never changes. */
export function captureState(revision: number, objects: ObjectIndex, history: History): StoreState {
  return { revision, floor: history.floor, objects: objects.all(), events: history.all() };
}

/** How long the file will be, about. */
function expectedBytes(objects: readonly StoredObject[], events: readonly HistoryEvent[]): number {
  let bytes = 0;
  for (const { json } of objects) bytes += json.length + ROW_BYTES;
  for (const { change } of events) bytes += change.stored.json.length + ROW_BYTES;
  return Math.ceil(bytes * FILL);
}

/** Makes the SQLite file of a state; pauses, so that a large one does not hold up requests. */
export async function encodeState({ revision, floor, objects, events }: StoreState): Promise<Uint8Array> {
  const image = await SqliteImage.create(expectedBytes(objects, events));
  try {
    image.control('BEGIN');
    let rows = 0;
    const pause = async (): Promise<void> => {
      if (++rows % STEP_ROWS > 0) return;
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    };
    for (const stored of objects) {
      image.putObject(stored);
      await pause();
    }
    const current = new Set(objects);
    for (const { change, at } of events) {
      image.addEvent(change, at, current.has(change.stored));
      await pause();
    }
    image.setMeta('revision', revision);
    image.setMeta('floor', floor);
    image.control('COMMIT');
    return image.export();
  } finally {
    image.close();
  }
}
