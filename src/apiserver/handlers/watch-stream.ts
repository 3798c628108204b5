/**
 * One watch on its socket: every change once and in order, never more buffered than what the socket takes.
 *
 *     initial --all objects sent--> catching up --history read to its end--> live --socket full--> catching up
 *
 * There is no queue a watcher: who cannot keep up reads from the store's history when its socket drains, and ends
 * with 410 when it falls below the history's floor.
 */
import type { ServerResponse } from 'node:http';
import type { Selectors } from '../../api/selectors.ts';
import { matches } from '../../api/selectors.ts';
import type { KubeObject } from '../../api/meta.ts';
import { expired } from '../../api/status.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { CompactedError } from '../store/errors.ts';
import { StoredObject } from '../store/store.ts';
import type { Change, ObjectStore, Subscription } from '../store/store.ts';
import { Selected } from './watch-selected.ts';
import type { EventEncoder } from './watch-events.ts';

/** How a watch begins and what it sends. */
export interface WatchOptions {
  resource: string;
  selectors: Selectors;
  /** Changes after this revision; the stream starts with all objects when undefined. */
  since: number | undefined;
  /** Mark the end of the initial objects with a bookmark. */
  marksInitialEnd: boolean;
  hasBookmarks: boolean;
  timeoutMs: number;
}

/** Why a watch ended. */
export type WatchEnd = 'timeout' | 'client' | 'expired' | 'stalled' | 'shutdown' | 'failed';

const BOOKMARK_MS = 60_000;
/** Before the end, so that a client resumes from close to the newest revision. */
const LAST_BOOKMARK_MS = 2000;
/** A client that takes nothing for so long is gone or stuck. */
const STALL_MS = 60_000;
const HISTORY_PAGE = 200;

/** A running watch. */
export class WatchStream {
  readonly #options: WatchOptions;
  readonly #store: ObjectStore;
  readonly #out: ServerResponse;
  readonly #encoder: EventEncoder;
  readonly #clock: Clock;
  readonly #onEnd: (reason: WatchEnd) => void;
  readonly #subscription: Subscription;
  readonly #timers: Timer[];
  #stall: Timer | undefined;
  #initial: readonly StoredObject[];
  #initialAt = 0;
  readonly #selected: Selected | undefined;
  #hasInitialEnd: boolean;
  /** Everything up to here is with the socket or does not concern this watch. */
  #cursor: number;
  #isLive = false;
  #isFull = false;
  #isEnded = false;

  /** Takes over `out`, whose headers are sent already, until the watch ends. */
  constructor(
    out: ServerResponse,
    options: WatchOptions,
    parts: { store: ObjectStore; encoder: EventEncoder; clock: Clock; onEnd: (reason: WatchEnd) => void },
  ) {
    this.#out = out;
    this.#options = options;
    this.#store = parts.store;
    this.#encoder = parts.encoder;
    this.#clock = parts.clock;
    this.#onEnd = parts.onEnd;
    const { since, resource, selectors } = options;
    // snapshot, cursor and subscription in one turn of the event loop: nothing can come between
    this.#initial =
      since === undefined
        ? this.#store.list(resource).filter((stored) => matches(selectors, stored.object))
        : [];
    this.#selected = Selected.forWatch(selectors, this.#store.list(resource), since);
    this.#hasInitialEnd = options.marksInitialEnd;
    this.#cursor = since ?? this.#store.revision;
    this.#subscription = this.#store.subscribe(resource, (changes) => this.#onChanges(changes));
    this.#timers = [this.#clock.after(options.timeoutMs, () => this.end('timeout'))];
    if (options.hasBookmarks) {
      this.#timers.push(this.#clock.every(BOOKMARK_MS, () => this.#bookmark()));
      if (options.timeoutMs > LAST_BOOKMARK_MS) {
        this.#timers.push(this.#clock.after(options.timeoutMs - LAST_BOOKMARK_MS, () => this.#bookmark()));
      }
    }
    out.on('drain', () => this.#onDrain());
    out.on('close', () => this.end('client'));
    out.on('error', () => this.end('client'));
    this.#pump();
  }

  /** Ends the response cleanly; harmless when it has ended. */
  end(reason: WatchEnd): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#subscription.stop();
    for (const timer of this.#timers) timer.cancel();
    this.#stall?.cancel();
    if (reason === 'stalled') this.#out.destroy();
    else this.#out.end();
    this.#onEnd(reason);
  }

  #write(line: Uint8Array | string): void {
    if (this.#out.write(line)) return;
    this.#isFull = true;
    this.#stall ??= this.#clock.after(STALL_MS, () => this.end('stalled'));
  }

  #onDrain(): void {
    this.#isFull = false;
    this.#stall?.cancel();
    this.#stall = undefined;
    this.#pump();
  }

  /** Sends what is due until the socket is full or the watch is live. */
  #pump(): void {
    try {
      while (!this.#isFull && !this.#isEnded && !this.#isLive) this.#step();
    } catch (err) {
      if (err instanceof CompactedError) {
        this.#write(this.#encoder.error(expired(errorMessage(err)).status));
        this.end('expired');
      } else this.end('failed');
    }
  }

  #step(): void {
    const stored = this.#initial[this.#initialAt];
    if (stored !== undefined) {
      this.#initialAt++;
      this.#write(this.#encoder.event('ADDED', stored));
    } else if (this.#hasInitialEnd) {
      this.#hasInitialEnd = false;
      this.#initial = [];
      this.#write(this.#encoder.bookmark(this.#cursor, true));
    } else {
      this.#initial = [];
      const changes = this.#store.history(this.#options.resource, this.#cursor, HISTORY_PAGE);
      this.#sendAll(changes);
      if (changes.length < HISTORY_PAGE && !this.#isFull) {
        // a start in the future stays there: changes up to it are not wanted
        this.#cursor = Math.max(this.#cursor, this.#store.revision);
        this.#isLive = true;
      }
    }
  }

  #onChanges(changes: readonly Change[]): void {
    if (!this.#isLive || this.#isEnded) return;
    // what the socket does not take lies after the cursor and is read from the history when it drains
    if (!this.#sendAll(changes)) this.#isLive = false;
  }

  /** Sends changes in order until the socket is full; says whether all were sent. */
  #sendAll(changes: readonly Change[]): boolean {
    for (const change of changes) {
      if (this.#isFull) return false;
      this.#send(change);
    }
    return true;
  }

  /** Writes a change as this watch's selectors see it. */
  #send(change: Change): void {
    const { stored, type, previousLabels } = change;
    if (stored.revision <= this.#cursor) return;
    this.#cursor = stored.revision;
    const { selectors } = this.#options;
    if (selectors.labels.length === 0 && selectors.fields.length === 0) {
      this.#write(this.#encoder.event(type, stored));
      return;
    }
    const before: KubeObject = {
      ...stored.object,
      metadata: { ...stored.object.metadata, labels: previousLabels ?? {} },
    };
    const did = type !== 'ADDED' && (this.#selected?.had(stored) ?? matches(selectors, before));
    const does = type !== 'DELETED' && matches(selectors, stored.object);
    this.#selected?.note(stored, does, type === 'DELETED');
    if (did && does) this.#write(this.#encoder.event('MODIFIED', stored));
    else if (does) this.#write(this.#encoder.event('ADDED', stored));
    else if (did && type === 'DELETED') this.#write(this.#encoder.event('DELETED', stored));
    else if (did) {
      // it left the selection: the state that was in it, with this change's version
      const left = new StoredObject(
        stored.resource,
        stored.name,
        stored.revision,
        JSON.stringify(before),
        before,
      );
      this.#write(this.#encoder.event('DELETED', left));
    }
  }

  #bookmark(): void {
    if (!this.#isLive || this.#isFull || this.#isEnded) return;
    this.#cursor = Math.max(this.#cursor, this.#store.revision);
    this.#write(this.#encoder.bookmark(this.#cursor, false));
  }
}

/** All running watches, so that shutdown can end them. */
export class WatchRegistry {
  readonly #streams = new Set<WatchStream>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#streams.size;
  }

  get isFull(): boolean {
    return this.#streams.size >= this.#limit;
  }

  add(stream: WatchStream): void {
    this.#streams.add(stream);
  }

  remove(stream: WatchStream): void {
    this.#streams.delete(stream);
  }

  endAll(): void {
    for (const stream of this.#streams) stream.end('shutdown');
  }
}
