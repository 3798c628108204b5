/** The objects at one revision as a SQLite file: what checkpoints and backups hold. */
import { releaseMemory } from '../../lib/release-memory.ts';
import { SqliteImage } from './sqlite.ts';
import type { StoredObject } from './store.ts';

/** A consistent state; nothing in it changes any more. */
export interface StoreState {
  revision: number;
  objects: readonly StoredObject[];
}

/** A consistent copy of a store at one revision. */
export interface Snapshot {
  revision: number;
  objects: number;
  /** A SQLite file. */
  image: Uint8Array;
}

/** What a row takes beside its value, and how much longer a file is than its rows; measured, and only a guess. */
const ROW_BYTES = 100;
const FILL = 1.1;

/** Rows that are written before other work gets its turn, a few milliseconds. */
const STEP_ROWS = 200;

/** How long the file will be, about. */
function expectedBytes(objects: readonly StoredObject[]): number {
  let bytes = 0;
  for (const { json } of objects) bytes += json.length + ROW_BYTES;
  return Math.ceil(bytes * FILL);
}

/** Makes the SQLite file of a state; pauses, so that a large one does not hold up requests. */
export async function encodeState({ revision, objects }: StoreState): Promise<Uint8Array<ArrayBuffer>> {
  const image = await SqliteImage.create(expectedBytes(objects));
  try {
    image.control('BEGIN');
    let rows = 0;
    for (const stored of objects) {
      image.putObject(stored);
      if (++rows % STEP_ROWS > 0) continue;
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    image.setMeta('revision', revision);
    image.setMeta('floor', revision);
    image.control('COMMIT');
    return image.take();
  } catch (err) {
    image.close();
    throw err;
  }
}

/** Makes the SQLite file of a state for `use` only, and gives its memory back when that is done. */
export async function withImage<T>(state: StoreState, use: (image: Uint8Array) => Promise<T>): Promise<T> {
  const image = await encodeState(state);
  try {
    return await use(image);
  } finally {
    releaseMemory(image.buffer);
  }
}
