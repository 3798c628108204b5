/** The program of the worker thread, fold-worker.ts, as one text; the bundler makes it (scripts/worker-bundle.mjs). */
declare const program: string;
export = program;
