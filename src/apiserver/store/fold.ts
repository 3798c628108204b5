/**
 * Makes a checkpoint from the files alone: the checkpoint before it and the closed journals since. Whoever goes on
 * writing to a newer journal meanwhile is not in the way, so this may run in a thread of its own.
 */
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { saveCheckpoint } from './checkpoint.ts';
import { damaged } from './errors.ts';
import type { FileLayer } from './files.ts';
import type { HistoryLimits } from './history.ts';
import { readState } from './recover.ts';
import { captureState, encodeState } from './state.ts';
import type { StoreState } from './state.ts';

/** What to fold. */
export interface FoldJob {
  dir: string;
  /** The state to save. Journals up to here are closed; those that begin after it are not looked at. */
  revision: number;
  history: HistoryLimits;
  /** Wall-clock milliseconds: history that is too old then is left out. */
  now: number;
}

/** Folds; resolves with the length of the checkpoint, bytes. */
export type Fold = (job: FoldJob) => Promise<number>;

/**
 * Saves the state at a revision, and removes the files that are not needed then. Resolves with the length of the
 * checkpoint, bytes. Rejects with EDGE_ERR_STORE_DAMAGED or EDGE_ERR_STORE_WRITE, and then has changed nothing.
 */
export async function foldJournals(files: FileLayer, job: FoldJob): Promise<number> {
  const { dir, revision, history: limits, now } = job;
  const { objects, history, revision: found } = await readState(files, dir, limits, revision);
  if (found !== revision) {
    throw damaged(
      dir,
      `the journals end at revision ${found} instead of ${revision}`,
      'edge apiserver --check-db tells more',
    );
  }
  // it goes in steps that keep up with commits; here all of them come at once
  for (let before = Infinity; history.size.events < before;) {
    before = history.size.events;
    history.compact(now);
  }
  const image = await encodeState(captureState(revision, objects, history));
  await saveCheckpoint(files, dir, revision, image);
  return image.length;
}

/** What makes a checkpoint. */
export interface CheckpointDeps {
  files: FileLayer;
  log: Logger;
  fold: Fold | undefined;
  /** The committed state of now, which may be newer than the job's. */
  capture: () => StoreState;
}

/**
 * Makes a checkpoint by folding; from memory where there is no fold, or the files cannot be read back. Resolves with its
 * length, bytes. Rejects with EDGE_ERR_STORE_WRITE.
 */
export async function makeCheckpoint(job: FoldJob, deps: CheckpointDeps): Promise<number> {
  const { files, log, fold, capture } = deps;
  if (fold !== undefined) {
    try {
      return await fold(job);
    } catch (err) {
      log.warn('the journals cannot be folded, the checkpoint is made from memory', {
        error: errorMessage(err),
      });
    }
  }
  const state = capture();
  const image = await encodeState(state);
  await saveCheckpoint(files, job.dir, state.revision, image);
  return image.length;
}
