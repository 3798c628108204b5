// Three nodes as real processes: node-a and node-b have a Router each, node-c consumes; joined as a mesh or by a hub.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { EDGE_READY } from '../../scripts/demo/processes.mjs';
import { freePorts } from '../../scripts/demo/ports.mjs';
import { until } from '../../scripts/demo/wait.mjs';
import { Line } from './line.mjs';
import { attempt } from './load.mjs';

const edge = join(import.meta.dirname, '../../dist/edge');
/** The policies of a sidecar that picks Routers; each has a consumer of its own. */
export const POLICIES = ['roundRobin', 'leastConnections', 'random', 'latency', 'sourceHash'];
const ROUTERS = '/apis/edge.example.com/v1/routers';

async function ask(port, method, path, body) {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** One world; `kind` is mesh or hub, `block` a number that keeps its addresses apart from other worlds'. */
export class World {
  /** Where each policy's consumer listens. */
  targets = [];
  #processes;
  #block;
  #ports = {};
  #lines = [];
  #services = {};
  #running = new Set();

  constructor(processes, kind, block) {
    this.kind = kind;
    this.#processes = processes;
    this.#block = block;
  }

  async start() {
    const names = ['node-a', 'node-b', 'node-c', ...(this.kind === 'hub' ? ['hub'] : [])];
    await Promise.all(names.map((name) => this.#startApiserver(name)));
    for (const name of ['node-a', 'node-b']) await this.#startRouter(name);
    await this.#startSyncers();
    for (const name of ['node-a', 'node-b']) this.#services[name] = await answering(name);
    [this.servicePort] = await freePorts(1);
    await this.setProviders({ 'node-a': 'node-a' });
    await Promise.all(POLICIES.map((policy, at) => this.#startConsumer(policy, at)));
    await this.settled('node-a');
  }

  stop() {
    for (const line of this.#lines) line.stop();
    for (const { server } of Object.values(this.#services)) server.close();
  }

  set delayMs(value) {
    for (const line of this.#lines) line.delayMs = value;
  }

  cut() {
    this.#lines.forEach((line) => line.cut());
  }

  heal() {
    this.#lines.forEach((line) => line.heal());
  }

  /** Starts the service's provider on a node. `routers` is where it registers, all that the node knows when empty. */
  async startProvider(name, routers) {
    this.#running.add(name);
    await this.#edge(`provider on ${name}`, ['sidecar', '--server', this.#url(name), '--node', name], {
      SIDECAR_EXPORTED_SERVICES: `web=127.0.0.1:${this.#services[name].port}`,
      SIDECAR_POD_NAME: `pod-${name}`,
      SIDECAR_ADMIN_ADDR: `127.0.0.1:${(await freePorts(1))[0]}`,
      SIDECAR_DNS_ADDR: `127.0.0.1:${(await freePorts(1))[0]}`,
      SIDECAR_CACHE_DIR: this.#dir(`cache-${name}`),
      ...(routers === '' ? {} : { SIDECAR_ROUTERS: routers }),
    });
    const at = routers === '' ? ['node-a', 'node-b'] : [routers];
    for (const router of at)
      await until(`${name} provides through ${router}`, 15_000, async () =>
        providersOf(await this.router(router, router)).some((id) => id.includes(`pod-${name}`)),
      );
  }

  /** Has these providers and no others: where each registers, by node. */
  async setProviders(wanted) {
    for (const name of ['node-a', 'node-b']) if (this.#running.has(name)) await this.stopProvider(name);
    for (const [name, routers] of Object.entries(wanted)) await this.startProvider(name, routers);
  }

  /** Kills the provider of a node. */
  async stopProvider(name) {
    this.#running.delete(name);
    await this.#crash(`provider on ${name}`);
  }

  async killRouter(name) {
    return this.#crash(`router on ${name}`);
  }

  async restartRouter(name) {
    await this.#startRouter(name);
  }

  /** The Router `router` as the API server of `name` has it. */
  router(name, router) {
    return ask(this.#ports[name], 'GET', `${ROUTERS}/${router}`);
  }

  /** The Routers that offer a ready provider, as the consumer's node knows it. */
  async known() {
    const found = await Promise.all(
      ['node-a', 'node-b'].map((name) => this.router('node-c', name).catch(() => ({}))),
    );
    return found
      .flatMap((object) => (providersOf(object).length > 0 ? [object.metadata.name] : []))
      .join(' ');
  }

  /** Whether the consumer's node has heard of both Routers lately. */
  async isFresh() {
    const found = await Promise.all(['node-a', 'node-b'].map((name) => this.router('node-c', name)));
    return found.every(({ status }) =>
      status?.conditions?.some(({ type, status: value }) => type === 'Synced' && value === 'True'),
    );
  }

  /** Waits until the consumer's node knows what is true: the service is at these Routers, and both are fresh. */
  async settled(routers) {
    await until(`${this.kind} knows ${routers}`, 30_000, async () => (await this.known()) === routers);
    await until(`${this.kind} answers`, 15_000, async () => (await this.#tryAll()).every(Boolean));
  }

  #tryAll() {
    return Promise.all(this.targets.map(({ host, port }) => tryOnce(host, port)));
  }

  #url(name) {
    return `http://127.0.0.1:${this.#ports[name]}`;
  }

  #dir(name) {
    const dir = join(this.#processes.dir, `${this.kind}-${name}`);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    return dir;
  }

  #edge(title, args, env = {}) {
    return this.#processes.start({
      name: `${this.kind}: ${title}`,
      command: process.execPath,
      args: [edge, ...args, '--drain-timeout', '1s'],
      env,
      ready: EDGE_READY,
      limitMs: 60_000,
    });
  }

  async #crash(title) {
    return this.#processes.crash(`${this.kind}: ${title}`);
  }

  async #startApiserver(name) {
    const [port] = await freePorts(1);
    this.#ports[name] = port;
    const args = ['--insecure-http', '--listen', `127.0.0.1:${port}`, '--node', name];
    await this.#edge(`apiserver on ${name}`, ['apiserver', '--data-dir', this.#dir(name), ...args]);
  }

  async #startRouter(name) {
    const port = this.#ports[name];
    const spec = { frps: { bindAddr: '127.0.0.1', bindPort: (await freePorts(1))[0] } };
    await ask(port, 'POST', ROUTERS, {
      apiVersion: 'edge.example.com/v1',
      kind: 'Router',
      metadata: { name },
      spec,
    }).catch(() => {}); // it is there after a restart
    const args = ['router', '--server', this.#url(name), '--node', name, '--advertise-address', '127.0.0.1'];
    await this.#edge(`router on ${name}`, [...args, '--data-dir', this.#dir(`router-${name}`)]);
    await until(`Router ${name}`, 15_000, async () => {
      const { status } = await this.router(name, name);
      return status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
    });
  }

  /** Only the lines to the consumer's syncer are slow or cut; the others are as fast as the machine. */
  async #startSyncers() {
    const line = async (name) => {
      const made = await new Line().start(this.#ports[name]);
      this.#lines.push(made);
      return `http://127.0.0.1:${made.port}`;
    };
    const all = ['node-a', 'node-b', 'node-c'];
    const slow =
      this.kind === 'hub'
        ? { hub: await line('hub') }
        : { 'node-a': await line('node-a'), 'node-b': await line('node-b') };
    for (const name of all) {
      const url = (to) => (name === 'node-c' ? slow[to] : this.#url(to));
      const dir = this.#dir(name);
      let from;
      if (this.kind === 'hub') {
        const file = join(dir, 'hub.kubeconfig');
        const cluster = { server: url('hub') };
        writeFileSync(
          file,
          JSON.stringify({
            'current-context': 'hub',
            clusters: [{ name: 'hub', cluster }],
            users: [],
            contexts: [{ name: 'hub', context: { cluster: 'hub' } }],
          }),
        );
        from = ['--hub', file];
      } else {
        const peers = all.filter((each) => each !== name && each !== 'node-c');
        from = ['--peers', peers.map((each) => `${each}=${url(each)}`).join(',')];
      }
      await this.#edge(`syncer on ${name}`, [
        'syncer',
        '--server',
        this.#url(name),
        '--node',
        name,
        '--data-dir',
        dir,
        ...from,
      ]);
    }
  }

  async #startConsumer(policy, at) {
    const [admin, dns] = await freePorts(2);
    await this.#edge(`consumer ${policy}`, ['sidecar', '--server', this.#url('node-c'), '--node', 'node-c'], {
      SIDECAR_MAPPED_SERVICES: `web:${this.servicePort}`,
      SIDECAR_LB_POLICY: policy,
      SIDECAR_POD_NAME: `consumer-${policy.toLowerCase()}`,
      SIDECAR_IP_RANGE: `127.77.${this.#block * 16 + at}.0/28`,
      SIDECAR_ADMIN_ADDR: `127.0.0.1:${admin}`,
      SIDECAR_DNS_ADDR: `127.0.0.1:${dns}`,
      SIDECAR_CACHE_DIR: this.#dir(`consumer-${policy}`),
    });
    const host = await until(`consumer ${policy} listens`, 15_000, async () => {
      const answer = await fetch(`http://127.0.0.1:${admin}/status`);
      return (await answer.json()).services.find(({ state }) => state === 'ready')?.address;
    });
    this.targets[at] = { policy, host, port: this.servicePort };
  }
}

function providersOf({ status }) {
  const services = status?.activeServices ?? [];
  return services.flatMap(({ providers }) =>
    (providers ?? []).filter(({ ready }) => ready !== false).map(({ id }) => id),
  );
}

/** A service that says its node's name and hangs up. */
async function answering(name) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(name);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, port: server.address().port };
}

async function tryOnce(host, port) {
  return (await attempt(host, port, '127.0.0.1', 3000)).isAnswered;
}
