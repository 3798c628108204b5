/** The committed objects in memory: what reads and lists use. */
import type { StoredObject } from './store.ts';

interface Resource {
  objects: Map<string, StoredObject>;
  /** The objects by name; rebuilt on the next list after a create or delete. */
  sorted: StoredObject[] | undefined;
}

/** Objects by resource and name. */
export class ObjectIndex {
  readonly #resources = new Map<string, Resource>();

  get size(): number {
    let size = 0;
    for (const { objects } of this.#resources.values()) size += objects.size;
    return size;
  }

  get(resource: string, name: string): StoredObject | undefined {
    return this.#resources.get(resource)?.objects.get(name);
  }

  /** All objects of a resource in code unit order of their names; the array is never changed afterwards. */
  list(resource: string): readonly StoredObject[] {
    const entry = this.#resources.get(resource);
    if (entry === undefined) return [];
    entry.sorted ??= [...entry.objects.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return entry.sorted;
  }

  /** The objects of all resources, in the order of resources and names. */
  all(): readonly StoredObject[] {
    return [...this.#resources.keys()].sort().flatMap((resource) => this.list(resource));
  }

  put(stored: StoredObject): void {
    let entry = this.#resources.get(stored.resource);
    if (entry === undefined)
      this.#resources.set(stored.resource, (entry = { objects: new Map(), sorted: undefined }));
    entry.objects.set(stored.name, stored);
    entry.sorted = undefined;
  }

  remove(resource: string, name: string): void {
    const entry = this.#resources.get(resource);
    if (entry?.objects.delete(name) === true) entry.sorted = undefined;
  }
}
