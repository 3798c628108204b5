// Three processes of Node that pass TCP on to each other and do nothing else: the floor of the runtime.
import { join } from 'node:path';
import { freePorts } from '../../scripts/demo/ports.mjs';

const HOPS = 3;

/** Starts chained hops in front of a port of 127.0.0.1; resolves with the path. */
export async function startBarePath(processes, targetPort) {
  const ports = await freePorts(HOPS);
  const names = ports.map((_, index) => `bare hop ${index + 1}`);
  let next = targetPort;
  for (const [index, port] of ports.entries()) {
    await processes.start({
      name: names[index],
      command: process.execPath,
      args: [join(import.meta.dirname, '../traffic/hop.mjs'), String(port), String(next)],
      ready: /hop at \d+/u,
    });
    next = port;
  }
  return { name: 'three bare Node hops', host: '127.0.0.1', port: next, pids: processes.pids(...names) };
}
