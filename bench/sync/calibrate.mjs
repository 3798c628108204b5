// Measures what syncing costs real processes: `edge apiserver` and `edge syncer` over TLS, with as many peers as one machine
// can play. One API server plays all peers: each is a name there, with its own connections.
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { EDGE_READY } from '../../scripts/demo/processes.mjs';
import { freePorts } from '../../scripts/demo/ports.mjs';
import { pause, until } from '../../scripts/demo/wait.mjs';
import { cpuSeconds, residentBytes } from '../usage.mjs';

const edge = join(import.meta.dirname, '../../dist/edge');
const ROUTERS = '/apis/edge.example.com/v1/routers';
const PEERS = 100;
/** All at once, for the cost of one to stand out of what the rest of a process does. */
const CHANGES_PER_SECOND = 50;
const SECONDS = 10;
const WATCHERS = 50;

/** The status of a Router with five services of two providers each, as sidecars make it. */
function status(beat) {
  const at = new Date(Date.UTC(2026, 0, 1) + beat * 1000).toISOString().replace('.000', '');
  const names = ['web', 'db', 'cache', 'queue', 'mail'];
  return {
    version: '0.1.0',
    startTime: '2026-01-01T00:00:00Z',
    lastHeartbeatTime: at,
    addresses: [{ type: 'InternalIP', address: '192.0.2.11' }],
    conditions: [{ type: 'Ready', status: 'True', reason: 'Serving', message: 'serving on 0.0.0.0:7000' }],
    traffic: { bytesIn: beat * 1000, bytesOut: beat * 2000, connections: beat },
    activeServices: names.map((name) => ({
      name,
      namespace: 'default',
      protocol: 'TCP',
      localPort: 7000,
      targetPort: 80,
      providers: ['a', 'b'].map((pod) => ({
        id: `${name}.default.pod-${pod}`,
        type: 'stcp',
        node: 'node-2',
        ready: true,
      })),
    })),
    clients: names.map((name) => ({
      id: `pod-a-${name}`,
      type: 'stcp',
      role: 'provider',
      remoteAddr: '192.0.2.12:51344',
      serviceName: `${name}.default`,
      connectedAt: '2026-01-01T00:00:00Z',
      bytesIn: beat,
      bytesOut: beat,
      version: '0.1.0',
    })),
  };
}

/** An `edge apiserver` with TLS, and an administrator of it. */
class Api {
  #agent = new Agent({ keepAlive: true, maxSockets: 32, rejectUnauthorized: false });

  constructor(processes, name) {
    Object.assign(this, { processes, name, dir: join(processes.dir, name) });
  }

  async start() {
    mkdirSync(this.dir, { mode: 0o700 });
    const tokens = join(this.dir, 'tokens.csv');
    writeFileSync(tokens, 'token,bench,1,edge:admin\n');
    [this.port] = await freePorts(1);
    const args = [
      'apiserver',
      '--node',
      this.name,
      '--data-dir',
      this.dir,
      '--listen',
      `127.0.0.1:${this.port}`,
    ];
    const entry = await this.processes.start({
      name: this.name,
      command: process.execPath,
      args: [edge, ...args, '--token-auth-file', tokens],
      ready: EDGE_READY,
    });
    this.pid = entry.child.pid;
    return this;
  }

  call(method, path, body, type = 'application/json') {
    return new Promise((resolve, reject) => {
      const headers = { authorization: 'Bearer token', 'content-type': type };
      const sent = request(
        { port: this.port, host: '127.0.0.1', method, path, headers, agent: this.#agent },
        (answer) => {
          const chunks = [];
          answer.on('data', (chunk) => chunks.push(chunk));
          answer.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            if (answer.statusCode < 300) resolve(JSON.parse(text));
            else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 200)}`));
          });
        },
      );
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async fill(names) {
    for (const name of names) {
      const spec = { frps: { bindPort: 7000 } };
      await this.call('POST', ROUTERS, {
        apiVersion: 'edge.example.com/v1',
        kind: 'Router',
        metadata: { name },
        spec,
      });
      await this.change(name, 0);
    }
  }

  change(name, beat) {
    return this.call(
      'PATCH',
      `${ROUTERS}/${name}/status`,
      { status: status(beat) },
      'application/merge-patch+json',
    );
  }

  /** Changes one after the other at the rate; resolves with how many were made. */
  async changeAll(names, seconds, from) {
    const made = [];
    const total = seconds * CHANGES_PER_SECOND;
    const startedAt = performance.now();
    for (let at = 0; at < total; at++) {
      const waitMs = startedAt + (at * 1000) / CHANGES_PER_SECOND - performance.now();
      if (waitMs > 0) await pause(waitMs);
      made.push(this.change(names[at % names.length], from + Math.floor(at / names.length)));
    }
    await Promise.all(made);
    return total;
  }

  /** A watch of all Routers that counts what it gets. */
  async watch() {
    const got = { events: 0, bytes: 0, end: undefined };
    await new Promise((resolve, reject) => {
      const headers = { authorization: 'Bearer token' };
      const path = `${ROUTERS}?watch=true`;
      const options = {
        port: this.port,
        host: '127.0.0.1',
        path,
        headers,
        agent: false,
        rejectUnauthorized: false,
      };
      const sent = request(options, (answer) => {
        answer.on('error', () => {});
        answer.on('data', (chunk) => {
          got.bytes += chunk.length;
          for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) got.events++;
        });
        resolve();
      });
      sent.on('error', reject);
      sent.end();
      got.end = () => sent.destroy();
    });
    return got;
  }
}

/** Counts bytes and connections on their way to a port. */
async function counter(port) {
  const count = { bytes: 0, open: 0, server: undefined, port: 0 };
  count.server = createServer((near) => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true });
    count.open++;
    near.setNoDelay(true);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from.on('data', (chunk) => {
        count.bytes += chunk.length;
        to.write(chunk);
      });
      from.on('error', () => {});
      from.on('close', () => to.destroy());
    }
    near.on('close', () => count.open--);
  });
  await new Promise((resolve) => count.server.listen(0, '127.0.0.1', resolve));
  count.port = count.server.address().port;
  return count;
}

/** What `work` takes: processor seconds of each of the processes, and bytes on the line. */
async function used(pids, line, work) {
  const before = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuSeconds([pid])]));
  const bytes = line?.bytes ?? 0;
  const result = await work();
  const cpu = Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => [name, cpuSeconds([pid]) - before[name]]),
  );
  return { cpu, bytes: (line?.bytes ?? 0) - bytes, result };
}

async function startSyncer(processes, title, local, from) {
  const args = ['syncer', '--node', local.name, '--data-dir', local.dir, ...from];
  const entry = await processes.start({
    name: title,
    command: process.execPath,
    args: [edge, ...args],
    ready: EDGE_READY,
  });
  return entry.child.pid;
}

async function mirrored(local, count) {
  await until(
    `${count} mirrors`,
    60_000,
    async () => (await local.call('GET', ROUTERS)).items.length >= count,
  );
  await pause(3000);
}

async function calibrateMesh(processes, report) {
  const farm = await new Api(processes, 'farm').start();
  const local = await new Api(processes, 'local').start();
  const names = Array.from({ length: PEERS }, (_, at) => `node-${at + 1000}`);
  await farm.fill(names);
  report('writes without readers');
  await farm.changeAll(names, 3, 10);
  const alone = await used({ farm: farm.pid }, undefined, () => farm.changeAll(names, SECONDS, 20));
  const rssBefore = residentBytes([farm.pid]);
  const line = await counter(farm.port);
  const peers = names.map((node) => ({
    node,
    server: `https://127.0.0.1:${line.port}`,
    kubeconfig: join(farm.dir, 'syncer.kubeconfig'),
  }));
  const file = join(local.dir, 'peers.yaml');
  writeFileSync(file, '{"peers": []}');
  const empty = await startSyncer(processes, 'empty syncer', local, ['--peers-file', file]);
  await pause(2000);
  const rssEmpty = residentBytes([empty]);
  await processes.crash('empty syncer');
  writeFileSync(file, JSON.stringify({ peers }));
  const syncer = await startSyncer(processes, 'mesh syncer', local, ['--peers-file', file]);
  await mirrored(local, PEERS);
  report(`${PEERS} peers at rest`);
  const pids = { farm: farm.pid, local: local.pid, syncer };
  const rest = await used(pids, line, () => pause(SECONDS * 1000));
  const connections = line.open / PEERS;
  report('status changes through the mesh');
  const busy = await used(pids, line, () => farm.changeAll(names, SECONDS, 100));
  const changes = busy.result;
  const rss = { syncer: residentBytes([syncer]), farm: residentBytes([farm.pid]) };
  line.server.close();
  for (const name of ['mesh syncer', 'farm', 'local']) await processes.crash(name);
  const perPeer = (seconds) => seconds / PEERS / SECONDS;
  const each = (name) => Math.max(0, busy.cpu[name] - rest.cpu[name]) / changes;
  return {
    connectionsPerPeer: connections,
    restBytes: rest.bytes / PEERS / SECONDS,
    restCpuSyncer: perPeer(rest.cpu.syncer),
    restCpuServer: perPeer(rest.cpu.farm),
    changeBytes: (busy.bytes - rest.bytes) / changes,
    changeCpuSyncer: each('syncer'),
    changeCpuLocal: each('local'),
    writeCpu: alone.cpu.farm / alone.result,
    deliverCpu: Math.max(0, each('farm') - alone.cpu.farm / alone.result),
    rssPerPeerSyncer: (rss.syncer - rssEmpty) / PEERS,
    rssPerPeerServer: (rss.farm - rssBefore) / PEERS,
    rssSyncer: rssEmpty,
    rssServer: rssBefore,
  };
}

async function calibrateHub(processes, report) {
  const hub = await new Api(processes, 'hub').start();
  const local = await new Api(processes, 'node-1').start();
  const names = Array.from({ length: PEERS }, (_, at) => `node-${at + 1000}`);
  await hub.fill(names);
  const line = await counter(hub.port);
  const file = join(local.dir, 'hub.kubeconfig');
  const text = readFileSync(join(hub.dir, 'admin.kubeconfig'), 'utf8');
  writeFileSync(file, text.replace(`127.0.0.1:${hub.port}`, `127.0.0.1:${line.port}`));
  const syncer = await startSyncer(processes, 'hub syncer', local, ['--hub', file]);
  await mirrored(local, PEERS);
  report('a node at rest at a hub');
  const pids = { hub: hub.pid, local: local.pid, syncer };
  const rest = await used(pids, line, () => pause(SECONDS * 1000));
  report('status changes through the hub');
  const busy = await used(pids, line, () => hub.changeAll(names, SECONDS, 100));
  report(`deliveries to ${WATCHERS} readers`);
  const rssBefore = residentBytes([hub.pid]);
  const watches = await Promise.all(Array.from({ length: WATCHERS }, () => hub.watch()));
  await pause(1000);
  const got = () => watches.reduce((sum, { events }) => sum + events, 0);
  const before = got();
  const wide = await used(pids, undefined, () => hub.changeAll(names, SECONDS, 500));
  const deliveries = got() - before;
  const rssPerWatch = (residentBytes([hub.pid]) - rssBefore) / WATCHERS;
  for (const { end } of watches) end();
  const connections = line.open;
  line.server.close();
  for (const name of ['hub syncer', 'hub', 'node-1']) await processes.crash(name);
  const each = (name) => Math.max(0, busy.cpu[name] - rest.cpu[name]) / busy.result;
  return {
    connections,
    restBytes: rest.bytes / SECONDS,
    restCpuSyncer: rest.cpu.syncer / SECONDS,
    changeBytes: (busy.bytes - rest.bytes) / busy.result,
    changeCpuSyncer: each('syncer'),
    changeCpuLocal: each('local'),
    deliverCpu: Math.max(0, wide.cpu.hub - busy.cpu.hub) / deliveries,
    rssPerWatch,
  };
}

/** Measures the costs; resolves with seconds of one processor, bytes, and connections. */
export async function calibrate(processes, report) {
  return { mesh: await calibrateMesh(processes, report), hub: await calibrateHub(processes, report) };
}
