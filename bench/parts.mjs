// The measurements: what each runs on a path, and the figures it takes from that.
import { drive } from './drive.mjs';
import { residentBytes } from './usage.mjs';

const GIB = 1024 ** 3;
const CONCURRENT_CONNECTIONS = 32;

const bulk = (streams) => async (path, seconds) => {
  const { bytes, seconds: took, cpu, rss } = await drive('bulk', path, [streams, seconds], seconds);
  return { rate: bytes / took, cpuPerGib: (cpu / bytes) * GIB, rss };
};

/** By name: what it is called in a table, how it is measured once, resolving with figures by name. */
export const PARTS = {
  memory: { measure: async (path) => ({ idle: residentBytes(path.pids) }) },
  bulk1: { measure: bulk(1) },
  bulk8: { measure: bulk(8) },
  latency: {
    measure: async (path, seconds) => {
      const { p50, p99, requests, cpu } = await drive('latency', path, [seconds], seconds);
      return { p50, p99, cpuPerRequest: cpu / requests };
    },
  },
  connections: {
    measure: async (path, seconds) => {
      const args = [CONCURRENT_CONNECTIONS, seconds];
      const {
        connections,
        failed,
        seconds: took,
        cpu,
        rss,
      } = await drive('connections', path, args, seconds);
      if (failed > 0) throw new Error(`${failed} connections failed on ${path.name}`);
      return { rate: connections / took, cpuPerConnection: cpu / connections, rss };
    },
  },
};

/** What can be asked for on the command line, and the measurements it means. */
export const GROUPS = {
  bulk: ['bulk1', 'bulk8'],
  latency: ['latency'],
  connections: ['connections'],
  memory: ['memory', 'bulk8'],
};
