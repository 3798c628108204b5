// HAProxy processes that pass TCP on to each other, with the settings its manual starts from.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../../scripts/demo/ports.mjs';

const HOPS = 3;

/** Starts chained proxies in front of a port of 127.0.0.1; resolves with the path. */
export async function startHaproxyPath(processes, targetPort) {
  const ports = await freePorts(HOPS);
  const names = ports.map((_, index) => `haproxy ${index + 1}`);
  let next = targetPort;
  for (const [index, port] of ports.entries()) {
    const file = join(processes.dir, `haproxy-${index}.cfg`);
    writeFileSync(file, config(port, next));
    await processes.start({
      name: names[index],
      command: 'haproxy',
      args: ['-db', '-V', '-f', file],
      ready: /Available polling systems|Using epoll|New worker/u,
    });
    next = port;
  }
  return { name: 'three HAProxy hops', host: '127.0.0.1', port: next, pids: processes.pids(...names) };
}

const config = (port, target) => `global
  maxconn 4096
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen hop
  bind 127.0.0.1:${port}
  server next 127.0.0.1:${target}
`;
