/** Two clouds and two nodes behind NAT, each a host of its own, with edge's programs on them; more nodes where a test wants more. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Router } from '../../src/api/gen/types.ts';
import { ROUTERS } from '../../src/api/edge.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import { CLEAN_ENV, edgePath } from './edge-process.ts';
import { startInternet } from './netns.ts';
import type { Host, Internet, Site } from './netns.ts';
import type { ProcessResult, TestLike, TestProcess } from './processes.ts';
import { waitFor } from './wait.ts';

/** A host with an API server, which is also read from outside its namespace. */
export interface EdgeHost<H extends Host = Host> {
  readonly name: string;
  readonly host: H;
  readonly dir: string;
  /** The API server; replaced by startApiserver. */
  apiserver: TestProcess;
  startApiserver(): Promise<void>;
  /** Starts `edge ARGS…` on the host. */
  edge(args: readonly string[], env?: Record<string, string>): TestProcess;
  /** Runs `edge ctl ARGS…` on the host as admin. */
  ctl(args: readonly string[], input?: string): Promise<ProcessResult>;
  /** A Router as this host's API server has it now; undefined when it has none. */
  router(name: string): Promise<Router | undefined>;
}

/** A node behind NAT. */
export interface Node extends EdgeHost<Site> {
  /** The syncer; replaced by startSyncer. */
  syncer: TestProcess;
  startSyncer(): void;
  /** The sidecar with the node's services; replaced by startSidecar. */
  sidecar: TestProcess;
  startSidecar(): void;
}

/** Everything that runs. */
export interface World {
  readonly clouds: readonly [Cloud, Cloud];
  readonly consumer: Node;
  /** The first provider. */
  readonly provider: Node;
  /** All of them, with sidecars that export the same services. */
  readonly providers: readonly [Node, ...Node[]];
}

/** A public host with a Router. */
export interface Cloud extends EdgeHost {
  /** The Router; replaced by startRouter. */
  process: TestProcess;
  startRouter(): Promise<void>;
}

/** Which services there are, in the words of the sidecar's variables. */
export interface WorldOptions {
  exported: string;
  mapped: string;
  /** How many nodes export them; 1 when absent. */
  providers?: number;
  /** Where the consumer's sidecar asks for other names; an address where nobody is when absent. */
  upstream?: (cloud: Host) => string;
}

/** Everything of edge must be up within this time, milliseconds; long, because the machine may be busy. */
export const START_TIMEOUT_MS = 60_000;
const READY_LINE = /^\S+ INFO {2}ready(?: |$)/u;
const TOKEN = 'example-token';
/** TEST-NET-1 of RFC 5737: a question sent there is never answered. */
const NOWHERE = '192.0.2.53';

/** Starts the hosts and edge on them; resolves when all nodes mirror both clouds' Routers. */
export async function startWorld(t: TestLike, dir: string, options: WorldOptions): Promise<World> {
  const internet = startInternet(t);
  const clouds = await Promise.all([
    startCloud(t, internet, 'cloud-1', dir),
    startCloud(t, internet, 'cloud-2', dir),
  ]);
  const upstream = options.upstream?.(clouds[0].host) ?? NOWHERE;
  const provider = (at: number): Promise<Node> =>
    startNode(t, internet, `node-${at + 2}`, dir, clouds, { SIDECAR_EXPORTED_SERVICES: options.exported });
  const [consumer, ...providers] = await Promise.all([
    startNode(t, internet, 'node-1', dir, clouds, {
      SIDECAR_MAPPED_SERVICES: options.mapped,
      SIDECAR_DNS_UPSTREAM: upstream,
    }),
    ...Array.from({ length: options.providers ?? 1 }, (_, at) => provider(at)),
  ]);
  const [first] = providers;
  if (first === undefined) throw new Error('a world needs a provider');
  await Promise.all(
    [consumer, ...providers].flatMap((on) => clouds.map((each) => untilSynced(on, each.name, 'True'))),
  );
  return { clouds, consumer, provider: first, providers: [first, ...providers.slice(1)] };
}

async function startCloud(t: TestLike, internet: Internet, name: string, dir: string): Promise<Cloud> {
  const base = await startEdgeHost(t, name, internet.addHost(name), join(dir, name));
  const spec = { frps: { bindPort: 7000, auth: { method: 'token' } } };
  const object = { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name }, spec };
  const applied = await base.ctl(['apply', '-f', '-'], JSON.stringify(object));
  if (applied.status !== 0) throw new Error(`edge ctl apply on ${name}: ${applied.stderr}`);
  const args = ['router', '--node', name, '--advertise-address', base.host.address];
  const start = async (): Promise<TestProcess> => {
    const router = base.edge(args, { EDGE_ROUTER_TOKEN: TOKEN });
    await router.waitForLine(READY_LINE, START_TIMEOUT_MS);
    return router;
  };
  const cloud: Cloud = Object.assign(base, {
    process: await start(),
    async startRouter() {
      cloud.process = await start();
    },
  });
  return cloud;
}

async function startNode(
  t: TestLike,
  internet: Internet,
  name: string,
  dir: string,
  clouds: readonly Cloud[],
  services: Record<string, string>,
): Promise<Node> {
  const base = await startEdgeHost(t, name, internet.addSite(name), join(dir, name));
  const peers = clouds.map((each) => ({
    node: each.name,
    server: `https://${each.host.address}:7443`,
    kubeconfig: join(each.dir, 'syncer.kubeconfig'),
  }));
  writeFileSync(join(base.dir, 'peers.yaml'), JSON.stringify({ peers }));
  const startSyncer = (): TestProcess =>
    base.edge(['syncer', '--node', name, '--peers-file', join(base.dir, 'peers.yaml')]);
  const env = {
    SIDECAR_POD_NAME: name,
    SIDECAR_SECRET_KEY: 'example-secret',
    SIDECAR_DNS_UPSTREAM: NOWHERE,
    EDGE_ROUTER_TOKEN: TOKEN,
    ...services,
  };
  const startSidecar = (): TestProcess => base.edge(['sidecar', '--node', name], env);
  const node: Node = Object.assign(base, {
    syncer: startSyncer(),
    startSyncer() {
      node.syncer = startSyncer();
    },
    sidecar: startSidecar(),
    startSidecar() {
      node.sidecar = startSidecar();
    },
  });
  return node;
}

/** Waits until a host's mirror of a Router has the condition Synced with this status. */
export async function untilSynced(
  on: EdgeHost,
  name: string,
  status: 'True' | 'False',
  timeoutMs = START_TIMEOUT_MS,
): Promise<Router> {
  const mirror = async (): Promise<Router | undefined> => {
    const router = await on.router(name);
    const synced = router?.status?.conditions?.find(({ type }) => type === 'Synced');
    return synced?.status === status ? router : undefined;
  };
  return waitFor(mirror, { what: `${name} on ${on.name} has Synced=${status}`, timeoutMs, intervalMs: 100 });
}

async function startEdgeHost<H extends Host>(
  t: TestLike,
  name: string,
  host: H,
  dir: string,
): Promise<EdgeHost<H>> {
  mkdirSync(dir, { recursive: true });
  const socket = join(dir, 'api.sock'); // a path is the same in every network namespace
  const client = createApiClient({ server: `unix://${socket}` });
  t.after(() => client.close());
  const edge = (args: readonly string[], env: Record<string, string> = {}): TestProcess =>
    host.start(t, [process.execPath, edgePath(), ...args, '--data-dir', dir], {
      env: { ...CLEAN_ENV, ...env },
      name: `edge ${args[0] ?? ''} on ${name}`,
    });
  const startApiserver = async (): Promise<TestProcess> => {
    const listen = ['127.0.0.1', host.address].flatMap((address) => ['--listen', `${address}:7443`]);
    const apiserver = edge(['apiserver', '--node', name, '--socket', socket, ...listen]);
    await apiserver.waitForLine(READY_LINE, START_TIMEOUT_MS);
    return apiserver;
  };
  const result: EdgeHost<H> = {
    name,
    host,
    dir,
    apiserver: await startApiserver(),
    async startApiserver() {
      result.apiserver = await startApiserver();
    },
    edge,
    ctl: (args, input) =>
      host.run(
        [process.execPath, edgePath(), 'ctl', '--kubeconfig', join(dir, 'admin.kubeconfig'), ...args],
        {
          env: CLEAN_ENV,
          timeoutMs: START_TIMEOUT_MS,
          ...(input === undefined ? {} : { input }),
        },
      ),
    async router(wanted) {
      const list = await client.list<Router>(ROUTERS, { fieldSelector: `metadata.name=${wanted}` });
      return list.items[0];
    },
  };
  return result;
}
