/** Which objects a watch has in its selection, for selectors whose fields the history does not keep the old values of. */
import { matches, NAME_FIELD } from '../../api/selectors.ts';
import type { Selectors } from '../../api/selectors.ts';
import type { StoredObject } from '../store/store.ts';

/** The selected names of one watch; as many as there are objects at most. */
export class Selected {
  readonly #selectors: Selectors;
  readonly #names = new Map<string, boolean>();

  private constructor(selectors: Selectors) {
    this.#selectors = selectors;
  }

  /**
   * Starts with the objects that have not changed after `since`; undefined when the history alone can tell, which it
   * can for names and labels.
   */
  static forWatch(
    selectors: Selectors,
    objects: readonly StoredObject[],
    since: number | undefined,
  ): Selected | undefined {
    if (selectors.fields.every(({ field }) => field === NAME_FIELD)) return undefined;
    const selected = new Selected(selectors);
    for (const stored of objects) {
      if (since === undefined || stored.revision <= since)
        selected.#names.set(stored.name, matches(selectors, stored.object));
    }
    return selected;
  }

  /**
   * Whether an object was selected before a change. Of one that changed for the first time since an older version
   * only the new state is known, and its fields are taken to be what they were.
   */
  had(stored: StoredObject): boolean {
    return this.#names.get(stored.name) ?? matches(this.#selectors, stored.object);
  }

  /** Keeps whether an object is selected after a change. */
  note(stored: StoredObject, isSelected: boolean, isGone: boolean): void {
    if (isGone) this.#names.delete(stored.name);
    else this.#names.set(stored.name, isSelected);
  }
}
