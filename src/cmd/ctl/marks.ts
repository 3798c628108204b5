/** The marks in front of findings: a word and, on a terminal, its colour. */

const MARKS = { ok: ['32', 'ok'], problem: ['31', '!!'], stale: ['33', 'old'], absent: ['90', '-'] } as const;

/** What a mark stands for. */
export type Mark = keyof typeof MARKS;

/** Whether standard output wants colours. */
export function hasColor(): boolean {
  return process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
}

/** A text in the colour of a mark. */
export function paint(text: string, mark: Mark, isColored: boolean): string {
  return isColored ? `\u001B[${MARKS[mark][0]}m${text}\u001B[0m` : text;
}

/** The mark, four characters wide. */
export function paintMark(mark: Mark, isColored: boolean): string {
  return paint(MARKS[mark][1].padEnd(4), mark, isColored);
}
