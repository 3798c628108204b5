/** A line that shows how a copy goes, on a terminal. */
import type { Clock } from '../../../lib/clock.ts';
import type { CopyObserver } from '../../../ssh/files/copy-tree.ts';

/** Time between two looks of the line, milliseconds. */
const PERIOD_MS = 200;

/** A running line. */
export interface Progress extends CopyObserver {
  /** Takes the line away. */
  stop(): void;
}

/** Shows progress on an output; one that is no terminal gets the problems only. */
export function createProgress(
  output: NodeJS.WriteStream,
  clock: Clock,
  { isQuiet }: { isQuiet: boolean },
): Progress {
  const isShown = output.isTTY && !isQuiet;
  const startedAt = clock.now();
  let name = '';
  let files = 0;
  let total = 0;
  let done = 0;
  const clear = (): void => void (isShown && output.write('\r\u001b[K'));
  const show = (): void => {
    const line = progressLine({ name, files, total, done, elapsedMs: clock.now() - startedAt });
    output.write(`\r${line.slice(0, (output.columns || 80) - 1)}\u001b[K`);
  };
  const timer = isShown ? clock.every(PERIOD_MS, show) : undefined;
  return {
    begin(file, size) {
      name = file;
      files++;
      total += size;
    },
    progress(bytes) {
      done += bytes;
    },
    problem(text) {
      clear();
      output.write(`error: ${text}\n`);
    },
    stop() {
      timer?.cancel();
      clear();
    },
  };
}

/** What the line says. */
export function progressLine(state: {
  name: string;
  files: number;
  total: number;
  done: number;
  elapsedMs: number;
}): string {
  const { name, files, total, done, elapsedMs } = state;
  const rate = elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0;
  const percent = total === 0 ? '' : `${Math.min(100, Math.floor((done / total) * 100))}%  `;
  const left = total > done && rate > 0 ? `  ${Math.ceil((total - done) / rate)}s left` : '';
  const of = files > 1 ? `  (${files} files)` : '';
  return `${percent}${formatBytes(done)}  ${formatBytes(rate)}/s${left}  ${printable(name)}${of}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes in a unit that leaves at most four digits. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A node names its files; its names must not be able to steer the terminal. */
function printable(name: string): string {
  return name.replace(/\p{Cc}/gu, '?');
}
