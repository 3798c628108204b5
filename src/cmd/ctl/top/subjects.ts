/** What `edge ctl top` is about: Routers, services or clients, each with its rows and columns. Pure. */
import { formatAge } from '../../../api/age.ts';
import { UsageError } from '../../../lib/errors.ts';
import type { RouterView } from './reports.ts';
import {
  CLIENT_COLUMNS,
  clientRows,
  formatQuantity,
  ROUTER_COLUMNS,
  routerRows,
  SERVICE_COLUMNS,
  serviceRows,
  sortRows,
} from './rows.ts';
import type { Column, Row } from './rows.ts';
import { tableLines } from './table.ts';
import type { Line } from './table.ts';

export { SORT_KEYS } from './rows.ts';

/** How rows are chosen and laid out. */
export interface Wishes {
  /** Only these; all when empty. */
  names: readonly string[];
  sortBy: string;
  hasHeaders: boolean;
  /** Of the terminal, characters. */
  width?: number;
}

/** A kind of rows. */
export interface Subject {
  word: string;
  show(views: readonly RouterView[], wishes: Wishes): { rows: readonly Row[]; lines: Line[] };
}

function subject<T extends Row>(
  word: string,
  rowsOf: (views: readonly RouterView[]) => T[],
  columns: readonly Column<T>[],
  namesOf: (row: T) => readonly string[],
): Subject {
  return {
    word,
    show(views, { names, sortBy, hasHeaders, width }) {
      const wanted = rowsOf(views).filter(
        (row) => names.length === 0 || namesOf(row).some((name) => names.includes(name)),
      );
      const rows = sortRows(wanted, sortBy);
      return { rows, lines: tableLines(columns, rows, { hasHeaders, width }) };
    },
  };
}

/** `mysql` for `mysql.default`. */
function shortName(name: string): string {
  return name.split('.', 1)[0] ?? '';
}

/** All of them; the first is meant where nothing is said. */
export const SUBJECTS: readonly Subject[] = [
  subject('routers', routerRows, ROUTER_COLUMNS, ({ name }) => [name]),
  subject('services', serviceRows, SERVICE_COLUMNS, ({ name }) => [name, shortName(name)]),
  subject('clients', clientRows, CLIENT_COLUMNS, ({ name, service }) => [name, service, shortName(service)]),
];

/** Other words for them. */
const ALIASES: Readonly<Record<string, string>> = { rt: 'routers', svc: 'services' };

/** The subject of a word, also in the singular. Throws UsageError. */
export function findSubject(word: string | undefined): Subject {
  const [first] = SUBJECTS;
  const wanted = word === undefined ? first?.word : (ALIASES[word] ?? word);
  const found = SUBJECTS.find((each) => each.word === wanted || each.word === `${wanted}s`);
  if (found === undefined) {
    throw new UsageError(`there is no top of "${word}"`, {
      hint: `one of ${SUBJECTS.map((each) => each.word).join(', ')}`,
    });
  }
  return found;
}

/** The lines above the table of a screen: when and where, the sums, and whether the server is there. */
export function headLines(
  views: readonly RouterView[],
  { server, time, lostForMs }: { server: string; time: Date; lostForMs: number | undefined },
): Line[] {
  const rows = routerRows(views);
  const ready = rows.filter(({ state }) => state === 'Ready').length;
  const sum = (pick: (row: (typeof rows)[number]) => number | null): number =>
    rows.reduce((total, row) => total + (pick(row) ?? 0), 0);
  const isPartial = rows.some((row) => row.bytesInPerSecond === null);
  const head: Line = {
    text: [
      `${time.toISOString().slice(11, 19)}Z`,
      server,
      `Routers ${ready}/${rows.length} ready`,
      `in ${formatQuantity(sum((row) => row.bytesInPerSecond))}/s`,
      `out ${formatQuantity(sum((row) => row.bytesOutPerSecond))}/s${isPartial ? ' (of those known)' : ''}`,
      `open ${sum((row) => row.open)}`,
    ].join('   '),
  };
  if (lostForMs === undefined) return [head];
  return [
    head,
    {
      text: `!! the API server has not answered for ${formatAge(lostForMs)}: this is its last state`,
      mark: 'problem',
    },
  ];
}
