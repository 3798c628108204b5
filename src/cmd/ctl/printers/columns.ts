/** Text in columns as kubectl aligns it: three spaces between, at least six characters, the last column not padded. */

/** Spaces after the longest cell of a column. */
const PADDING = 3;
/** The least width of a column, padding included. */
const MIN_WIDTH = 6;

/** Aligns rows; widths are remembered, so that rows printed later fit under earlier ones. */
export class ColumnWriter {
  readonly #widths: number[] = [];
  readonly #padding: number;
  readonly #minWidth: number;

  constructor(padding = PADDING, minWidth = MIN_WIDTH) {
    this.#padding = padding;
    this.#minWidth = minWidth;
  }

  /** The rows as lines, each with its line feed. */
  format(rows: readonly (readonly string[])[]): string {
    for (const row of rows) {
      for (const [at, cell] of row.slice(0, -1).entries()) {
        this.#widths[at] = Math.max(this.#widths[at] ?? this.#minWidth, widthOf(cell) + this.#padding);
      }
    }
    return rows.map((row) => `${this.#line(row)}\n`).join('');
  }

  #line(row: readonly string[]): string {
    const last = row.length - 1;
    return row
      .map((cell, at) => (at === last ? cell : cell + ' '.repeat((this.#widths[at] ?? 0) - widthOf(cell))))
      .join('');
  }
}

/** Code points, which kubectl counts too. */
function widthOf(text: string): number {
  return Array.from(text).length;
}
