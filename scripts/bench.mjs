// `npm run bench`: builds, measures all paths in turn, prints the tables, and writes docs/benchmarks.{md,svg} when everything
// was measured. `npm run bench -- bulk latency` measures parts, `-- soak` runs the endurance test alone.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawChart } from '../bench/chart.mjs';
import { GROUPS, PARTS } from '../bench/parts.mjs';
import { findPeers, startPaths } from '../bench/paths/all.mjs';
import { dnsBench } from '../bench/dns.mjs';
import { failover } from '../bench/failover.mjs';
import { BenchProcesses } from '../bench/processes.mjs';
import { addDerived, budgetTable, mainTable } from '../bench/report.mjs';
import { runRounds } from '../bench/rounds.mjs';
import { soak } from '../bench/soak.mjs';

const USAGE = `Usage: npm run bench -- [--rounds N] [--seconds N] [--only TEXT] [--profile DIR] [PART...]
Parts: ${Object.keys(GROUPS).join(', ')}, soak, dns, failover; without any all but the last three. A full run, and one of dns or
failover, rewrites its figures in docs/benchmarks.md.
--rounds   times that each path is measured, in turn with the others (default 5)
--seconds  of each measurement (default 2)
--only     paths, or failures, whose name contains TEXT; may be given several times
--profile  directory for a CPU profile of each process of edge
sync-delay [SCENARIO...]  what late news of other nodes does to connections (docs/studies/sync-delay.md)
sync-scale                what mesh and hub cost with 10 to 10,000 nodes (docs/studies/sync-scale.md)
Programs to compare with are found on PATH, or by EDGE_BENCH_HAPROXY, EDGE_BENCH_FRPS, EDGE_BENCH_FRPC, EDGE_BENCH_RATHOLE.`;

/** Parts that run alone, with processes of their own. */
const ALONE = new Set(['soak', 'dns', 'failover']);

const root = join(import.meta.dirname, '..');
const capture = (command, args) => execFileSync(command, args, { cwd: root, encoding: 'utf8' }).trim();

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      only: { type: 'string', multiple: true, default: [] },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const unknown = positionals.find((name) => !ALONE.has(name) && GROUPS[name] === undefined);
  if (values.help || unknown !== undefined) {
    console.error(unknown === undefined ? USAGE : `unknown part ${unknown}\n${USAGE}`);
    process.exit(unknown === undefined ? 0 : 2);
  }
  return {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    only: values.only,
    profile: values.profile,
    names: positionals,
  };
}

/** What was measured, where and with what, as one line. */
function describeRun(peers) {
  const isChanged = capture('git', ['status', '--porcelain', '--', 'src']) !== '';
  const versions = [
    `Node ${process.version}`,
    peers.haproxy && `HAProxy ${capture(peers.haproxy, ['-v']).split(' ')[2]}`,
    peers.frps && `frp ${capture(peers.frps, ['--version'])}`,
    peers.rathole &&
      `rathole ${/Build Version:\s*(\S+)/u.exec(capture(peers.rathole, ['--version']))?.[1] ?? ''}`,
  ];
  return [
    new Date().toISOString().slice(0, 10),
    `commit ${capture('git', ['rev-parse', '--short=10', 'HEAD'])}${isChanged ? ' with changes' : ''}`,
    `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}`,
    versions.filter(Boolean).join(', '),
  ].join('; ');
}

/** Puts figures between their marks in docs/benchmarks.md; what people wrote around them stays. */
function writeDocs(what, lines) {
  const file = join(root, 'docs/benchmarks.md');
  const text = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- ${what}: begin -->`, `<!-- ${what}: end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file}: the marks around the ${what} are missing`);
  writeFileSync(file, `${text.slice(0, from)}${begin}\n\n${lines.join('\n')}\n\n${text.slice(to)}`);
}

async function withProcesses(profile, run) {
  const cleanups = [];
  const processes = new BenchProcesses((dead) => console.error(processes.tail(dead)), profile);
  try {
    return await run(processes, cleanups);
  } finally {
    await processes.stop();
    await Promise.all(cleanups.map((undo) => undo()));
  }
}

async function compare({ rounds, seconds, only, profile, names }) {
  const isWhole = names.length === 0 && only.length === 0;
  const wanted = new Set((names.length === 0 ? Object.keys(GROUPS) : names).flatMap((name) => GROUPS[name]));
  const parts = Object.keys(PARTS).filter((part) => wanted.has(part));
  const peers = findPeers();
  const results = await withProcesses(profile, async (processes, cleanups) => {
    const all = await startPaths(processes, peers, cleanups);
    const paths = all.filter(({ name }) => only.length === 0 || only.some((text) => name.includes(text)));
    return runRounds(paths, parts, { rounds, seconds, report: (text) => console.error(text) });
  });
  addDerived(results);
  const run = `${describeRun(peers)}; ${rounds} rounds of ${seconds} s.`;
  const lines = [run, '', ...mainTable(results), '', ...budgetTable(results)];
  console.log(lines.join('\n'));
  if (!isWhole) return;
  writeDocs('figures', lines);
  writeFileSync(join(root, 'docs/benchmarks.svg'), drawChart(results));
}

async function compareDns({ rounds, seconds, profile }) {
  const report = (text) => console.error(text);
  const figures = await withProcesses(profile, (processes) =>
    dnsBench(processes, { rounds, seconds, report }),
  );
  const dnsmasq = capture('dnsmasq', ['--version']).split(' ')[2];
  const lines = [`${describeRun({})}, dnsmasq ${dnsmasq}; ${rounds} rounds of ${seconds} s.`, '', ...figures];
  console.log(lines.join('\n'));
  if (profile === undefined) writeDocs('dns figures', lines);
}

async function measureFailover({ profile, only }) {
  const report = (text) => console.error(text);
  const figures = await withProcesses(profile, (processes, cleanups) =>
    failover(processes, cleanups, { only, report }),
  );
  const lines = [`${describeRun({})}.`, '', ...figures];
  console.log(lines.join('\n'));
  if (only.length === 0 && profile === undefined) writeDocs('failover figures', lines);
}

function build() {
  execFileSync(process.execPath, [join(root, 'build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1)); // ends the processes on the way
}

/** Studies have arguments of their own. */
const STUDIES = {
  'sync-delay': async (names) => (await import('../bench/sync-delay.mjs')).syncDelay(names, describeRun({})),
  'sync-scale': async (args) => (await import('../bench/sync-scale.mjs')).syncScale(args, describeRun({})),
};

const study = STUDIES[process.argv[2]];
if (study !== undefined) {
  build();
  await study(process.argv.slice(3));
  process.exit(0);
}
const options = readArguments();
build();
if (options.names.includes('soak')) {
  console.log(
    (await withProcesses(options.profile, (processes, cleanups) => soak(processes, cleanups))).join('\n'),
  );
}
if (options.names.includes('dns')) await compareDns(options);
if (options.names.includes('failover')) await measureFailover(options);
const compared = options.names.filter((name) => !ALONE.has(name));
if (compared.length > 0 || options.names.length === 0) await compare({ ...options, names: compared });
