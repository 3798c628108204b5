/** What the API server wants from its storage: durable writes in one order, reads of committed state, history. */
import type { KubeObject } from '../../api/meta.ts';

/** What a change did to an object, in the words of watch events. */
export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** The longest JSON text of an object. */
export const MAX_OBJECT_LENGTH = 3 * 1024 * 1024;

/** Parsed objects kept at once; a parsed object takes several times the memory of its text. */
const MAX_PARSED = 256;

/** One committed state of an object. Never changed: a write makes a new one. */
export class StoredObject {
  /** The last ones that were parsed, in a ring; who leaves it is parsed again when somebody asks. */
  static readonly #parsed: (StoredObject | undefined)[] = [];
  static #next = 0;

  readonly resource: string;
  readonly name: string;
  /** The store's counter at the write; the object's resourceVersion. */
  readonly revision: number;
  /** The object as clients get it. */
  readonly json: string;
  #object: KubeObject | undefined;

  constructor(resource: string, name: string, revision: number, json: string, object?: KubeObject) {
    this.resource = resource;
    this.name = name;
    this.revision = revision;
    this.json = json;
    if (object !== undefined) this.#keep(object);
  }

  /** The parsed object; shared, so copy it before changing anything. Equal but not the same after a while. */
  get object(): KubeObject {
    return this.#object ?? this.#keep(JSON.parse(this.json) as KubeObject);
  }

  /** Lets go of the parsed object, as of a state that a newer one replaced; who asks again has it parsed again. */
  forget(): void {
    // without its text an object cannot be parsed again: tables of dry runs have such
    if (this.json !== '') this.#object = undefined;
  }

  #keep(object: KubeObject): KubeObject {
    const evicted = StoredObject.#parsed[StoredObject.#next];
    evicted?.forget();
    StoredObject.#parsed[StoredObject.#next] = this;
    StoredObject.#next = (StoredObject.#next + 1) % MAX_PARSED;
    this.#object = object;
    return object;
  }
}

/** One change, as watchers see it. */
export interface Change {
  readonly type: ChangeType;
  /** The state after the change; for DELETED the last state with the deletion's revision. */
  readonly stored: StoredObject;
  /** Labels before the change; undefined when the object did not exist or had none. */
  readonly previousLabels: Readonly<Record<string, string>> | undefined;
}

/** What a write wants to happen. The store sets resourceVersion. */
export type Mutation =
  | { readonly action: 'put'; readonly object: KubeObject }
  /** `object`: the last state to show, when it differs from the stored one. */
  | { readonly action: 'delete'; readonly object?: KubeObject }
  | { readonly action: 'keep' };

/** What a write did. `stored` is the object after it, or the last state of a deleted one. */
export interface WriteResult {
  readonly changed: ChangeType | undefined;
  readonly stored: StoredObject | undefined;
}

/** Decides a write from the newest state; called once, in commit order. A throw fails this write alone. */
export type Decide = (current: StoredObject | undefined) => Mutation;

/** A standing subscription to changes. */
export interface Subscription {
  stop(): void;
}

/** The storage of one API server. */
export interface ObjectStore {
  /** The revision of the last committed change; reads show the state at it. */
  readonly revision: number;
  /** Changes up to this revision are no longer in the history. */
  readonly floor: number;
  get(resource: string, name: string): StoredObject | undefined;
  /** All objects of a resource, by name in code unit order. */
  list(resource: string): readonly StoredObject[];
  /**
   * Queues a write. Resolves once it is on the disk and visible to reads; rejects with what `decide` threw,
   * EDGE_ERR_STORE_WRITE (undone, later writes may work), EDGE_ERR_STORE_TOO_LARGE, EDGE_ERR_STORE_OVERLOADED or
   * EDGE_ERR_STORE_CLOSED.
   */
  write(resource: string, name: string, decide: Decide): Promise<WriteResult>;
  /** Up to `limit` changes of a resource after a revision, oldest first; throws CompactedError below the floor. */
  history(resource: string, after: number, limit: number): Change[];
  /** Calls `onChanges` after each commit, in revision order, with what changed in the resource. */
  subscribe(resource: string, onChanges: (changes: readonly Change[]) => void): Subscription;
  /** Finishes queued writes, saves a checkpoint and gives the directory back. */
  close(): Promise<void>;
}
