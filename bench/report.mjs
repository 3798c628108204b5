// Turns the figures of the rounds into tables.
import { median, spread } from './statistics.mjs';

const MIB = 1024 ** 2;
const GIB_COLUMN = 'CPU s/GiB';
const whole = (value) => String(Math.round(value));

/** What is shown: a title, the figure it is taken from, how it reads, and the path that ratios refer to. */
export const COLUMNS = [
  { title: 'bulk, 1 stream, MiB/s', part: 'bulk1', figure: 'rate', show: (value) => whole(value / MIB) },
  { title: 'bulk, 8 streams, MiB/s', part: 'bulk8', figure: 'rate', show: (value) => whole(value / MIB) },
  {
    title: GIB_COLUMN,
    part: 'bulk8',
    figure: 'cpuPerGib',
    show: (value) => value.toFixed(2),
    needsPids: true,
  },
  { title: 'round trip p50, µs', part: 'latency', figure: 'p50', show: whole },
  { title: 'p99, µs', part: 'latency', figure: 'p99', show: whole },
  { title: 'added p50, µs', part: 'latency', figure: 'added', show: whole, needsPids: true },
  { title: 'connections/s', part: 'connections', figure: 'rate', show: whole },
  {
    title: 'CPU ms/connection',
    part: 'connections',
    figure: 'cpuPerConnection',
    show: (value) => (value * 1000).toFixed(2),
    needsPids: true,
  },
  {
    title: 'RSS idle, MiB',
    part: 'memory',
    figure: 'idle',
    show: (value) => whole(value / MIB),
    needsPids: true,
  },
  {
    title: 'RSS under load, MiB',
    part: 'bulk8',
    figure: 'rss',
    show: (value) => whole(value / MIB),
    needsPids: true,
  },
];

/** The promises of the design: a figure of one path against another's in the same run. */
const BUDGETS = [
  ['plain bulk, 1 stream', 'bulk1', 'rate', 'edge, plain', 'three HAProxy hops', '≥', 1.4],
  ['plain bulk, 8 streams', 'bulk8', 'rate', 'edge, plain', 'three HAProxy hops', '≥', 1.4],
  ['plain bulk, 1 stream', 'bulk1', 'rate', 'edge, plain', 'frp stcp, TLS off', '≥', 1.5],
  ['plain bulk, 8 streams', 'bulk8', 'rate', 'edge, plain', 'frp stcp, TLS off', '≥', 1.5],
  ['sealed bulk, 8 streams', 'bulk8', 'rate', 'edge, sealed', 'frp stcp, default TLS', '≥', 2],
  ['CPU a GiB, 8 streams', 'bulk8', 'cpuPerGib', 'edge, plain', 'frp stcp, TLS off', '≤', 1],
  ['added round trip, p50', 'latency', 'added', 'edge, plain', 'frp stcp, TLS off', '≤', 0.7],
  ['new connections a second', 'connections', 'rate', 'edge, plain', 'frp stcp, TLS off', '≥', 1.5],
];

/** Adds what a path adds to the direct round trip, round by round. */
export function addDerived(results) {
  const direct = results.get('direct')?.latency?.p50;
  if (direct === undefined) return;
  for (const { latency } of results.values()) {
    latency.added = latency.p50.map((value, round) => value - direct[round]);
  }
}

const valuesOf = (results, path, { part, figure }) => results.get(path)?.[part]?.[figure];

/** The table of all paths, median and smallest–largest, as lines of Markdown. */
export function mainTable(results) {
  const columns = COLUMNS.filter((column) =>
    [...results.keys()].some((path) => valuesOf(results, path, column)),
  );
  const rows = [...results.keys()].map((path) => [
    path,
    ...columns.map((column) => {
      const values = valuesOf(results, path, column);
      if (values === undefined || (column.needsPids && path === 'direct')) return '–';
      const [low, high] = spread(values).map(column.show);
      return values.length === 1 ? column.show(values[0]) : `${column.show(median(values))} (${low}–${high})`;
    }),
  ]);
  return markdown(['path', ...columns.map(({ title }) => title)], rows);
}

/** The table of promises that this run can tell about. */
export function budgetTable(results) {
  const rows = BUDGETS.flatMap(([what, part, figure, path, reference, sign, goal]) => {
    const ours = valuesOf(results, path, { part, figure });
    const theirs = valuesOf(results, reference, { part, figure });
    if (ours === undefined || theirs === undefined) return [];
    // Round by round, since the machine changes between rounds.
    const ratio = median(ours.map((value, round) => value / theirs[round]));
    const isKept = sign === '≥' ? ratio >= goal : ratio <= goal;
    return [
      [what, `${path} / ${reference}`, ratio.toFixed(2), `${sign} ${goal}`, isKept ? 'kept' : 'not kept'],
    ];
  });
  return markdown(['what', 'ratio of', 'measured', 'goal', ''], rows);
}

/** A table as prettier would write it. */
export function markdown(header, rows) {
  const widths = header.map((_, column) =>
    Math.max(3, ...[header, ...rows].map((row) => [...row[column]].length)),
  );
  const line = (cells) =>
    `| ${cells.map((cell, column) => cell + ' '.repeat(widths[column] - [...cell].length)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}
