/** Builds a fresh state from the objects of a backup: new revisions for all of them, no history. */
import type { KubeObject } from '../../api/meta.ts';
import { ObjectIndex } from './object-index.ts';
import { SqliteImage } from './sqlite.ts';
import type { ObjectRow } from './sqlite.ts';
import { StoredObject } from './store.ts';

/** A state that nobody uses yet. */
export interface RebuiltState {
  image: SqliteImage;
  objects: ObjectIndex;
  revision: number;
}

/** Gives the objects the revisions above `after`, in their order. The floor of the history is the last of them. */
export async function rebuild(rows: readonly ObjectRow[], after: number): Promise<RebuiltState> {
  const image = await SqliteImage.open();
  const objects = new ObjectIndex();
  let revision = after;
  image.control('BEGIN');
  for (const { resource, name, json } of rows) {
    revision++;
    const object = JSON.parse(json) as KubeObject;
    object.metadata.resourceVersion = String(revision);
    const stored = new StoredObject(resource, name, revision, JSON.stringify(object));
    image.putObject(stored);
    objects.put(stored);
  }
  // one above even when there are no objects: watches from before must not resume as if nothing had happened
  revision++;
  image.setMeta('revision', revision);
  image.setMeta('floor', revision);
  image.control('COMMIT');
  return { image, objects, revision };
}
