/** Replaces the state of a directory by the objects of a backup: new revisions for all of them, no history. */
import type { KubeObject } from '../../api/meta.ts';
import { saveCheckpoint } from './checkpoint.ts';
import type { Place } from './checkpoint.ts';
import { ObjectIndex } from './object-index.ts';
import type { ObjectRow } from './sqlite.ts';
import { withImage } from './state.ts';
import { StoredObject } from './store.ts';

/** A restored state that is on the disk: a crash from here on recovers it. */
export interface Restored {
  objects: ObjectIndex;
  /** Also the floor of the history. */
  revision: number;
  checkpointBytes: number;
}

/** Gives the objects the revisions above `after`, in their order, and saves the checkpoint of them. */
export async function writeRestored(
  place: Place,
  rows: readonly ObjectRow[],
  after: number,
): Promise<Restored> {
  const objects = new ObjectIndex();
  let revision = after;
  for (const { resource, name, json } of rows) {
    revision++;
    const object = JSON.parse(json) as KubeObject;
    object.metadata.resourceVersion = String(revision);
    objects.put(new StoredObject(resource, name, revision, JSON.stringify(object)));
  }
  // one above even when there are no objects: watches from before must not resume as if nothing had happened
  revision++;
  const checkpointBytes = await withImage({ revision, objects: objects.all() }, async (image) => {
    await saveCheckpoint(place, revision, image, () => revision);
    return image.length;
  });
  return { objects, revision, checkpointBytes };
}
