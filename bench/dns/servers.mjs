// The DNS servers that are compared, each with the same names: a sidecar, dnsmasq, CoreDNS where it is installed.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../../scripts/demo/ports.mjs';
import { EDGE_READY } from '../../scripts/demo/processes.mjs';

const root = join(import.meta.dirname, '../..');
const HOST = '127.0.0.1';
/** Second byte of the first sidecar's addresses; each has a range of its own, since a service has the same address in all. */
const FIRST_RANGE = 64;
/** Enough for all names that are asked for; dnsmasq's own default is 150. */
const CACHE_ENTRIES = 10_000;
const DNSMASQ_READY = /started, /u;

/** The name of mapped service `index`, as a pod asks for it. */
export const mappedName = (index) => `svc${index}.default.svc.cluster.local`;
/** A name that only the upstream knows. */
export const outerName = (index) => `host${index}.example.org`;

const range = (count, make) => Array.from({ length: count }, (_, index) => make(index));
const address = (index) => `127.64.${index >> 8}.${index & 255}`;

/** Starts what answers the names that are not mapped, with TTLs that outlast the run; resolves with its port. */
export async function startUpstream(processes, count) {
  const [port] = await freePorts(1);
  const hosts = join(processes.dir, 'upstream.hosts');
  writeFileSync(hosts, range(count, (index) => `192.0.2.1 ${outerName(index)}\n`).join(''));
  await startDnsmasq(processes, 'upstream', port, ['--addn-hosts', hosts, '--local-ttl=86400']);
  return port;
}

/** Starts the API server that the sidecars look for Routers in; it has none. Resolves with its kubeconfig. */
export async function startApiServer(processes) {
  const [port] = await freePorts(1);
  const dataDir = join(processes.dir, 'apiserver');
  await processes.start({
    name: 'apiserver',
    command: process.execPath,
    args: [join(root, 'dist/edge'), 'apiserver', '--listen', `${HOST}:${port}`, '--data-dir', dataDir],
    ready: EDGE_READY,
  });
  return join(dataDir, 'sidecar.kubeconfig');
}

/** Starts a sidecar with `count` mapped services; they need no Router to have names. */
export async function startEdge(processes, count, upstreamPort, apiServer, serial) {
  const [port] = await freePorts(1);
  const name = `edge, ${count}`;
  const config = join(processes.dir, `edge-${count}.yaml`);
  writeFileSync(config, `mappedServices:\n${range(count, (index) => `  - svc${index}:3306\n`).join('')}`);
  const settings = {
    config,
    kubeconfig: apiServer,
    'ip-range': `127.${FIRST_RANGE + serial}.0.0/16`,
    'dns-addr': `${HOST}:${port}`,
    'dns-upstream': `${HOST}:${upstreamPort}`,
    'admin-addr': 'off',
    'data-dir': join(processes.dir, `edge-${count}`),
  };
  const args = Object.entries(settings).flatMap(([flag, value]) => [`--${flag}`, value]);
  await processes.start({
    name,
    command: process.execPath,
    args: [join(root, 'dist/edge'), 'sidecar', ...args],
    ready: EDGE_READY,
    limitMs: 60_000,
  });
  return { name: 'edge', port, pids: processes.pids(name) };
}

/** Starts dnsmasq with `count` names from a hosts file. */
export async function startDnsmasqServer(processes, count, upstreamPort) {
  const [port] = await freePorts(1);
  const hosts = join(processes.dir, `dnsmasq-${count}.hosts`);
  writeFileSync(hosts, range(count, (index) => `${address(index)} ${mappedName(index)}\n`).join(''));
  const name = `dnsmasq, ${count}`;
  const args = ['--addn-hosts', hosts, '--local-ttl=5', `--server=${HOST}#${upstreamPort}`];
  await startDnsmasq(processes, name, port, [...args, `--cache-size=${CACHE_ENTRIES}`]);
  return { name: 'dnsmasq', port, pids: processes.pids(name) };
}

async function startDnsmasq(processes, name, port, args) {
  const common = ['-k', '-C', '/dev/null', '--log-facility=-', '--user=', '--no-resolv', '--no-hosts'];
  await processes.start({
    name,
    command: 'dnsmasq',
    args: [...common, '--bind-interfaces', '-a', HOST, '-p', String(port), ...args],
    ready: DNSMASQ_READY,
  });
}

/** Starts CoreDNS with `count` names from a hosts file. */
export async function startCoreDns(processes, count, upstreamPort) {
  const [port] = await freePorts(1);
  const hosts = join(processes.dir, `coredns-${count}.hosts`);
  writeFileSync(hosts, range(count, (index) => `${address(index)} ${mappedName(index)}\n`).join(''));
  const file = join(processes.dir, `coredns-${count}.conf`);
  writeFileSync(
    file,
    `.:${port} {
  bind ${HOST}
  hosts ${hosts} {
    ttl 5
    fallthrough
  }
  cache {
    success ${CACHE_ENTRIES} 86400
  }
  forward . ${HOST}:${upstreamPort}
}
`,
  );
  const name = `coredns, ${count}`;
  await processes.start({ name, command: 'coredns', args: ['-conf', file], ready: /CoreDNS-/u });
  return { name: 'CoreDNS', port, pids: processes.pids(name) };
}

/** Starts the bare datagram socket. */
export async function startEcho(processes) {
  const [port] = await freePorts(1);
  await processes.start({
    name: 'echo',
    command: process.execPath,
    args: [join(import.meta.dirname, 'echo.mjs'), HOST, String(port)],
    ready: /ready/u,
  });
  return { name: 'bare dgram echo', port, pids: processes.pids('echo') };
}
