/** The changes of one commit while they are decided: each write sees the ones before it, none sees a failed one. */
import type { ObjectIndex } from './object-index.ts';
import type { SqliteImage } from './sqlite.ts';
import { StoredObject } from './store.ts';
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
  readonly #image: SqliteImage;
  /** Wall-clock milliseconds of every change in it. */
  readonly at: number;
  /** Newer states than the committed ones; undefined marks a deleted object. */
  readonly #pending = new Map<string, StoredObject | undefined>();

  constructor(committed: ObjectIndex, image: SqliteImage, revision: number, at: number) {
    this.#committed = committed;
    this.#image = image;
    this.revision = revision;
    this.at = at;
  }

  /** Decides one write and applies it to the image; throws what `decide` throws, and then changes nothing. */
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
    const stored = new StoredObject(resource, name, revision, json, object);
    const type = mutation.action === 'delete' ? 'DELETED' : current === undefined ? 'ADDED' : 'MODIFIED';
    const labels = current?.object.metadata.labels;
    const labelsJson = labels === undefined ? null : JSON.stringify(labels);
    this.#image.control('SAVEPOINT one');
    try {
      this.#image.apply({ revision, type, resource, name, at: this.at, previousLabels: labelsJson, json });
    } catch (err) {
      this.#image.control('ROLLBACK TO one');
      throw err;
    } finally {
      this.#image.control('RELEASE one');
    }
    const head = JSON.stringify({ r: revision, t: type, k: resource, n: name, at: this.at });
    this.records.push(`${head.slice(0, -1)},"l":${labelsJson ?? 'null'},"o":${json}}`);
    this.bytes += json.length;
    this.revision = revision;
    this.#pending.set(key, type === 'DELETED' ? undefined : stored);
    this.changes.push({ type, stored, previousLabels: labels });
    return { changed: type, stored };
  }
}
