// `npm run bench -- dns`: answers a second of the sidecar's responder beside dnsmasq, by dnsperf, in one run.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { hasProgram } from '../scripts/demo/services.mjs';
import {
  mappedName,
  outerName,
  startApiServer,
  startCoreDns,
  startDnsmasqServer,
  startEcho,
  startEdge,
  startUpstream,
} from './dns/servers.mjs';
import { markdown } from './report.mjs';
import { median, spread } from './statistics.mjs';
import { cpuSeconds, residentBytes } from './usage.mjs';

const FEW = 100;
const MANY = 10_000;
const OUTER = 1000;
/** Sockets and open questions of dnsperf: enough that a server never waits for it. */
const LOAD = ['-c', '4', '-q', '100', '-T', '1'];
/** Before the first round each server is asked this long, seconds: code is compiled, caches are full. */
const WARM_UP_SECONDS = 2;
const MIB = 1024 ** 2;

/** What is asked, and of which set of servers. */
const PARTS = [
  { title: `mapped, ${FEW} names`, names: FEW, make: mappedName, set: 'few', hasEcho: true },
  { title: `mapped, ${MANY} names`, names: MANY, make: mappedName, set: 'many', hasEcho: false },
  { title: `cached, ${OUTER} forwarded names`, names: OUTER, make: outerName, set: 'few', hasEcho: false },
];

/** The promises: a figure of one server against another's, round by round. */
const BUDGETS = [
  ['mapped names', 0, 'edge', 0, 'dnsmasq', 0.9],
  ['mapped names, of 10,000', 1, 'edge', 1, 'dnsmasq', 0.9],
  ['cached forwarded names', 2, 'edge', 2, 'dnsmasq', 1],
  ['flat: 10,000 names against 100', 1, 'edge', 0, 'edge', 0.9],
  ['mapped names', 0, 'edge', 0, 'CoreDNS', 1.5],
  ['floor of the runtime', 0, 'bare dgram echo', 0, 'dnsmasq', undefined],
  ['what DNS adds to it', 0, 'edge', 0, 'bare dgram echo', undefined],
];

/** Asks one server for the names of a file; resolves with answers a second and processor microseconds an answer. */
async function ask(server, file, seconds) {
  const before = cpuSeconds(server.pids);
  const args = ['-s', '127.0.0.1', '-p', String(server.port), '-d', file, '-l', String(seconds), ...LOAD];
  const { stdout } = await promisify(execFile)('dnsperf', args, { timeout: (seconds + 30) * 1000 });
  const number = (pattern) => Number(pattern.exec(stdout)?.[1]);
  const answers = number(/Queries completed:\s+(\d+)/u);
  const rate = number(/Queries per second:\s+([\d.]+)/u);
  const hasFailures = /Response codes:.*?(?:SERVFAIL|NXDOMAIN|REFUSED)/u.test(stdout);
  if (!(answers > 0) || hasFailures) throw new Error(`${server.name}: dnsperf says:\n${stdout}`);
  return {
    rate,
    cpu: ((cpuSeconds(server.pids) - before) / answers) * 1e6,
    lost: number(/Queries lost:\s+(\d+)/u),
    rss: residentBytes(server.pids),
  };
}

async function startServers(processes, echo) {
  const upstream = await startUpstream(processes, OUTER);
  const starters = [startEdge, startDnsmasqServer, ...(hasProgram('coredns') ? [startCoreDns] : [])];
  const apiServer = await startApiServer(processes);
  const sets = { few: [], many: [] };
  for (const start of starters) {
    sets.few.push(await start(processes, FEW, upstream, apiServer, 0));
    sets.many.push(await start(processes, MANY, upstream, apiServer, 1));
  }
  return PARTS.map(({ set, hasEcho }) => [...(hasEcho ? [echo] : []), ...sets[set]]);
}

/** Runs it; resolves with the lines of the report. */
export async function dnsBench(processes, { rounds, seconds, report }) {
  for (const program of ['dnsperf', 'dnsmasq']) {
    if (!hasProgram(program)) throw new Error(`${program} is not on PATH; install dnsperf and dnsmasq-base`);
  }
  const servers = await startServers(processes, await startEcho(processes));
  const files = PARTS.map(({ names, make }, part) => {
    const file = join(processes.dir, `questions-${part}`);
    writeFileSync(file, Array.from({ length: names }, (_, index) => `${make(index)} A\n`).join(''));
    return file;
  });
  const figures = servers.map((list) => new Map(list.map(({ name }) => [name, []])));
  for (let round = -1; round < rounds; round += 1) {
    for (const [part, list] of servers.entries()) {
      // Every other round backwards, so that no server always has the machine as the same one left it.
      for (const server of round % 2 === 0 ? list : list.toReversed()) {
        const figure = await ask(server, files[part], round < 0 ? WARM_UP_SECONDS : seconds);
        if (round >= 0) figures[part].get(server.name).push(figure);
      }
    }
    report(round < 0 ? 'warm' : `round ${round + 1} of ${rounds}`);
  }
  return [...table(figures), '', ...budgets(figures)];
}

function table(figures) {
  const rows = figures.flatMap((part, index) =>
    [...part].map(([name, list]) => {
      const rates = list.map(({ rate }) => rate);
      const [low, high] = spread(rates).map((value) => Math.round(value));
      const last = list.at(-1);
      return [
        PARTS[index].title,
        name,
        `${Math.round(median(rates))} (${low}–${high})`,
        median(list.map(({ cpu }) => cpu)).toFixed(1),
        String(list.reduce((sum, { lost }) => sum + lost, 0)),
        String(Math.round(last.rss / MIB)),
      ];
    }),
  );
  return markdown(['questions', 'server', 'answers/s', 'CPU µs/answer', 'lost', 'RSS, MiB'], rows);
}

function budgets(figures) {
  const rows = BUDGETS.flatMap(([what, part, name, otherPart, otherName, goal]) => {
    const ours = figures[part].get(name);
    const theirs = figures[otherPart].get(otherName);
    if (ours === undefined || theirs === undefined) return [];
    const ratioOf = (figure) => median(ours.map((entry, round) => entry[figure] / theirs[round][figure]));
    const rate = ratioOf('rate');
    const verdict = goal === undefined ? '' : rate >= goal ? 'kept' : 'not kept';
    return [
      [
        what,
        name === otherName ? `${name}, itself` : `${name} / ${otherName}`,
        rate.toFixed(2),
        goal === undefined ? '–' : `≥ ${goal}`,
        verdict,
        ratioOf('cpu').toFixed(2),
      ],
    ];
  });
  return markdown(['what', 'ratio of', 'answers/s', 'goal', '', 'CPU an answer'], rows);
}
