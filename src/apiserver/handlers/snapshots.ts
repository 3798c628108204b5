/** The states that paged lists began with, so that all their pages show one moment. */
import type { ObjectStore, StoredObject } from '../store/store.ts';

/** Lists under way at once whose snapshot is kept; an older one goes on at the newest state, after a 410. */
const MAX_SNAPSHOTS = 16;

/** Snapshots of one store. They share the objects with it: only what changed since takes memory. */
export class Snapshots {
  static readonly #byStore = new WeakMap<ObjectStore, Snapshots>();
  readonly #lists = new Map<string, readonly StoredObject[]>();

  /** The snapshots of a store. */
  static of(store: ObjectStore): Snapshots {
    let snapshots = Snapshots.#byStore.get(store);
    if (snapshots === undefined) Snapshots.#byStore.set(store, (snapshots = new Snapshots()));
    return snapshots;
  }

  /** Keeps a list; the one that was used longest ago makes room. */
  keep(resource: string, revision: number, list: readonly StoredObject[]): void {
    const key = `${resource}@${revision}`;
    this.#lists.delete(key);
    this.#lists.set(key, list);
    for (const oldest of this.#lists.keys()) {
      if (this.#lists.size <= MAX_SNAPSHOTS) break;
      this.#lists.delete(oldest);
    }
  }

  /** The list of a resource at a revision, when it is kept. */
  get(resource: string, revision: number): readonly StoredObject[] | undefined {
    return this.#lists.get(`${resource}@${revision}`);
  }
}
