/** The program of a worker thread: folds the journals that `workerData` names, tells how that went, and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { errorMessage } from '../../lib/errors.ts';
import { systemFiles } from './files.ts';
import { foldJournals } from './fold.ts';
import type { FoldJob } from './fold.ts';
import type { FoldOutcome } from './fold-in-worker.ts';

const { job } = workerData as { job: FoldJob };
foldJournals(systemFiles, job).then(
  (bytes) => parentPort?.postMessage({ bytes } satisfies FoldOutcome),
  (err: unknown) => parentPort?.postMessage({ problem: errorMessage(err) } satisfies FoldOutcome),
);
