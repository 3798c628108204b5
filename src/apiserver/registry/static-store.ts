/** A store of what is built in: it changes with the program alone, and is only read. */
import type { KubeObject } from '../../api/meta.ts';
import { StoredObject } from '../store/store.ts';
import type { ObjectStore } from '../store/store.ts';

/** What is built in has one version; a watch that starts from it waits for ever. */
export const BUILT_IN_REVISION = 1;

/** Creates a store of objects by the plural of their resource. */
export function createStaticStore(objects: Readonly<Record<string, readonly KubeObject[]>>): ObjectStore {
  const stored = new Map(
    Object.entries(objects).map(([plural, list]) => [
      plural,
      list
        .map((object) => {
          const { name = '' } = object.metadata;
          return new StoredObject(plural, name, BUILT_IN_REVISION, JSON.stringify(object));
        })
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    ]),
  );
  const list = (plural: string): readonly StoredObject[] => stored.get(plural) ?? [];
  return {
    revision: BUILT_IN_REVISION,
    floor: 0,
    get: (plural, name) => list(plural).find((object) => object.name === name),
    list,
    write: () => Promise.reject(new Error('what is built in cannot be written')),
    history: () => [],
    subscribe: () => ({ stop: () => {} }),
    close: () => Promise.resolve(),
  };
}
