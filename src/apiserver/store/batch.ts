/** The changes of one commit while they are decided: each write sees the ones before it, none sees a failed one. */
import { objectTooLarge } from './errors.ts';
import type { ObjectIndex } from './object-index.ts';
import { MAX_OBJECT_LENGTH, StoredObject } from './store.ts';
import type { Change, Decide, WriteResult } from './store.ts';

/** A write as a batch takes it. */
export interface BatchedWrite {
  resource: string;
  name: string;
  decide: Decide;
}

/** The changes of one commit. */
export class Batch {
  readonly changes: Change[] = [];
  readonly records: string[] = [];
  bytes = 0;
  revision: number;
  readonly #committed: ObjectIndex;
  /** Wall-clock milliseconds of every change in it. */
  readonly at: number;
  /** Newer states than the committed ones; undefined marks a deleted object. */
  readonly #pending = new Map<string, StoredObject | undefined>();

  constructor(committed: ObjectIndex, revision: number, at: number) {
    this.#committed = committed;
    this.revision = revision;
    this.at = at;
  }

  /** Decides one write; throws what `decide` throws or EDGE_ERR_STORE_TOO_LARGE, and then changes nothing. */
  add({ resource, name, decide }: BatchedWrite): WriteResult {
    const key = `${resource}/${name}`;
    const current = this.#pending.has(key) ? this.#pending.get(key) : this.#committed.get(resource, name);
    const mutation = decide(current);
    if (mutation.action === 'keep' || (mutation.action === 'delete' && current === undefined)) {
      return { changed: undefined, stored: current };
    }
    const revision = this.revision + 1;
    const source = mutation.object ?? current?.object;
    if (source === undefined) throw new Error(`delete of ${key} without a state`);
    const object = { ...source, metadata: { ...source.metadata, resourceVersion: String(revision) } };
    const json = JSON.stringify(object);
    if (json.length > MAX_OBJECT_LENGTH) throw objectTooLarge(json.length, MAX_OBJECT_LENGTH);
    const stored = new StoredObject(resource, name, revision, json, object);
    const type = mutation.action === 'delete' ? 'DELETED' : current === undefined ? 'ADDED' : 'MODIFIED';
    const labels = current?.object.metadata.labels;
    const labelsJson = labels === undefined ? null : JSON.stringify(labels);
    const [k, n] = [JSON.stringify(resource), JSON.stringify(name)];
    this.records.push(
      `{"r":${revision},"t":"${type}","k":${k},"n":${n},"at":${this.at},"l":${labelsJson ?? 'null'},"o":${json}}`,
    );
    this.bytes += json.length;
    this.revision = revision;
    this.#pending.set(key, type === 'DELETED' ? undefined : stored);
    this.changes.push({ type, stored, previousLabels: labels });
    return { changed: type, stored };
  }
}
