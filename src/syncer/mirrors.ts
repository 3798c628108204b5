/**
 * Keeps the mirrors of one kind in one API server as their origins say. Level-triggered and by name: each change leads
 * to a look at both sides, and what one origin does costs the others neither time nor writes.
 */
import type { ApiClient } from '../apiclient/client.ts';
import { ApiError, isConflict, isNotFound } from '../apiclient/errors.ts';
import type { Informer } from '../apiclient/informer.ts';
import { createWorkQueue } from '../apiclient/workqueue.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Conflicts } from './conflicts.ts';
import { isWellFormed, originOf } from './kinds.ts';
import type { Mirrored, MirrorKind } from './kinds.ts';
import { CONFIRM_IDLE_MS, planMirror } from './mirror.ts';
import type { Claim, MirrorPlan } from './mirror.ts';
import type { SyncerMetrics } from './metrics.ts';
import { Trouble } from './trouble.ts';
import { createWriteBudget } from './write-budget.ts';

/** Who says what a mirror should be. */
export interface Claims<T extends Mirrored> {
  /** The claim that counts; `leave` to touch nothing; undefined when no origin is followed that could have it. */
  of(name: string, mirror: T | undefined): Claim<T> | 'leave' | undefined;
  /** The names that may need a mirror. */
  names(): Iterable<string>;
}

/** What to keep, and where. */
export interface MirrorsConfig<T extends Mirrored> {
  kind: MirrorKind<T>;
  /** The API server that holds the mirrors, and a followed copy of it. The owner starts, stops and closes both. */
  target: ApiClient;
  copy: Informer<T>;
  claims: Claims<T>;
  /** How often a mirror at rest is confirmed, milliseconds; CONFIRM_IDLE_MS when absent. */
  confirmMs?: number;
}

/** What it needs from around it. */
export interface MirrorsDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  metrics: SyncerMetrics;
  conflicts: Conflicts;
}

/** The mirrors of one kind. */
export interface Mirrors {
  /** Looks at one name again, soon. */
  check(name: string): void;
  /** Looks at every name again. */
  checkAll(): void;
  stop(): Promise<void>;
}

/** Shorter than the informers' own waits, so that a target that comes back is used at once. */
const MAX_RETRY_MS = 1000;
/** Writes of one kind under way at once. */
const MAX_WRITES_AT_ONCE = 32;
/** Between two writes of one mirror: an origin that changes all the time is followed in steps. */
const MIN_WRITE_GAP_MS = 50;
/** How long the copy may lag behind a write before its state is believed again. */
const MAX_LAG_MS = 2000;
/** An object that the target refuses is offered again after this time, unless its origin changes it before. */
const REFUSED_RETRY_MS = 30_000;
const FIELD_MANAGER = 'edge-syncer';
const WRITING = { begins: 'cannot write mirrors, trying again', isOver: 'mirrors are written again' };
/** Answers that say that the object, not the moment, is wrong. */
const REFUSALS = new Set([400, 403, 413, 422]);

/** What was written last. While neither side has moved since, there is nothing to do. */
interface Settled {
  sourceVersion: string | undefined;
  isReachable: boolean;
  localVersion: string | undefined;
  at: number;
  /** Whether the copy has shown the write. */
  isSeen: boolean;
}

interface Refused {
  sourceVersion: string | undefined;
  until: number;
}

/** Creates the mirrors; they follow from the first check() on. */
export function createMirrors<T extends Mirrored>(config: MirrorsConfig<T>, deps: MirrorsDeps): Mirrors {
  const { kind, target, copy, claims } = config;
  const { clock, log, metrics, conflicts } = deps;
  const word = kind.resource.kind;
  const confirmMs = config.confirmMs ?? CONFIRM_IDLE_MS;
  const settled = new Map<string, Settled>();
  const refused = new Map<string, Refused>();
  const budget = createWriteBudget(clock);
  const trouble = new Trouble(log, WRITING, { kind: word });
  const queue = createWorkQueue(
    { handle: reconcileOrTell, maxRetryMs: MAX_RETRY_MS, maxRunning: MAX_WRITES_AT_ONCE },
    deps,
  );

  copy.onChange((name) => {
    if (name === '') {
      checkAll();
      return;
    }
    const last = settled.get(name);
    if (last !== undefined && copy.get(name)?.metadata.resourceVersion === last.localVersion)
      last.isSeen = true;
    queue.add(name);
  });

  function checkAll(): void {
    for (const name of claims.names()) queue.add(name);
    for (const object of copy.list()) {
      const { name } = object.metadata;
      if (name !== undefined && originOf(object) !== undefined) queue.add(name);
    }
  }

  async function reconcileOrTell(name: string, signal: AbortSignal): Promise<void> {
    try {
      await reconcile(name, signal);
    } catch (err) {
      trouble.failed(err);
      throw err; // tried again
    }
  }

  function wrote(origin: string): void {
    metrics.written(origin);
    trouble.succeeded();
  }

  async function reconcile(name: string, signal: AbortSignal): Promise<void> {
    // its reconnection brings every name back here
    if (!copy.hasSynced || !copy.isConnected) return;
    const mirror = copy.get(name);
    const claim = claims.of(name, mirror);
    if (claim === 'leave' || claim === undefined) {
      forget(name);
      const origin = mirror === undefined ? undefined : originOf(mirror);
      if (claim === undefined && mirror !== undefined && origin !== undefined)
        await remove(name, origin, mirror, 'its node is no peer any more', signal);
      return;
    }
    const waitMs = waitBeforeWrite(name);
    if (waitMs > 0) {
      queue.addAfter(name, waitMs);
      return;
    }
    await settle(name, claim, mirror, signal);
  }

  async function settle(
    name: string,
    given: Claim<T>,
    mirror: T | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const claim = isUsable(name, given) ? given : asRefused(given);
    const plan = planMirror({ ...claim, kind, name, local: mirror, now: clock.wallNow(), confirmMs });
    if (plan.action === 'conflict') {
      if (!kind.isUnique) return;
      const what = `the API server has a ${word} ${name} that is no mirror, so that of ${claim.origin} is not mirrored`;
      conflicts.report(`${word}/${name}`, what);
      return;
    }
    conflicts.clear(`${word}/${name}`);
    if (plan.action === 'none' && mirror === undefined) return;
    const againMs = Math.min(confirmMs, claim.recheckMs ?? Infinity);
    if (againMs < Infinity) queue.addAfter(name, againMs);
    if (plan.action === 'none') return;
    if (plan.action === 'delete') {
      if (mirror !== undefined) await remove(name, claim.origin, mirror, 'its origin has none', signal);
      return;
    }
    const sourceVersion = versionOf(claim.source);
    if (isSettled(name, sourceVersion, claim.isReachable, mirror)) return;
    const overdrawnMs = budget.take(claim.origin);
    if (overdrawnMs > 0) {
      queue.addAfter(name, overdrawnMs);
      return;
    }
    try {
      const written = await write(plan, mirror, signal);
      settled.set(name, {
        sourceVersion,
        isReachable: claim.isReachable,
        localVersion: written.metadata.resourceVersion,
        at: clock.now(),
        isSeen: copy.get(name)?.metadata.resourceVersion === written.metadata.resourceVersion,
      });
      wrote(claim.origin);
      log.debug('wrote mirror', { origin: claim.origin, object: `${word}/${name}` });
    } catch (err) {
      // what stands here was accepted before, so only something new from the origin can be at fault
      if (!(err instanceof ApiError) || !REFUSALS.has(err.statusCode) || claim.source === 'unknown')
        throw err;
      refuse(name, claim, errorMessage(err));
      queue.add(name);
    }
  }

  /** Whether the origin's object may be offered to the target. */
  function isUsable(name: string, { origin, source }: Claim<T>): boolean {
    if (source === undefined || source === 'unknown') return true;
    if (!isWellFormed(source)) {
      if (refused.get(name)?.sourceVersion !== versionOf(source))
        refuse(name, { origin, source }, 'malformed');
      return false;
    }
    const last = refused.get(name);
    if (last === undefined) return true;
    const isOver = clock.now() >= last.until || last.sourceVersion !== versionOf(source);
    if (isOver) refused.delete(name);
    return isOver;
  }

  function refuse(name: string, { origin, source }: Pick<Claim<T>, 'origin' | 'source'>, why: string): void {
    refused.set(name, { sourceVersion: versionOf(source), until: clock.now() + REFUSED_RETRY_MS });
    metrics.refused(origin);
    log.warn('an object is not mirrored: the API server refuses it', {
      origin,
      object: `${word}/${name}`,
      error: why,
    });
  }

  function asRefused(claim: Claim<T>): Claim<T> {
    const problem = 'what the origin sent is not accepted here; the log of the syncer says why';
    return {
      ...claim,
      source: 'unknown',
      isReachable: false,
      reason: 'Refused',
      problem,
      recheckMs: REFUSED_RETRY_MS,
    };
  }

  /** A version of edge that stores the same object differently must not make this write for ever. */
  function isSettled(
    name: string,
    sourceVersion: string | undefined,
    isReachable: boolean,
    mirror: T | undefined,
  ): boolean {
    const last = settled.get(name);
    return (
      last !== undefined &&
      mirror !== undefined &&
      last.sourceVersion === sourceVersion &&
      last.isReachable === isReachable &&
      last.localVersion === mirror.metadata.resourceVersion &&
      clock.now() - last.at < CONFIRM_IDLE_MS / 2
    );
  }

  function waitBeforeWrite(name: string): number {
    const last = settled.get(name);
    if (last === undefined) return 0;
    const sinceMs = clock.now() - last.at;
    if (!last.isSeen && sinceMs < MAX_LAG_MS) return MAX_LAG_MS - sinceMs;
    return MIN_WRITE_GAP_MS - sinceMs;
  }

  /** Main half first, then status; each only where it differs. A conflict rejects and is tried again from fresh state. */
  async function write(
    plan: MirrorPlan<T> & { action: 'write' },
    mirror: T | undefined,
    signal: AbortSignal,
  ): Promise<T> {
    const { desired } = plan;
    const { resource } = kind;
    const options = { fieldManager: FIELD_MANAGER, fieldValidation: 'Ignore', signal } as const;
    let current: T;
    if (mirror === undefined) current = await target.create(resource, desired, options);
    else if (plan.isMainChanged) current = await target.update(resource, onto(mirror, desired), options);
    else current = mirror;
    if (mirror !== undefined && !plan.isStatusChanged) return current;
    return target.updateStatus(resource, onto(current, desired), options);
  }

  async function remove(
    name: string,
    origin: string,
    mirror: T,
    why: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { uid } = mirror.metadata;
    try {
      await target.delete(kind.resource, name, {
        ...(uid === undefined ? {} : { preconditions: { uid } }),
        signal,
      });
    } catch (err) {
      if (!isNotFound(err) && !isConflict(err)) throw err;
    }
    forget(name);
    wrote(origin);
    log.info('removed mirror', { origin, object: `${word}/${name}`, because: why });
  }

  function forget(name: string): void {
    settled.delete(name);
    refused.delete(name);
    conflicts.clear(`${word}/${name}`);
  }

  return { check: (name) => queue.add(name), checkAll, stop: () => queue.stop() };
}

function versionOf<T extends Mirrored>(source: T | undefined | 'unknown'): string | undefined {
  return source === 'unknown' ? undefined : source?.metadata.resourceVersion;
}

/** The desired content in an object that the API server accepts as an update of the one that is there. */
function onto<T extends Mirrored>(current: T, desired: T): T {
  const { uid, resourceVersion } = current.metadata;
  return {
    ...desired,
    metadata: {
      ...desired.metadata,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
  };
}
