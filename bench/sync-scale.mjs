// What mesh and hub cost with 10 to 10,000 nodes: `npm run bench -- sync-scale [--write]`. Measures the costs of real
// processes, then computes; with --write the figures and the plot of docs/studies are replaced.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchProcesses } from './processes.mjs';
import { markdown } from './report.mjs';
import { calibrate } from './sync/calibrate.mjs';
import { drawPanels, logarithmic } from './sync/chart.mjs';
import { generator, simulateHub, simulateMesh, SIZES } from './sync/simulate.mjs';

const root = join(import.meta.dirname, '..');
/** How much slower than this machine a node's processor is: one of the same kind, and one of a small edge machine. */
const SLOWDOWNS = [1, 4];

const bytes = (value) =>
  value >= 1e9
    ? `${(value / 1e9).toFixed(1)} GB`
    : value >= 1e6
      ? `${(value / 1e6).toFixed(1)} MB`
      : `${(value / 1e3).toFixed(1)} kB`;
const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
const time = (seconds) =>
  seconds === Infinity || seconds > 60
    ? 'falls behind'
    : seconds >= 1
      ? `${seconds.toFixed(1)} s`
      : `${Math.round(seconds * 1000)} ms`;

function simulate(costs) {
  return SLOWDOWNS.flatMap((slowdown) =>
    SIZES.map((count) => ({
      slowdown,
      count,
      mesh: simulateMesh(count, costs, slowdown, generator(count)),
      hub: simulateHub(count, costs, slowdown, generator(count)),
    })),
  );
}

function costTable({ mesh, hub }) {
  const us = (seconds) => `${Math.round(seconds * 1e6)} µs`;
  return markdown(
    ['measured', 'mesh', 'hub'],
    [
      ['connections of a syncer', `${mesh.connectionsPerPeer.toFixed(1)} a peer`, `${hub.connections}`],
      ['bytes a second at rest', `${bytes(mesh.restBytes)} a peer`, bytes(hub.restBytes)],
      ['syncer at rest, CPU a second', `${us(mesh.restCpuSyncer)} a peer`, us(hub.restCpuSyncer)],
      [
        'API server at rest, CPU a second',
        `${us(mesh.restCpuServer)} a peer`,
        `${us(mesh.restCpuServer)} a node`,
      ],
      ['bytes of a status change', bytes(mesh.changeBytes), bytes(hub.changeBytes)],
      ['CPU of a change: its write', us(mesh.writeCpu), us(mesh.writeCpu)],
      ['… telling it to one reader', us(mesh.deliverCpu), us(hub.deliverCpu)],
      ['… the syncer that mirrors it', us(mesh.changeCpuSyncer), us(hub.changeCpuSyncer)],
      ['… the API server that stores the mirror', us(mesh.changeCpuLocal), us(hub.changeCpuLocal)],
      ['memory of a peer or watch, reader', bytes(mesh.rssPerPeerSyncer), '–'],
      [
        '… API server that is read',
        `${bytes(mesh.rssPerPeerServer)} a peer`,
        `${bytes(hub.rssPerWatch)} a watch`,
      ],
    ],
  );
}

function nodeTable(results) {
  const row = (kind, name, { slowdown, count }, { connections, bytes: rate, cpu, rss, staleness }) => [
    `${count}`,
    slowdown === 1 ? 'as measured' : `${slowdown} × slower`,
    name,
    `${connections}`,
    `${bytes(rate)}/s`,
    cpu > 1 ? `${percent(cpu)}, too much` : percent(cpu),
    bytes(rss),
    staleness === undefined ? '–' : time(staleness),
  ];
  const rows = results.flatMap((result) => [
    row('mesh', 'mesh, each node', result, result.mesh),
    row('hub', 'hub, each node', result, result.hub),
    ...(result.slowdown === 1
      ? [row('hub', 'hub itself', result, { ...result.hub.hub, staleness: undefined })]
      : []),
  ]);
  return markdown(
    ['nodes', 'processor', 'what', 'connections', 'traffic', 'CPU of one core', 'memory', 'staleness p99'],
    rows,
  );
}

function draw(results) {
  const rows = results.filter(({ slowdown }) => slowdown === 1);
  const slow = results.filter(({ slowdown }) => slowdown !== 1);
  const x = logarithmic(10, 10_000);
  const series = (name, from, value, dash, color) => ({
    name,
    dash,
    color,
    points: from.flatMap((each) => {
      const found = value(each);
      return Number.isFinite(found) && found > 0 ? [[each.count, found]] : [];
    }),
  });
  /** What is later than this keeps growing. */
  const lateness = ({ staleness }) => (staleness > 60 ? Infinity : staleness * 1000);
  const blue = '#0969da';
  const green = '#1a7f37';
  const red = '#cf222e';
  const three = (value) => [
    series('mesh, each node', rows, ({ mesh }) => value(mesh), undefined, red),
    series('hub, each node', rows, ({ hub }) => value(hub), undefined, blue),
    series('hub itself', rows, ({ hub }) => value(hub.hub), undefined, green),
  ];
  const panel = (title, note, given) => {
    const lines = given.filter(({ points }) => points.length > 0);
    const all = lines.flatMap(({ points }) => points.map(([, y]) => y));
    return {
      title,
      note,
      xTitle: 'nodes',
      x,
      y: logarithmic(Math.min(...all), Math.max(...all)),
      series: lines,
    };
  };
  return drawPanels('what mesh and hub cost by the number of nodes', [
    panel(
      'connections',
      '',
      three(({ connections }) => connections),
    ),
    panel(
      'bytes a second',
      '',
      three(({ bytes: rate }) => rate),
    ),
    panel('CPU, % of one core', 'above 100 it cannot keep up', [
      ...three(({ cpu }) => cpu * 100),
      series('mesh, 4 × slower', slow, ({ mesh }) => mesh.cpu * 100, '5 4', red),
      series('hub, 4 × slower', slow, ({ hub }) => hub.cpu * 100, '5 4', blue),
    ]),
    panel('staleness p99, ms', 'lines end where it falls behind', [
      series('mesh', rows, ({ mesh }) => lateness(mesh), undefined, red),
      series('hub', rows, ({ hub }) => lateness(hub), undefined, blue),
      series('mesh, 4 × slower', slow, ({ mesh }) => lateness(mesh), '5 4', red),
      series('hub, 4 × slower', slow, ({ hub }) => lateness(hub), '5 4', blue),
    ]),
  ]);
}

/** Runs the study; `run` says where and with what. */
export async function syncScale(args, run) {
  const report = (text) => console.error(text);
  const processes = new BenchProcesses((dead) => report(processes.tail(dead)));
  let costs;
  try {
    costs = await calibrate(processes, report);
  } finally {
    await processes.stop();
  }
  const results = simulate(costs);
  console.log([run, '', ...costTable(costs), '', ...nodeTable(results)].join('\n'));
  if (!args.includes('--write')) return;
  const file = (name) => join(root, 'docs/studies', name);
  writeFileSync(file('sync-scale.json'), `${JSON.stringify({ run, costs, results })}\n`);
  writeFileSync(file('sync-scale.svg'), draw(results));
}
