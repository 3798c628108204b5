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
 * `count` different free TCP ports of `host`, all held until all are known. Whoever asks here, in this process or another
 * one, gets others until this process ends; a program that does not ask may take one before it is used.
 */
export async function freePorts(count, host = '127.0.0.1') {
  const servers = await Promise.all(Array.from({ length: count }, () => holdPort(host)));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map(close));
  return ports;
}

/**
 * Takes a port for this process; false when somebody has. A name in Linux's abstract namespace of local sockets is free
 * again by itself when the process ends, however it does.
 */
function reserve(port) {
  return new Promise((resolve) => {
    const holder = createServer();
    holder.once('error', () => resolve(false));
    holder.listen({ path: `\0edge-port-${port}` }, () => {
      holder.unref();
      resolve(true);
    });
  });
}

async function holdPort(host) {
  const { start, end } = QUIET_PORTS;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const port = start + Math.floor(Math.random() * (end - start + 1));
    if (!(await reserve(port))) continue;
    const server = await listen(host, port);
    if (server !== undefined) return server;
  }
  throw new Error(`no free port of ${host} from ${start} to ${end}`);
}
