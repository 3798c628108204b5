// The reference: HAProxy processes that pass TCP on to each other, with the settings its manual starts from.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../scripts/demo/places.mjs';

/** Starts `hops` chained proxies in front of a port of 127.0.0.1; resolves with the port to dial. */
export async function startChain(processes, hops, targetPort) {
  const ports = await freePorts(hops);
  let next = targetPort;
  for (const [index, port] of ports.entries()) {
    const file = join(processes.dir, `haproxy-${index}.cfg`);
    writeFileSync(file, config(port, next));
    await processes.start({
      name: `haproxy ${index + 1}`,
      command: 'haproxy',
      args: ['-db', '-V', '-f', file],
      ready: /Available polling systems|Using epoll|New worker/u,
    });
    next = port;
  }
  return next;
}

const config = (port, target) => `global
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen hop
  bind 127.0.0.1:${port}
  server next 127.0.0.1:${target}
`;
