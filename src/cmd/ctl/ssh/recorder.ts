/** Records a terminal session in a file, in asciicast v2, for `asciinema play` and the dashboard. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { CastWriter } from '../../../lib/asciicast.ts';
import type { Clock } from '../../../lib/clock.ts';
import { errorMessage, UsageError } from '../../../lib/errors.ts';
import type { TerminalObserver } from './terminal.ts';

/** A recording that is being made. */
export interface Recorder extends TerminalObserver {
  readonly path: string;
  /** Ends the file. Idempotent. */
  close(): void;
}

/** The longest recording, bytes. */
const MAX_BYTES = 256 * 1024 * 1024;

/** Starts a recording in a new file, for its owner only. Throws UsageError when the file exists or cannot be made. */
export function createRecorder(
  path: string,
  size: { cols: number; rows: number },
  title: string,
  { clock, warn }: { clock: Clock; warn: (line: string) => void },
): Recorder {
  let file: number | undefined;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (err) {
    throw new UsageError(`--record: ${errorMessage(err)}`, { cause: err });
  }
  const close = (): void => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  const write = (text: string): void => {
    if (file === undefined) return;
    try {
      writeSync(file, text); // at once: a recording that ends with the program's crash is still whole
    } catch (err) {
      warn(`Warning: the recording ends here: ${errorMessage(err)}`);
      close();
    }
  };
  const cast = new CastWriter(
    {
      width: size.cols,
      height: size.rows,
      timestamp: Math.floor(clock.wallNow().getTime() / 1000),
      title,
      env: { TERM: process.env['TERM'] ?? '' },
    },
    { clock, write, maxBytes: MAX_BYTES },
  );
  return {
    path,
    output: (chunk) => cast.output(chunk),
    resize: (cols, rows) => cast.resize(cols, rows),
    close() {
      cast.end();
      close();
    },
  };
}
