/** Folds journals in a thread of its own, so that requests do not wait for it, nor for the collection of its garbage. */
import { Worker } from 'node:worker_threads';
import type { FoldJob } from './fold.ts';
import program from './fold-worker.bundle.js';
import { sqliteProgram } from './sqlite-program.ts';

/** What the worker tells. */
export type FoldOutcome = { bytes: number } | { problem: string };

/** Its young objects; the default, sized for a server, would stay for as long as it runs. */
const YOUNG_MIB = 8;

/**
 * As foldJournals, on the machine's files. The program came with this one's: an executable that is replaced meanwhile
 * makes no difference. Rejects also when the thread ends without a word, out of memory for instance.
 */
export async function foldInWorker(job: FoldJob): Promise<number> {
  const wasm = await sqliteProgram();
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, {
      eval: true,
      workerData: { job, wasm },
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    worker.once('message', (outcome: FoldOutcome) => {
      if ('bytes' in outcome) resolve(outcome.bytes);
      else reject(new Error(outcome.problem));
    });
    worker.once('error', reject);
    worker.once('exit', (status) => reject(new Error(`the thread ended with status ${status}`)));
  });
}
