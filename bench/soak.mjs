// Endurance: 10,000 connections open at once through one router, each with bytes both ways; then connections opened, used and
// closed at a high rate for two minutes. None may be lost, and memory must come back to its level.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pause } from '../scripts/demo/wait.mjs';
import { startEdgePaths } from './paths/edge.mjs';
import { startService } from './paths/all.mjs';
import { markdown } from './report.mjs';
import { cpuSeconds, residentBytes } from './usage.mjs';

const OPEN = 10_000;
const RATE = 1000;
const RATE_SECONDS = 120;
/** Connections after which the processes have the size they work with: code is compiled, heaps have grown. */
const WARM_UP = 2000;
/** Memory is looked at this long after the last connection: buffers are freed with the next collections, milliseconds. */
const SETTLE_MS = 10_000;
/** Sockets that one process of the path may need, and some for itself. */
const FILES = OPEN + 1000;

const MIB = 1024 ** 2;

function checkFileLimit() {
  const [, hard] = /^Max open files\s+\S+\s+(\S+)/mu.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  // Node raises its soft limit to the hard one by itself.
  if (hard !== 'unlimited' && Number(hard) < FILES)
    throw new Error(
      `the limit of open files is ${hard}, the soak needs ${FILES}; raise it with "ulimit -Hn ${FILES}"`,
    );
}

/** Runs the traffic program; `onStep` is told of each of its lines but the last, which it resolves with. */
async function drive(path, args, onStep) {
  const argv = [
    join(import.meta.dirname, 'traffic/soak.mjs'),
    path.host,
    String(path.port),
    ...args.map(String),
  ];
  const child = spawn(process.execPath, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  let last;
  for await (const line of createInterface({ input: child.stdout })) {
    last = JSON.parse(line);
    if (last.step === undefined) continue;
    await onStep(last);
    child.stdin.write('go\n');
  }
  const [code] = await ended;
  if (code !== 0 || last === undefined) throw new Error(`the traffic program ended with status ${code}`);
  return last;
}

/** Runs it; resolves with the lines of the report. */
export async function soak(processes, cleanups) {
  checkFileLimit();
  const targetPort = await startService(processes);
  const [path] = await startEdgePaths(processes, targetPort, ['plain'], cleanups);
  const [router, exporter, consumer] = path.pids;
  const rows = [];
  const note = (what) => {
    const sizes = [router, exporter, consumer].map((pid) => String(Math.round(residentBytes([pid]) / MIB)));
    rows.push([what, ...sizes]);
    console.error(`${what}: RSS of router, exporter, consumer ${sizes.join(', ')} MiB`);
  };
  note('idle');
  await drive(path, ['rate', RATE, Math.ceil(WARM_UP / RATE)], () => {});
  await pause(SETTLE_MS);
  note(`after ${WARM_UP} connections`);
  const held = await drive(path, ['hold', OPEN], () => note(`${OPEN} connections open`));
  await pause(SETTLE_MS);
  note('after they closed');
  const cpuBefore = cpuSeconds(path.pids);
  const churn = await drive(path, ['rate', RATE, RATE_SECONDS], () => {});
  const cpu = cpuSeconds(path.pids) - cpuBefore;
  await pause(SETTLE_MS);
  note(`after ${churn.completed} more`);
  const second = await drive(path, ['hold', OPEN], () => note(`${OPEN} open again`));
  await pause(SETTLE_MS);
  note('after they closed too');
  const lost = held.lost + second.lost + churn.failed;
  if (lost > 0) process.exitCode = 1;
  return [
    `${OPEN} open at once: ${held.opened} opened in ${held.seconds.toFixed(1)} s, ${held.answered} answered while all were open, ${held.lost} lost;`,
    `again: ${second.opened} in ${second.seconds.toFixed(1)} s, ${second.answered} answered, ${second.lost} lost.`,
    `${churn.completed} connections opened, used and closed in ${churn.seconds.toFixed(0)} s: ${Math.round(churn.completed / churn.seconds)}/s ` +
      `(asked for ${RATE}/s), ${churn.failed} failed, ${((cpu / churn.completed) * 1000).toFixed(2)} ms of CPU each on the path.`,
    '',
    ...markdown(['RSS, MiB', 'router', 'exporting sidecar', 'consuming sidecar'], rows),
    '',
    lost === 0 ? 'No connection was lost.' : `${lost} connections were lost.`,
  ];
}
