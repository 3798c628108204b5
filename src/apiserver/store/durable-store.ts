/**
 * The store: group commit to a journal, the state in memory, checkpoints as SQLite files. A resolved write is on
 * the disk; a failed one changed nothing; reads see committed state only.
 *
 * Life of a write: queue -> decide on the newest state -> journal append and fsync -> objects, history and
 * subscribers -> caller. Writes that arrive during the fsync form the next batch, and while the disk takes that one the
 * callers of the one before get their answers: neither the disk nor the thread waits for the other.
 */
import type { Clock, Timer } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { Batch } from './batch.ts';
import type { BatchedWrite } from './batch.ts';
import { Broadcaster } from './broadcaster.ts';
import { dropKeptJournals, saveCheckpoint } from './checkpoint.ts';
import { closed, CompactedError, isOutOfSpace, journalFull, overloaded, StrayFileError } from './errors.ts';
import type { FileLayer } from './files.ts';
import { History } from './history.ts';
import type { HistoryLimits } from './history.ts';
import { Journal } from './journal.ts';
import { lockDirectory } from './lock.ts';
import type { DirectoryLock } from './lock.ts';
import type { ObjectIndex } from './object-index.ts';
import { recoverStore } from './recover.ts';
import type { Recovered } from './recover.ts';
import { writeRestored } from './restore.ts';
import type { ObjectRow } from './sqlite.ts';
import { encodeState, withImage } from './state.ts';
import type { Snapshot } from './state.ts';
import type { Change, Decide, ObjectStore, StoredObject, Subscription, WriteResult } from './store.ts';

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

/** What a write led to, for its caller. */
interface Answer {
  pending: Pending;
  result: WriteResult;
}

/** Opens the store of a directory: locks it, recovers, and is ready. */
export async function openStore(config: StoreConfig, deps: StoreDeps): Promise<DurableStore> {
  const { files, clock, log } = deps;
  const { dir } = config;
  await files.makeDirectory(dir);
  const lock = await lockDirectory(dir);
  try {
    const startedAt = clock.now();
    const found = await recoverStore(files, dir, config.history, log);
    const { revision, objects, replayed } = found;
    const ms = Math.round(clock.now() - startedAt);
    log.info('store recovered', { dir, revision, objects: objects.size, replayed, ms });
    return new DurableStore(config, deps, lock, found);
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
  readonly #broadcaster = new Broadcaster();
  readonly #upkeep: Timer;
  #objects: ObjectIndex;
  #history: History;
  #journal: Journal;
  #revision: number;
  #queue: Pending[] = [];
  /** Callers whose writes are on the disk and who were not told yet. */
  #unanswered: Answer[] = [];
  /** Work that needs a committed state and no write beside it. */
  #tasks: (() => Promise<void>)[] = [];
  /** Bytes of earlier journal files that no checkpoint holds yet. */
  #uncheckpointedBytes: number;
  #checkpointBytes: number;
  #committing: Promise<void> | undefined;
  #saving: Promise<void> | undefined;
  #nextCheckpointAt = 0;
  /** Why no write is taken any more. */
  #stray: StrayFileError | undefined;
  #closing: Promise<void> | undefined;

  /** For openStore, which has locked the directory. */
  constructor(config: StoreConfig, deps: StoreDeps, lock: DirectoryLock, found: Recovered) {
    this.#config = config;
    this.#deps = deps;
    this.#lock = lock;
    this.#objects = found.objects;
    this.#history = found.history;
    this.#journal = found.journal;
    this.#revision = found.revision;
    this.#checkpointBytes = found.checkpointBytes;
    this.#uncheckpointedBytes = found.uncheckpointedBytes;
    this.#upkeep = deps.clock.every(UPKEEP_MS, () => {
      this.#wake();
    });
    this.#wake(); // a journal that is over its length is folded now, not at the first write
  }

  get revision(): number {
    return this.#revision;
  }

  get floor(): number {
    return this.#history.floor;
  }

  /** Lengths and counts, for metrics. */
  get sizes(): StoreSizes {
    const { events, bytes } = this.#history.size;
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
    if (after < this.floor) throw new CompactedError(after, this.floor);
    return this.#history.after(resource, after, limit);
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
        // out of memory, for instance: nobody's write is left waiting, and nothing of it was kept
        this.#deps.log.error('commit failed', { error: errorMessage(err) });
        for (const pending of this.#queue.splice(0)) pending.reject(err);
      })
      .finally(() => {
        this.#answer();
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
      this.#history.compact(this.#deps.clock.wallNow().getTime());
      // counts what earlier checkpoints failed to fold, so that they are tried again
      const isLong = this.#uncheckpointedBytes + this.#journal.bytes >= this.#config.journalBytes;
      if (isLong || this.#tasks.length > 0 || this.#queue.length === 0) this.#answer();
      if (isLong) await this.#rotate();
    } while (this.#queue.length > 0 || this.#tasks.length > 0);
  }

  /** Takes queued writes through to the disk; their answers come with the next batch, or when there is none. */
  async #commitBatch(): Promise<void> {
    const { files, log } = this.#deps;
    const { dir } = this.#config;
    const batch = new Batch(this.#objects, this.#revision, this.#deps.clock.wallNow().getTime());
    const answers: Answer[] = [];
    let taken = 0;
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
        if (this.#stray !== undefined) throw this.#stray;
        if (this.#isFull()) await this.#makeRoom();
        const startedAt = this.#deps.clock.now();
        const isAlone = taken === 1 && this.#queue.length === 0 && this.#unanswered.length === 0;
        const appended = this.#journal.append(batch.records, isAlone);
        this.#answer();
        await appended;
        this.#deps.onSync?.((this.#deps.clock.now() - startedAt) / 1000);
      }
    } catch (err) {
      log.error('write failed', { error: errorMessage(err), writes: answers.length });
      for (const { pending } of answers) pending.reject(err);
      if (isOutOfSpace(err)) await dropKeptJournals(files, dir, log); // the next writes may find room then
      return;
    }
    this.#revision = batch.revision;
    for (const change of batch.changes) {
      const { resource, name } = change.stored;
      this.#objects.get(resource, name)?.forget(); // dies young then, and costs the collector next to nothing
      if (change.type === 'DELETED') this.#objects.remove(resource, name);
      else this.#objects.put(change.stored);
      this.#history.add(change, batch.at);
    }
    this.#broadcaster.publish(batch.changes);
    this.#answer(); // those of earlier batches, when this one had nothing for the disk
    this.#unanswered = answers;
  }

  #answer(): void {
    for (const { pending, result } of this.#unanswered.splice(0)) pending.resolve(result);
  }

  /** At the journal's bound a batch waits for the checkpoint that is being made; it is refused when those fail. */
  async #makeRoom(): Promise<void> {
    this.#answer();
    await this.#saving;
    if (this.#isFull()) throw journalFull(this.#journal.path, this.sizes.uncheckpointedBytes);
  }

  #isFull(): boolean {
    const bytes = this.#uncheckpointedBytes + this.#journal.bytes;
    return bytes > this.#config.journalBytes * MAX_JOURNAL_FACTOR;
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
      this.#noteStray(err);
      failed(err);
      return;
    }
    const covered = this.#uncheckpointedBytes;
    this.#saving = withImage({ revision, objects: this.#objects.all() }, async (image) => {
      await saveCheckpoint({ files, dir, log }, revision, image, () => this.#history.floor);
      this.#uncheckpointedBytes -= covered;
      this.#checkpointBytes = image.length;
      const ms = Math.round(clock.now() - startedAt);
      log.debug('checkpoint saved', { revision, bytes: image.length, ms });
    })
      .catch(failed)
      .finally(() => {
        this.#saving = undefined;
      });
  }

  #noteStray(err: unknown): void {
    if (err instanceof StrayFileError) this.#stray = err;
  }

  /** Runs `work` between two batches: the state is committed and stays as it is meanwhile. */
  #between<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      this.#tasks.push(() => work().then(resolve, reject));
      this.#wake();
    });
  }

  /** A copy of all objects at the newest revision. */
  async snapshot(): Promise<Snapshot> {
    await this.#saving; // two images in memory would be one too many
    if (this.#closing !== undefined) throw closed();
    const [revision, objects] = [this.#revision, this.#objects.all()];
    return { revision, objects: objects.length, image: await encodeState({ revision, objects }) };
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
      const above = Math.max(this.#revision, atLeast);
      const restored = await writeRestored({ files, dir, log }, rows, above).catch((err: unknown) => {
        this.#noteStray(err);
        throw err;
      });
      const { revision } = restored;
      try {
        const journal = await Journal.open(files, dir, revision + 1);
        await this.#journal.close();
        this.#journal = journal;
      } catch (err) {
        this.#noteStray(err);
        log.warn('the old journal goes on after the restore', { error: errorMessage(err) });
      }
      this.#objects = restored.objects;
      this.#history = new History(history, revision);
      this.#revision = revision;
      this.#checkpointBytes = restored.checkpointBytes;
      this.#uncheckpointedBytes = 0;
      log.info('store restored', { revision, objects: rows.length });
      return revision;
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
    await this.#lock.release();
  }
}
