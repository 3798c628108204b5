// One bulk stream, and eight, through app → sidecar → router → sidecar → service, beside three chained HAProxy hops and
// a direct connection, all in one run: the machine differs from day to day, ratios do not.
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveName } from '../scripts/demo/checks.mjs';
import { applyRouter, defineNode, startApiserver, startRouter } from '../scripts/demo/nodes.mjs';
import { claimRange, freePorts } from '../scripts/demo/places.mjs';
import { Processes } from '../scripts/demo/processes.mjs';
import { startConsumer, startExporter } from '../scripts/demo/services.mjs';
import { until } from '../scripts/demo/wait.mjs';
import { startChain } from './haproxy.mjs';

const traffic = join(import.meta.dirname, 'traffic');
const STREAMS = [1, 8];
/** Rounds go over all paths in turn, so that a slow moment of the machine does not hit one path alone. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 2);
const HAPROXY = 'three HAProxy hops';

async function startSource(processes) {
  const source = await processes.start({
    name: 'traffic source',
    command: process.execPath,
    args: [join(traffic, 'source.mjs')],
    ready: /port \d+/u,
  });
  return Number(/port (\d+)/u.exec(readFileSync(source.logFile, 'utf8'))?.[1]);
}

/** Receives for SECONDS; resolves with bytes a second. */
async function measure({ host, port }, streams) {
  const args = [join(traffic, 'sink.mjs'), host, String(port), String(streams), String(SECONDS)];
  const sink = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  sink.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  const limit = setTimeout(() => sink.kill('SIGKILL'), SECONDS * 1000 + 30_000);
  const [code] = await once(sink, 'close');
  clearTimeout(limit);
  if (code !== 0) throw new Error(`the sink failed for ${host}:${port}, ${streams} streams`);
  return Number(out);
}

/** One service through the whole path; `tls` is the sidecars' way to the Router. Resolves with where to connect. */
async function startPath(processes, node, { name, port, targetPort, range, tls, env }) {
  const settings = { ...env, SIDECAR_ROUTER_TLS: tls };
  await startExporter(processes, node, { [name]: { port, targetPort } }, settings, `${name} exporter`);
  const [dnsPort] = await freePorts(1);
  const dns = { host: '127.0.0.1', port: dnsPort };
  await startConsumer(
    processes,
    node,
    { mapped: [`${name}:${port}`], range, dns },
    settings,
    `${name} consumer`,
  );
  const host = await until(`${name} resolves`, 15_000, () => resolveName(dns, `${name}.default.svc`));
  return { host, port };
}

async function startPaths(processes, cleanups) {
  const targetPort = await startSource(processes);
  const node = defineNode('node-1', processes.dir, await freePorts(3));
  const tokenFile = join(processes.dir, 'router-token');
  writeFileSync(tokenFile, 'bench', { mode: 0o600 });
  await startApiserver(processes, node);
  await applyRouter(node);
  await startRouter(processes, node, tokenFile);
  const ports = await freePorts(2);
  const { range, release } = await claimRange([ports]);
  cleanups.push(release);
  const env = { EDGE_ROUTER_TOKEN_FILE: tokenFile, SIDECAR_SECRET_KEY: 'bench' };
  const path = (name, port, tls) => startPath(processes, node, { name, port, targetPort, range, tls, env });
  return {
    direct: { host: '127.0.0.1', port: targetPort },
    [HAPROXY]: { host: '127.0.0.1', port: await startChain(processes, 3, targetPort) },
    'edge, plain': await path('plain', ports[0], 'off'),
    'edge, TLS to the Router': await path('tls', ports[1], 'on'),
  };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const mib = (value) => Math.round(value / 1024 / 1024);

/** Runs everything and resolves with the lines of the report. */
export async function throughput() {
  const cleanups = [];
  const processes = new Processes((dead) => console.error(processes.tail(dead)));
  const results = new Map();
  try {
    const paths = await startPaths(processes, cleanups);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, target] of Object.entries(paths)) {
        for (const streams of STREAMS) {
          const key = `${name}/${streams}`;
          results.set(key, [...(results.get(key) ?? []), await measure(target, streams)]);
        }
      }
      console.error(`round ${round + 1} of ${ROUNDS}`);
    }
    return report(Object.keys(paths), results);
  } finally {
    await processes.stop();
    await Promise.all(cleanups.map((undo) => undo()));
  }
}

function report(names, results) {
  const header = ['path', ...STREAMS.flatMap((streams) => [`MiB/s, ${streams} at once (min–max)`, 'ratio'])];
  const rows = names.map((name) => [
    name,
    ...STREAMS.flatMap((streams) => {
      const rates = results.get(`${name}/${streams}`);
      const reference = median(results.get(`${HAPROXY}/${streams}`));
      const spread = `${mib(Math.min(...rates))}–${mib(Math.max(...rates))}`;
      return [`${mib(median(rates))} (${spread})`, (median(rates) / reference).toFixed(2)];
    }),
  ]);
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column].length)));
  return [header, widths.map((width) => '-'.repeat(width)), ...rows].map(
    (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`,
  );
}
