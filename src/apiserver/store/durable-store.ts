/**
 * The store: group commit over a journal and an in-memory SQLite image. A resolved write is on the disk;
 * a failed one changed nothing; reads see committed state only.
 *
 * Life of a write: queue -> decide on the newest state -> SQLite transaction -> journal append and fsync ->
 * COMMIT -> map of objects -> caller and subscribers. Writes that arrive during the fsync form the next batch.
 */
import { join } from 'node:path';
import type { Clock, Timer } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { Broadcaster } from './broadcaster.ts';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { compact } from './compactor.ts';
import type { HistoryLimits } from './compactor.ts';
import { closed, CompactedError, damaged, overloaded } from './errors.ts';
import type { FileLayer } from './files.ts';
import { encodeFrame, Journal, replayJournals } from './journal.ts';
import { lockDirectory } from './lock.ts';
import type { DirectoryLock } from './lock.ts';
import { ObjectIndex } from './object-index.ts';
import { SqliteImage } from './sqlite.ts';
import { StoredObject } from './store.ts';
import type { Change, Decide, ObjectStore, Subscription, WriteResult } from './store.ts';

/** What a store needs. */
export interface StoreDeps {
  files: FileLayer;
  clock: Clock;
  log: Logger;
  /** Observes the duration of every journal append, seconds. */
  onSync?: (seconds: number) => void;
}

/** Settings of a store. */
export interface StoreConfig {
  dir: string;
  /** A journal longer than this is folded into a checkpoint, bytes. */
  journalBytes: number;
  history: HistoryLimits;
}

/** Writes that may wait at once; more are refused, and clients come back. */
const MAX_QUEUED = 4096;
/** Writes and bytes of one batch: bounds the time to the answer and the length of a frame. */
const MAX_BATCH = 512;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** How often age is looked at, and how long to wait after a checkpoint that failed. */
const UPKEEP_MS = 30_000;

interface Pending {
  resource: string;
  name: string;
  decide: Decide;
  resolve: (result: WriteResult) => void;
  reject: (err: unknown) => void;
}

/** Opens the store of a directory: locks it, recovers, and is ready. */
export async function openStore(config: StoreConfig, deps: StoreDeps): Promise<DurableStore> {
  await deps.files.makeDirectory(config.dir);
  const lock = await lockDirectory(config.dir);
  try {
    return await DurableStore.recover(config, deps, lock);
  } catch (err) {
    await lock.release();
    throw err;
  }
}

/** The durable store of one directory. */
export class DurableStore implements ObjectStore {
  readonly #config: StoreConfig;
  readonly #deps: StoreDeps;
  readonly #lock: DirectoryLock;
  readonly #image: SqliteImage;
  readonly #objects = new ObjectIndex();
  readonly #broadcaster = new Broadcaster();
  readonly #upkeep: Timer;
  #journal: Journal;
  #revision: number;
  #floor: number;
  #queue: Pending[] = [];
  #committing: Promise<void> | undefined;
  #saving: Promise<void> | undefined;
  #nextCheckpointAt = 0;
  #closing: Promise<void> | undefined;

  private constructor(
    config: StoreConfig,
    deps: StoreDeps,
    lock: DirectoryLock,
    image: SqliteImage,
    journal: Journal,
  ) {
    this.#config = config;
    this.#deps = deps;
    this.#lock = lock;
    this.#image = image;
    this.#journal = journal;
    this.#revision = image.meta('revision');
    this.#floor = image.meta('floor');
    for (const row of image.objects()) {
      this.#objects.put(new StoredObject(row.resource, row.name, row.revision, row.json));
    }
    this.#upkeep = deps.clock.every(UPKEEP_MS, () => {
      if (this.#committing === undefined) this.#compact();
    });
  }

  /** Loads checkpoint and journals of a locked directory. */
  static async recover(config: StoreConfig, deps: StoreDeps, lock: DirectoryLock): Promise<DurableStore> {
    const { files, log, clock } = deps;
    const startedAt = clock.now();
    const checkpoint = await loadCheckpoint(files, config.dir);
    const image = await SqliteImage.open(checkpoint?.image);
    if (
      checkpoint !== undefined &&
      (image.meta('format') !== 1 || image.meta('revision') !== checkpoint.revision)
    ) {
      throw damaged(
        checkpoint.path,
        `holds format ${image.meta('format')}, revision ${image.meta('revision')}`,
        'it was written by another version of edge: run that version, or restore a backup',
      );
    }
    const replay = await replayJournals(files, config.dir, checkpoint?.revision ?? 0, log);
    image.control('BEGIN');
    for (const { r, t, k, n, at, l, o } of replay.records) {
      const previousLabels = l === null ? null : JSON.stringify(l);
      image.apply({
        revision: r,
        type: t,
        resource: k,
        name: n,
        at,
        previousLabels,
        json: JSON.stringify(o),
      });
    }
    const revision = replay.records.at(-1)?.r ?? checkpoint?.revision ?? 0;
    image.setMeta('revision', revision);
    image.control('COMMIT');
    const { firstRevision, bytes } = replay.last ?? { firstRevision: revision + 1, bytes: 0 };
    const journal = await Journal.open(files, config.dir, firstRevision, bytes);
    const store = new DurableStore(config, deps, lock, image, journal);
    log.info('store recovered', {
      dir: config.dir,
      revision,
      objects: store.#objects.size,
      replayed: replay.records.length,
      ms: Math.round(clock.now() - startedAt),
    });
    return store;
  }

  get revision(): number {
    return this.#revision;
  }

  get floor(): number {
    return this.#floor;
  }

  /** How many objects there are. */
  get objectCount(): number {
    return this.#objects.size;
  }

  /** The length of the current journal file. */
  get journalBytes(): number {
    return this.#journal.bytes;
  }

  get(resource: string, name: string): StoredObject | undefined {
    return this.#objects.get(resource, name);
  }

  list(resource: string): readonly StoredObject[] {
    return this.#objects.list(resource);
  }

  history(resource: string, after: number, limit: number): Change[] {
    if (after < this.#floor) throw new CompactedError(after, this.#floor);
    // the bound hides rows of a batch that is not on the disk yet
    return this.#image.history(resource, after, this.#revision, limit);
  }

  subscribe(resource: string, onChanges: (changes: readonly Change[]) => void): Subscription {
    return this.#broadcaster.subscribe(resource, onChanges);
  }

  write(resource: string, name: string, decide: Decide): Promise<WriteResult> {
    if (this.#closing !== undefined) return Promise.reject(closed());
    if (this.#queue.length >= MAX_QUEUED) return Promise.reject(overloaded(MAX_QUEUED));
    return new Promise((resolve, reject) => {
      this.#queue.push({ resource, name, decide, resolve, reject });
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#committing !== undefined) return;
    this.#committing = this.#drain()
      .catch((err: unknown) => {
        // SQLite itself failed (out of memory): nobody's write is left waiting, and nothing of it was kept
        this.#deps.log.error('commit failed', { error: errorMessage(err) });
        for (const pending of this.#queue.splice(0)) pending.reject(err);
      })
      .finally(() => {
        this.#committing = undefined;
        if (this.#queue.length > 0) this.#wake();
      });
  }

  async #drain(): Promise<void> {
    // writes of one turn of the event loop share a batch
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    while (this.#queue.length > 0) {
      await this.#commitBatch();
      this.#compact();
      if (this.#journal.bytes >= this.#config.journalBytes) await this.#rotate();
    }
  }

  /** Takes queued writes through to the disk and answers each of them. */
  async #commitBatch(): Promise<void> {
    const batch = new Batch(this.#objects, this.#image, this.#revision, this.#deps.clock.wallNow().getTime());
    const answers: { pending: Pending; result: WriteResult }[] = [];
    let taken = 0;
    this.#image.control('BEGIN');
    for (const pending of this.#queue) {
      if (taken >= MAX_BATCH || batch.bytes >= MAX_BATCH_BYTES) break;
      taken++;
      try {
        answers.push({ pending, result: batch.add(pending) });
      } catch (err) {
        pending.reject(err);
      }
    }
    this.#queue.splice(0, taken);
    try {
      if (batch.changes.length > 0) {
        this.#image.setMeta('revision', batch.revision);
        const startedAt = this.#deps.clock.now();
        await this.#journal.append(encodeFrame(batch.records));
        this.#deps.onSync?.((this.#deps.clock.now() - startedAt) / 1000);
      }
    } catch (err) {
      this.#image.control('ROLLBACK');
      this.#deps.log.error('write failed', { error: errorMessage(err), writes: answers.length });
      for (const { pending } of answers) pending.reject(err);
      return;
    }
    this.#image.control('COMMIT');
    this.#revision = batch.revision;
    for (const change of batch.changes) {
      if (change.type === 'DELETED') this.#objects.remove(change.stored.resource, change.stored.name);
      else this.#objects.put(change.stored);
    }
    for (const { pending, result } of answers) pending.resolve(result);
    this.#broadcaster.publish(batch.changes);
  }

  #compact(): void {
    const floor = compact(this.#image, this.#config.history, this.#deps.clock.wallNow().getTime());
    if (floor !== undefined) this.#floor = floor;
  }

  /** Starts a new journal file and saves the state before it; runs between batches. */
  async #rotate(): Promise<void> {
    if (this.#saving !== undefined || this.#deps.clock.now() < this.#nextCheckpointAt) return;
    const { files, log, clock } = this.#deps;
    const { dir } = this.#config;
    const revision = this.#revision;
    const startedAt = clock.now();
    const failed = (err: unknown): void => {
      this.#nextCheckpointAt = clock.now() + UPKEEP_MS;
      log.error('checkpoint failed, the journal goes on growing', { error: errorMessage(err) });
    };
    try {
      const old = this.#journal;
      this.#journal = await Journal.open(files, dir, revision + 1, 0);
      await old.close();
    } catch (err) {
      failed(err);
      return;
    }
    const image = this.#image.export();
    this.#saving = saveCheckpoint(files, dir, revision, image)
      .then(() => {
        log.debug('checkpoint saved', {
          revision,
          bytes: image.length,
          ms: Math.round(clock.now() - startedAt),
        });
      }, failed)
      .finally(() => {
        this.#saving = undefined;
      });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#upkeep.cancel();
    await this.#committing;
    await this.#saving;
    if (this.#journal.bytes > 0) {
      this.#nextCheckpointAt = 0;
      await this.#rotate();
      await this.#saving;
    }
    await this.#journal.close();
    this.#image.close();
    await this.#lock.release();
  }

  /** Where the store's files are, for messages. */
  get path(): string {
    return join(this.#config.dir);
  }
}

/** The changes of one commit while they are decided: each write sees the ones before it. */
class Batch {
  readonly changes: Change[] = [];
  readonly records: string[] = [];
  bytes = 0;
  revision: number;
  readonly #committed: ObjectIndex;
  readonly #image: SqliteImage;
  readonly #at: number;
  /** Newer states than the committed ones; undefined marks a deleted object. */
  readonly #pending = new Map<string, StoredObject | undefined>();

  constructor(committed: ObjectIndex, image: SqliteImage, revision: number, at: number) {
    this.#committed = committed;
    this.#image = image;
    this.revision = revision;
    this.#at = at;
  }

  add({ resource, name, decide }: Pick<Pending, 'resource' | 'name' | 'decide'>): WriteResult {
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
      this.#image.apply({ revision, type, resource, name, at: this.#at, previousLabels: labelsJson, json });
    } catch (err) {
      this.#image.control('ROLLBACK TO one');
      throw err;
    } finally {
      this.#image.control('RELEASE one');
    }
    const head = JSON.stringify({ r: revision, t: type, k: resource, n: name, at: this.#at });
    this.records.push(`${head.slice(0, -1)},"l":${labelsJson ?? 'null'},"o":${json}}`);
    this.bytes += json.length;
    this.revision = revision;
    this.#pending.set(key, type === 'DELETED' ? undefined : stored);
    this.changes.push({ type, stored, previousLabels: labels });
    return { changed: type, stored };
  }
}
