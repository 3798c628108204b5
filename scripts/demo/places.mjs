// Where the demo listens: free ports, a range of loopback addresses of its own, and a place for DNS.
import { createSocket } from 'node:dgram';
import { close, freePorts, isFree, listen } from './ports.mjs';

function isUdpFree(host, port) {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}

/**
 * The DNS address: 127.0.0.2:53 where it may be bound and no other demo is about to, else a high port that is free
 * for UDP and TCP. `release` lets the next demo have port 53.
 */
export async function claimDnsAddress() {
  const host = '127.0.0.2';
  const isUsable = async (port) => (await isFree(host, port)) && (await isUdpFree(host, port));
  const lock = await listen(host, LOCK_PORT);
  if (lock !== undefined && (await isUsable(53))) return { host, port: 53, release: () => close(lock) };
  if (lock !== undefined) await close(lock);
  for (let attempt = 0; attempt < 20; attempt++) {
    const [port] = await freePorts(1, host);
    if (await isUsable(port)) return { host, port, release: () => {} };
  }
  throw new Error(`no free port for DNS on ${host}`);
}

/** Whoever listens on this port of an address has claimed what it stands for; nothing else uses it. */
const LOCK_PORT = 7466;

/** A /28 has 16 addresses; the last is none that a sidecar gives to a service, so it marks the block as taken. */
const BLOCK_SIZE = 16;

/**
 * Takes one of the 16 blocks of 127.0.66.0/24 in which the wanted ports are free on every address, so that demos
 * run side by side. Resolves with the range, the ports, and the function that gives the block back.
 */
export async function claimRange(portSets) {
  for (const ports of portSets) {
    for (let base = 0; base < 256; base += BLOCK_SIZE) {
      const lock = await listen(`127.0.66.${base + BLOCK_SIZE - 1}`, LOCK_PORT);
      if (lock === undefined) continue;
      const hosts = Array.from({ length: BLOCK_SIZE - 2 }, (_, index) => `127.0.66.${base + index + 1}`);
      const checks = hosts.flatMap((host) => ports.map((port) => isFree(host, port)));
      if ((await Promise.all(checks)).every(Boolean)) {
        return { range: `127.0.66.${base}/28`, ports, release: () => close(lock) };
      }
      await close(lock);
    }
  }
  throw new Error(
    'no free block of addresses in 127.0.66.0/24 (they must belong to this machine, as on Linux)',
  );
}
