// What a failure costs: two nodes, each with an apiserver, a Router and a syncer; two providers of one service on node-2, both
// published on both Routers; a consumer on node-1 under load of new connections and of long ones. One part after the other is
// killed, or stopped so that it is silent as behind a cut link, and comes back after a few seconds.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { resolveName } from '../scripts/demo/checks.mjs';
import { applyRouter, defineNode, startApiserver, startRouter, startSyncer } from '../scripts/demo/nodes.mjs';
import { claimRange } from '../scripts/demo/places.mjs';
import { freePorts } from '../scripts/demo/ports.mjs';
import { startConsumer, startExporter } from '../scripts/demo/services.mjs';
import { pause, until } from '../scripts/demo/wait.mjs';
import { markdown } from './report.mjs';

const RATE = 50;
const LONG = 20;
const BEFORE_MS = 1500;
const DURING_MS = 4000;
const AFTER_MS = 2500;

/** What happens to which process; `signal` SIGSTOP is undone by SIGCONT, a kill by starting it again. */
const FAILURES = [
  { what: 'the process of the service', part: 'service b', signal: 'SIGKILL' },
  { what: "a provider's sidecar", part: 'exporter b on node-2', signal: 'SIGKILL' },
  { what: "the link to a provider's sidecar", part: 'exporter b on node-2', signal: 'SIGSTOP' },
  { what: 'the Router of the node', part: 'router on node-1', signal: 'SIGKILL' },
  { what: 'the link to that Router', part: 'router on node-1', signal: 'SIGSTOP' },
  { what: 'the API server of the node', part: 'apiserver on node-1', signal: 'SIGKILL' },
  { what: 'the syncer of the node', part: 'syncer on node-1', signal: 'SIGKILL' },
];

async function startService(processes, name, port) {
  await processes.start({
    name: `service ${name}`,
    command: process.execPath,
    args: [join(import.meta.dirname, 'traffic/service.mjs'), String(port)],
    ready: /port \d+/u,
  });
}

/** Starts everything; resolves with where the consumer's applications connect. */
async function startWorld(processes, cleanups) {
  const [one, two] = [
    defineNode('node-1', processes.dir, await freePorts(3)),
    defineNode('node-2', processes.dir, await freePorts(3)),
  ];
  const tokenFile = join(processes.dir, 'router-token');
  writeFileSync(tokenFile, 'bench', { mode: 0o600 });
  for (const node of [one, two]) {
    await startApiserver(processes, node);
    await applyRouter(node);
    await startRouter(processes, node, tokenFile);
  }
  await startSyncer(processes, one, two);
  await startSyncer(processes, two, one);
  const settings = {
    EDGE_ROUTER_TOKEN_FILE: tokenFile,
    SIDECAR_ROUTER_TLS: 'off',
    SIDECAR_SECRET_KEY: 'bench',
  };
  const config = join(processes.dir, 'sidecar.json');
  writeFileSync(config, JSON.stringify({ services: [{ name: 'web', healthCheck: { type: 'tcp' } }] }));
  const [port, ...targets] = await freePorts(3);
  for (const [index, name] of ['a', 'b'].entries()) {
    await startService(processes, name, targets[index]);
    const exports = { web: { port, targetPort: targets[index] } };
    const env = { ...settings, SIDECAR_CONFIG: config, SIDECAR_POD_NAME: `pod-${name}` };
    await startExporter(processes, two, exports, env, `exporter ${name}`);
  }
  const { range, release } = await claimRange([[port]]);
  cleanups.push(release);
  const [dnsPort] = await freePorts(1);
  const dns = { host: '127.0.0.1', port: dnsPort };
  const adminPort = await startConsumer(
    processes,
    one,
    { mapped: [`web:${port}`], range, dns },
    settings,
    'consumer',
  );
  const host = await until('web resolves', 15_000, () => resolveName(dns, 'web.default.svc'));
  return { host, port, isWhole: () => isWhole(adminPort) };
}

/** Whether both providers are ready on both Routers, and the consumer is connected to both. */
async function isWhole(adminPort) {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/status`);
  const { services, routers, apiserver } = await answer.json();
  const ready = services[0].providers.filter((provider) => provider.ready && !provider.stale);
  return ready.length === 4 && apiserver.connected && routers.every(({ phase }) => phase === 'online');
}

async function fail(processes, { part, signal }) {
  if (signal === 'SIGKILL') {
    const entry = await processes.crash(part);
    return () => processes.restart(entry);
  }
  const [pid] = processes.pids(part);
  process.kill(pid, signal);
  return () => Promise.resolve(process.kill(pid, 'SIGCONT'));
}

/** Runs one failure under load; resolves with the figures of its phases. */
async function runFailure(processes, { host, port, isWhole: isReady }, failure) {
  await until('everything is well', 30_000, isReady);
  const program = join(import.meta.dirname, 'traffic/failover.mjs');
  const args = [program, host, String(port), String(RATE), String(LONG)];
  const traffic = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(traffic, 'close');
  await pause(BEFORE_MS);
  traffic.stdin.write('during\n');
  const undo = await fail(processes, failure);
  await pause(DURING_MS);
  traffic.stdin.write('after\n');
  await undo();
  await pause(AFTER_MS);
  traffic.stdin.end('end\n');
  let phases;
  for await (const line of createInterface({ input: traffic.stdout })) phases = JSON.parse(line);
  await ended;
  if (phases === undefined) throw new Error('the traffic program failed');
  return phases;
}

/** Runs all; resolves with the lines of the table. `only` are words of what fails. */
export async function failover(processes, cleanups, { only, report }) {
  const world = await startWorld(processes, cleanups);
  const rows = [];
  for (const failure of FAILURES) {
    const name = `${failure.what}, ${failure.signal === 'SIGSTOP' ? 'silent' : 'killed'}`;
    if (only.length > 0 && !only.some((text) => name.includes(text))) continue;
    const [before, during, after] = await runFailure(processes, world, failure);
    if (before.fresh.lost + before.long.cut > 0)
      throw new Error(
        `${name}: lost before anything failed: ${before.fresh.lost} new, ${before.long.cut} long`,
      );
    const seconds = (ms) => (ms === 0 ? '–' : `${(ms / 1000).toFixed(2)} s`);
    rows.push([
      name,
      `${during.fresh.lost} of ${during.fresh.opened}`,
      String(during.fresh.disturbed),
      `${Math.round(during.fresh.slowestMs)} ms`,
      seconds(during.fresh.recoveredMs),
      `${during.long.cut} of ${LONG}`,
      seconds(during.long.recoveredMs),
      `${after.fresh.lost} and ${after.long.cut}`,
    ]);
    report(rows.at(-1).join(' | '));
  }
  const header = [
    'what fails',
    'new ones lost',
    'slower than 250 ms',
    'slowest',
    'last disturbed after',
    'long ones cut',
    'last of them noticed after',
    'lost at its return',
  ];
  return markdown(header, rows);
}
