/** The lines of a table of `edge ctl top`: as many columns as fit, each line with the mark of its row. Pure. */
import { ColumnWriter } from '../printers/columns.ts';
import type { Mark } from '../marks.ts';
import type { Trust } from './reports.ts';
import type { Column, Row } from './rows.ts';

/** A line and what it stands for. */
export interface Line {
  text: string;
  /** Undefined for plain text. */
  mark?: Mark;
}

const MARKS: Readonly<Record<Trust, Mark | undefined>> = {
  Ready: undefined,
  NotReady: 'problem',
  Silent: 'problem',
  Stale: 'stale',
  Unknown: 'absent',
};

/** Lays rows out, the header first; `width` is in characters, for a terminal. */
export function tableLines<T extends Row>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  { hasHeaders, width }: { hasHeaders: boolean; width?: number | undefined },
): Line[] {
  let kept = columns.filter(
    ({ isOptional, cell }) => isOptional !== true || rows.some((row) => cell(row) !== ''),
  );
  let lines = format(kept, rows);
  while (width !== undefined && lines.some((line) => line.length > width)) {
    const rank = Math.max(...kept.map((column) => column.rank));
    if (rank === 0) break;
    // of equal rank the right one goes first
    const at = kept.findLastIndex((column) => column.rank === rank);
    kept = kept.filter((_, index) => index !== at);
    lines = format(kept, rows);
  }
  return lines
    .map((text, at): Line => {
      const mark = MARKS[rows[at - 1]?.state ?? 'Ready'];
      return mark === undefined ? { text } : { text, mark };
    })
    .slice(hasHeaders ? 0 : 1);
}

function format<T>(columns: readonly Column<T>[], rows: readonly T[]): string[] {
  const cells = [
    columns.map(({ header }) => header),
    // clients name themselves; their names must not be able to steer the terminal
    ...rows.map((row) => columns.map(({ cell }) => cell(row).replaceAll(/\p{Cc}/gu, '?'))),
  ];
  return new ColumnWriter()
    .format(cells)
    .split('\n')
    .slice(0, -1)
    .map((line) => line.trimEnd());
}
