/** Prints the Table answers of the API server (meta.k8s.io/v1) the way kubectl does. */
import type { ObjectMeta } from '../../../api/meta.ts';
import { ageOf } from '../../../api/age.ts';
import { ColumnWriter } from './columns.ts';

/** A Table of the API server. */
export interface Table {
  kind: string;
  metadata?: { resourceVersion?: string };
  columnDefinitions?: { name: string; type?: string; format?: string; priority?: number }[];
  rows: TableRow[];
}

/** One object of a Table. */
export interface TableRow {
  cells: unknown[];
  object: { metadata: ObjectMeta } & Record<string, unknown>;
}

/** How a table looks. */
export interface TableOptions {
  isWide: boolean;
  hasHeaders: boolean;
  areLabelsShown: boolean;
  /** Labels with a column of their own. */
  labelColumns: readonly string[];
  /** Put before each name when several kinds are printed: `router.edge.example.com/`. */
  namePrefix?: string;
  /** Adds a first column with the type of each watch event. */
  hasEvents?: boolean;
}

/** The Accept header that asks for a Table and takes plain objects otherwise. */
export const TABLE_ACCEPT =
  'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json';

/** Whether an answer is a Table. */
export function isTable(value: unknown): value is Table {
  return (value as Partial<Table>).kind === 'Table' && Array.isArray((value as Partial<Table>).rows);
}

/** A table of names and ages, for servers that make none. */
export function plainTable(objects: readonly { metadata: ObjectMeta }[]): Table {
  return {
    kind: 'Table',
    columnDefinitions: [{ name: 'Name', format: 'name' }, { name: 'Age' }],
    rows: objects.map((object) => ({
      cells: [object.metadata.name ?? '', ageOf(object.metadata.creationTimestamp)],
      object: { ...object },
    })),
  };
}

/** Prints tables of one kind, one after the other, under one header. */
export class TablePrinter {
  readonly #options: TableOptions;
  readonly #writer = new ColumnWriter();
  #shown: number[] = [];
  #nameColumn = 0;
  #isHeaderDue: boolean;

  constructor(options: TableOptions) {
    this.#options = options;
    this.#isHeaderDue = options.hasHeaders;
  }

  /** The lines of a table; `event` is the type of the watch event it came with. */
  format(table: Table, event?: string): string {
    const { labelColumns, areLabelsShown, hasEvents, isWide } = this.#options;
    const lines: string[][] = [];
    const definitions = table.columnDefinitions ?? [];
    if (definitions.length > 0) {
      // later events of a watch leave the definitions out
      this.#shown = [...definitions.keys()].filter((at) => isWide || (definitions[at]?.priority ?? 0) === 0);
      this.#nameColumn = Math.max(
        0,
        definitions.findIndex((column) => column.format === 'name'),
      );
    }
    if (this.#isHeaderDue && definitions.length > 0) {
      this.#isHeaderDue = false;
      lines.push([
        ...(hasEvents === true ? ['EVENT'] : []),
        ...this.#shown.map((at) => definitions[at]?.name.toUpperCase() ?? ''),
        ...labelColumns.map((label) => (label.split('/').at(-1) ?? '').toUpperCase()),
        ...(areLabelsShown ? ['LABELS'] : []),
      ]);
    }
    for (const row of table.rows) lines.push(this.#row(row, event));
    return this.#writer.format(lines);
  }

  #row(row: TableRow, event: string | undefined): string[] {
    const { labelColumns, areLabelsShown, hasEvents, namePrefix = '' } = this.#options;
    const labels = row.object.metadata.labels ?? {};
    return [
      ...(hasEvents === true ? [event ?? 'ADDED'] : []),
      ...this.#shown.map((at) => (at === this.#nameColumn ? namePrefix : '') + cellText(row.cells[at])),
      ...labelColumns.map((label) => labels[label] ?? ''),
      ...(areLabelsShown ? [formatLabels(labels)] : []),
    ];
  }
}

/** Only the first line of a text: one that spans several would break the columns. */
function cellText(cell: unknown): string {
  if (cell === null || cell === undefined) return '';
  if (typeof cell !== 'string') return JSON.stringify(cell);
  const end = cell.search(/[\n\r\f]/u);
  return end === -1 ? cell : `${cell.slice(0, end)}...`;
}

/** `a=1,b=2` in order of the keys, or `<none>`. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.length === 0 ? '<none>' : pairs.map(([key, value]) => `${key}=${value}`).join(',');
}
