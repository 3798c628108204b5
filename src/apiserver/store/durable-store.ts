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
import { Batch } from './batch.ts';
import type { BatchedWrite } from './batch.ts';
import { Compactor } from './compactor.ts';
import type { HistoryLimits } from './compactor.ts';
import { closed, CompactedError, damaged, journalFull, overloaded } from './errors.ts';
import type { FileLayer } from './files.ts';
import { encodeFrame, Journal, replayJournals } from './journal.ts';
import { lockDirectory } from './lock.ts';
import type { DirectoryLock } from './lock.ts';
import { ObjectIndex } from './object-index.ts';
import { rebuild } from './rebuild.ts';
import { SqliteImage } from './sqlite.ts';
import type { ObjectRow } from './sqlite.ts';
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

/** How large the parts of a store are. */
export interface StoreSizes {
  objects: number;
  /** The current journal file. */
  journalBytes: number;
  /** All journal files that no checkpoint holds yet. */
  uncheckpointedBytes: number;
  checkpointBytes: number;
  historyEvents: number;
  historyBytes: number;
  queuedWrites: number;
}

/** A consistent copy of a store at one revision. */
export interface Snapshot {
  revision: number;
  objects: number;
  /** A SQLite file. */
  image: Uint8Array;
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
/** While checkpoints fail the journal grows to this many times its normal length, then writes are refused. */
const MAX_JOURNAL_FACTOR = 8;
/** How often age is looked at, and how long to wait after a checkpoint that failed. */
const UPKEEP_MS = 30_000;

interface Pending extends BatchedWrite {
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
  #image: SqliteImage;
  #objects = new ObjectIndex();
  #compactor: Compactor;
  readonly #broadcaster = new Broadcaster();
  readonly #upkeep: Timer;
  #journal: Journal;
  #revision: number;
  #floor: number;
  #queue: Pending[] = [];
  /** Work that needs a committed state and no write beside it. */
  #tasks: (() => Promise<void>)[] = [];
  /** Bytes of earlier journal files that no checkpoint holds yet. */
  #uncheckpointedBytes: number;
  #checkpointBytes: number;
  #committing: Promise<void> | undefined;
  #saving: Promise<void> | undefined;
  #nextCheckpointAt = 0;
  #closing: Promise<void> | undefined;

  private constructor(
    config: StoreConfig,
    deps: StoreDeps,
    lock: DirectoryLock,
    found: { image: SqliteImage; journal: Journal; checkpointBytes: number; uncheckpointedBytes: number },
  ) {
    this.#config = config;
    this.#deps = deps;
    this.#lock = lock;
    const { image } = found;
    this.#image = image;
    this.#journal = found.journal;
    this.#checkpointBytes = found.checkpointBytes;
    this.#uncheckpointedBytes = found.uncheckpointedBytes;
    this.#revision = image.meta('revision');
    this.#floor = image.meta('floor');
    this.#compactor = new Compactor(image, config.history);
    for (const row of image.objects()) {
      this.#objects.put(new StoredObject(row.resource, row.name, row.revision, row.json));
    }
    this.#upkeep = deps.clock.every(UPKEEP_MS, () => {
      this.#wake();
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
    const journal = await Journal.open(
      files,
      config.dir,
      replay.last?.firstRevision ?? revision + 1,
      replay.last,
    );
    const store = new DurableStore(config, deps, lock, {
      image,
      journal,
      checkpointBytes: checkpoint?.image.length ?? 0,
      uncheckpointedBytes: replay.earlierBytes,
    });
    log.info('store recovered', {
      dir: config.dir,
      revision,
      objects: store.#objects.size,
      replayed: replay.records.length,
      ms: Math.round(clock.now() - startedAt),
    });
    store.#wake(); // a journal that is over its length is folded now, not at the first write
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

  /** Lengths and counts, for metrics. */
  get sizes(): StoreSizes {
    const { events, bytes } = this.#compactor.size;
    return {
      objects: this.#objects.size,
      journalBytes: this.#journal.bytes,
      uncheckpointedBytes: this.#uncheckpointedBytes + this.#journal.bytes,
      checkpointBytes: this.#checkpointBytes,
      historyEvents: events,
      historyBytes: bytes,
      queuedWrites: this.#queue.length,
    };
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
        if (this.#queue.length > 0 || this.#tasks.length > 0) this.#wake();
      });
  }

  async #drain(): Promise<void> {
    // writes of one turn of the event loop share a batch
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    do {
      await this.#tasks.shift()?.();
      if (this.#queue.length > 0) await this.#commitBatch();
      this.#compact();
      // counts what earlier checkpoints failed to fold, so that they are tried again
      if (this.#uncheckpointedBytes + this.#journal.bytes >= this.#config.journalBytes) await this.#rotate();
    } while (this.#queue.length > 0 || this.#tasks.length > 0);
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
        this.#checkRoom();
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
    this.#compactor.add(batch.changes.length, batch.bytes, batch.at);
    for (const change of batch.changes) {
      if (change.type === 'DELETED') this.#objects.remove(change.stored.resource, change.stored.name);
      else this.#objects.put(change.stored);
    }
    for (const { pending, result } of answers) pending.resolve(result);
    this.#broadcaster.publish(batch.changes);
  }

  /** Refuses a batch when checkpoints have failed for so long that the journal is at its bound. */
  #checkRoom(): void {
    const bytes = this.#uncheckpointedBytes + this.#journal.bytes;
    if (bytes > this.#config.journalBytes * MAX_JOURNAL_FACTOR) throw journalFull(this.#journal.path, bytes);
  }

  #compact(): void {
    const floor = this.#compactor.step(this.#deps.clock.wallNow().getTime());
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
      if (old.bytes > 0) {
        this.#journal = await Journal.open(files, dir, revision + 1);
        this.#uncheckpointedBytes += old.bytes;
        await old.close();
      }
    } catch (err) {
      failed(err);
      return;
    }
    const covered = this.#uncheckpointedBytes;
    const image = this.#image.export();
    this.#saving = saveCheckpoint(files, dir, revision, image)
      .then(() => {
        this.#uncheckpointedBytes -= covered;
        this.#checkpointBytes = image.length;
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

  /** Runs `work` between two batches: the image is committed and stays as it is meanwhile. */
  #between<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      this.#tasks.push(() => work().then(resolve, reject));
      this.#wake();
    });
  }

  /** A copy of everything at the newest revision, history included. */
  snapshot(): Promise<Snapshot> {
    return this.#between(async () => {
      await this.#saving; // two copies of the image beside it would be one too many
      return { revision: this.#revision, objects: this.#objects.size, image: this.#image.export() };
    });
  }

  /**
   * Replaces all objects; resolves with the new revision once that is on the disk. Every object gets a revision of
   * its own above all earlier ones, and the history is empty, so that no client takes an old version for a new one.
   * When it rejects, nothing was changed.
   */
  restore(rows: readonly ObjectRow[], atLeast: number): Promise<number> {
    return this.#between(async () => {
      await this.#saving;
      const { files, log } = this.#deps;
      const { dir, history } = this.#config;
      const next = await rebuild(rows, Math.max(this.#revision, atLeast));
      const image = next.image.export();
      await saveCheckpoint(files, dir, next.revision, image);
      // from here on a crash recovers the new state
      try {
        const journal = await Journal.open(files, dir, next.revision + 1);
        await this.#journal.close();
        this.#journal = journal;
      } catch (err) {
        log.warn('the old journal goes on after the restore', { error: errorMessage(err) });
      }
      this.#image.close();
      this.#image = next.image;
      this.#objects = next.objects;
      this.#revision = next.revision;
      this.#floor = next.revision;
      this.#compactor = new Compactor(next.image, history);
      this.#checkpointBytes = image.length;
      this.#uncheckpointedBytes = 0;
      log.info('store restored', { revision: next.revision, objects: rows.length });
      return next.revision;
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
