/** A screen that is drawn anew until somebody ends it; the terminal is afterwards as it was before. */
import type { Clock } from '../../../lib/clock.ts';
import { paint } from '../marks.ts';
import type { Line } from './table.ts';

/** This side's terminal; process.stdin and process.stdout fit. */
export interface Terminal {
  input: Pick<NodeJS.ReadStream, 'isTTY' | 'setRawMode' | 'on' | 'off' | 'resume' | 'pause'>;
  output: Pick<NodeJS.WriteStream, 'columns' | 'rows' | 'write' | 'on' | 'off' | 'writableNeedDrain'>;
}

/** How a screen is kept. */
export interface ScreenOptions {
  clock: Clock;
  /** Between two frames, milliseconds. */
  intervalMs: number;
  hasColor: boolean;
  /** Ends it from outside. */
  signal: AbortSignal;
}

/** The size of a frame, in characters. */
export interface Size {
  columns: number;
  rows: number;
}

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
/** The alternate screen, without a cursor; and back. */
const ENTER = '\u001B[?1049h\u001B[?25l';
const LEAVE = '\u001B[?25h\u001B[?1049l';
const HOME = '\u001B[H';
const CLEAR_LINE = '\u001B[K';
const CLEAR_BELOW = '\u001B[J';

/** Draws frames until `q` (`quit`), or until Ctrl-C, a signal or the end of the input (`interrupt`). */
export function runScreen(
  { input, output }: Terminal,
  { clock, intervalMs, hasColor, signal }: ScreenOptions,
  frame: (size: Size) => readonly Line[],
): Promise<'quit' | 'interrupt'> {
  return new Promise((resolve, reject) => {
    const draw = (): void => {
      if (output.writableNeedDrain) return; // a slow line gets fewer frames, not older ones
      const size = { columns: output.columns || 80, rows: output.rows || 24 };
      try {
        output.write(frameText(frame(size), size, hasColor));
      } catch (err) {
        end(() => reject(err));
      }
    };
    const onKeys = (keys: Buffer | string): void => {
      const text = keys.toString();
      if (text.includes(CTRL_C) || text.includes(CTRL_D)) end(() => resolve('interrupt'));
      else if (/q/iu.test(text)) end(() => resolve('quit'));
    };
    const onEnd = (): void => end(() => resolve('interrupt'));
    const timer = clock.every(intervalMs, draw);
    const end = (settle: () => void): void => {
      timer.cancel();
      signal.removeEventListener('abort', onEnd);
      output.off('resize', draw);
      input.off('data', onKeys).off('end', onEnd);
      if (input.isTTY) input.setRawMode(false);
      input.pause();
      output.write(LEAVE, settle);
    };
    output.write(ENTER);
    if (input.isTTY) {
      input.setRawMode(true);
      input.on('data', onKeys).on('end', onEnd).resume();
    }
    output.on('resize', draw);
    signal.addEventListener('abort', onEnd, { once: true });
    if (signal.aborted) onEnd();
    else draw();
  });
}

/** One frame: cut to the size, and what stood there before removed. */
export function frameText(lines: readonly Line[], { columns, rows }: Size, hasColor: boolean): string {
  const hidden = lines.length - rows;
  const shown = hidden > 0 ? [...lines.slice(0, rows - 1), { text: `… ${hidden + 1} more` }] : lines;
  const texts = shown.map((line: Line) => {
    const cut = Array.from(line.text).slice(0, columns).join('');
    return (line.mark === undefined ? cut : paint(cut, line.mark, hasColor)) + CLEAR_LINE;
  });
  return HOME + texts.join('\r\n') + CLEAR_BELOW;
}
