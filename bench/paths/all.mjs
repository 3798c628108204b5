// Every path there is on this machine, in front of one service.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasProgram } from '../../scripts/demo/services.mjs';
import { startBarePath } from './bare.mjs';
import { EDGE_FORMS, startEdgePaths } from './edge.mjs';
import { startFrpPath } from './frp.mjs';
import { startHaproxyPath } from './haproxy.mjs';
import { startRatholePath } from './rathole.mjs';

/** Where a program is: a variable names it, or it is on PATH; undefined when it is neither. */
export function findProgram(name, variable) {
  const named = process.env[variable];
  if (named !== undefined && named !== '') {
    if (!existsSync(named)) throw new Error(`${variable}: no file ${named}`);
    return named;
  }
  return hasProgram(name) ? name : undefined;
}

/** The programs that are compared with and are here. */
export function findPeers() {
  return {
    haproxy: findProgram('haproxy', 'EDGE_BENCH_HAPROXY'),
    frps: findProgram('frps', 'EDGE_BENCH_FRPS'),
    frpc: findProgram('frpc', 'EDGE_BENCH_FRPC'),
    rathole: findProgram('rathole', 'EDGE_BENCH_RATHOLE'),
  };
}

/** Starts the service; resolves with its port. */
export async function startService(processes) {
  const service = await processes.start({
    name: 'service',
    command: process.execPath,
    args: [join(import.meta.dirname, '../traffic/service.mjs')],
    ready: /port \d+/u,
  });
  return Number(/port (\d+)/u.exec(readFileSync(service.logFile, 'utf8'))?.[1]);
}

/** Starts them; resolves with `{ name, host, port, pids }` of each. */
export async function startPaths(processes, peers, cleanups) {
  const targetPort = await startService(processes);
  const paths = [{ name: 'direct', host: '127.0.0.1', port: targetPort, pids: [] }];
  if (peers.haproxy !== undefined) paths.push(await startHaproxyPath(processes, targetPort));
  paths.push(await startBarePath(processes, targetPort));
  paths.push(...(await startEdgePaths(processes, targetPort, Object.keys(EDGE_FORMS), cleanups)));
  if (peers.frps !== undefined && peers.frpc !== undefined) {
    for (const isTls of [false, true]) paths.push(await startFrpPath(processes, peers, targetPort, isTls));
  }
  if (peers.rathole !== undefined) paths.push(await startRatholePath(processes, peers.rathole, targetPort));
  return paths;
}
