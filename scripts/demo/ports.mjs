// TCP ports that are free, for programs that cannot be told to pick one themselves.
import { createServer } from 'node:net';

/**
 * Below the range from which systems take the ports of outgoing connections (32768 and up on Linux, 49152 and up
 * elsewhere): there a port that was free a moment ago is soon the local end of somebody's connection. Above the ports
 * that tests name themselves (13306, 18080…): a listener on all addresses would take them too.
 */
export const QUIET_PORTS = { start: 20_000, end: 32_000 };
const MAX_TRIES = 200;

/** Opens a TCP listener; undefined when the place is taken or not allowed. */
export function listen(host, port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

/** Closes a listener. */
export const close = (server) => new Promise((resolve) => server.close(() => resolve()));

/** Whether a listener can be opened there now. */
export async function isFree(host, port) {
  const server = await listen(host, port);
  if (server !== undefined) await close(server);
  return server !== undefined;
}

/**
 * `count` different free TCP ports of `host`, all held until all are known. Another program may take one before it
 * is used, so ask as late as possible.
 */
export async function freePorts(count, host = '127.0.0.1') {
  const servers = await Promise.all(Array.from({ length: count }, () => holdPort(host)));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map(close));
  return ports;
}

async function holdPort(host) {
  const { start, end } = QUIET_PORTS;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const server = await listen(host, start + Math.floor(Math.random() * (end - start + 1)));
    if (server !== undefined) return server;
  }
  throw new Error(`no free port of ${host} from ${start} to ${end}`);
}
