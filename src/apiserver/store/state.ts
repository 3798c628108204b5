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

/** Rows that are written before other work gets its turn, a few milliseconds. */
const STEP_ROWS = 200;

/** Takes the committed state; costs two arrays, since what is stored never changes. */
export function captureState(revision: number, objects: ObjectIndex, history: History): StoreState {
  return { revision, floor: history.floor, objects: objects.all(), events: history.all() };
}

/** Makes the SQLite file of a state; pauses, so that a large one does not hold up requests. */
export async function encodeState({ revision, floor, objects, events }: StoreState): Promise<Uint8Array> {
  const image = await SqliteImage.open();
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
