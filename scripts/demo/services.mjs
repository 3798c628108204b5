// The services on node-2 and the two sidecars: one that publishes them, one that brings them to node-1.
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { startEdge } from './nodes.mjs';
import { freePorts } from './ports.mjs';

/** Whether a program is on PATH. */
export function hasProgram(name) {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return dir !== '';
    } catch {
      return false;
    }
  });
}

/** Starts the file service on a port of its own; resolves with the port. */
export async function startFileService(processes) {
  const [port] = await freePorts(1);
  await processes.start({
    name: 'file service',
    command: process.execPath,
    args: [join(import.meta.dirname, 'file-service.mjs'), String(port)],
    ready: /listening/u,
  });
  return port;
}

/** Starts a Redis that keeps nothing on disk; resolves with its port. */
export async function startRedis(processes) {
  const [port] = await freePorts(1);
  const dir = join(processes.dir, 'redis');
  mkdirSync(dir);
  const settings = { port, bind: '127.0.0.1', dir, save: '', appendonly: 'no', daemonize: 'no' };
  await processes.start({
    name: 'redis',
    command: 'redis-server',
    args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]),
    ready: /Ready to accept connections/u,
  });
  return port;
}

/**
 * The sidecar beside the services: `exports` maps a name to the port that consumers dial and the one that it leads to.
 * Resolves with its admin port. `env` adds settings.
 */
export async function startExporter(processes, node, exports, env, title = 'exporting sidecar') {
  const [adminPort, dnsPort] = await freePorts(2);
  const file = join(node.dataDir, `${fileName(title)}.yaml`);
  const services = Object.entries(exports).map(([name, { port, targetPort }]) => ({
    name,
    namespace: 'default',
    ports: [{ port, targetPort, protocol: 'TCP' }],
  }));
  writeFileSync(file, JSON.stringify({ services }));
  await startSidecar(processes, node, title, {
    SIDECAR_EXPORTS_FILE: file,
    SIDECAR_DNS_ADDR: `127.0.0.1:${dnsPort}`, // it maps nothing, so nobody asks it
    SIDECAR_ADMIN_ADDR: `127.0.0.1:${adminPort}`,
    ...env,
  });
  return adminPort;
}

/** The sidecar of a consumer: `mapped` as in SIDECAR_MAPPED_SERVICES. Resolves with its admin port. */
export async function startConsumer(
  processes,
  node,
  { mapped, range, dns },
  env,
  title = 'consuming sidecar',
) {
  const [adminPort] = await freePorts(1);
  await startSidecar(processes, node, title, {
    SIDECAR_MAPPED_SERVICES: mapped.join(','),
    SIDECAR_IP_RANGE: range,
    SIDECAR_DNS_ADDR: `${dns.host}:${dns.port}`,
    SIDECAR_ADMIN_ADDR: `127.0.0.1:${adminPort}`,
    ...env,
  });
  return adminPort;
}

function startSidecar(processes, node, title, env) {
  const own = {
    SIDECAR_POD_NAME: fileName(`${title}-0`), // one name a sidecar, as pods have
    SIDECAR_CACHE_DIR: join(node.dataDir, fileName(title)),
  };
  return startEdge(processes, node, { title, args: ['sidecar'], env: { ...own, ...env } });
}

const fileName = (title) => title.replaceAll(/[^\w-]+/gu, '-');
