/** A node for sidecar tests: apiserver, Router and sidecars as processes on free ports of loopback. */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { API_VERSION, ROUTERS } from '../../src/api/edge.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import type { ApiClient } from '../../src/apiclient/client.ts';
import type { SidecarStatus } from '../../src/sidecar/status.ts';
import { startEdge, startEdgeReady } from './edge-process.ts';
import { freePorts } from './ports.ts';
import type { TestProcess } from './processes.ts';
import { tempDir } from './temp-dir.ts';
import type { Cleanup } from './temp-dir.ts';
import { PATIENCE_MS } from './wait.ts';

/** A node's programs; restart them with the same ports and directories. */
export interface Node {
  readonly name: string;
  /** Where the API server is. */
  readonly server: string;
  readonly client: ApiClient;
  readonly apiserver: TestProcess;
  startApiserver(): Promise<TestProcess>;
  /** Creates a Router object; `name` differs from the node's for a second Router. */
  createRouter(name: string): Promise<void>;
  /** Starts a Router that tells sidecars to dial `address`, 127.0.0.1 unless given. */
  startRouter(name: string, address?: string, env?: Record<string, string>): TestProcess;
  /** Starts a sidecar whose admin surface is up; its DNS is on a free port. */
  startSidecar(pod: string, env: Record<string, string>, command?: readonly string[]): Promise<Sidecar>;
}

/** A sidecar under test. */
export interface Sidecar {
  readonly process: TestProcess;
  readonly cacheDir: string;
  /** The URL of its admin surface. */
  readonly admin: string;
  status(): Promise<SidecarStatus>;
  /** Asks the admin surface. */
  get(path: string): Promise<{ status: number; text: string }>;
  /** Waits until the status meets a condition. */
  until<T>(
    condition: (status: SidecarStatus) => T,
    what: string,
    timeoutMs?: number,
  ): Promise<NonNullable<T>>;
  /** The first A record of a name, or the answer code when there is none. */
  resolve(name: string): Promise<string>;
}

/** Starts a node's apiserver and gives the means to start the rest. */
export async function startNode(t: Cleanup & { passed?: boolean }, name = 'node-1'): Promise<Node> {
  const dataDir = tempDir(t);
  const [apiPort = 0] = await freePorts(1);
  const server = `http://127.0.0.1:${apiPort}`;
  const client = createApiClient({ server });
  t.after(() => client.close());
  const startApiserver = (): Promise<TestProcess> =>
    startEdgeReady(t, [
      'apiserver',
      '--data-dir',
      dataDir,
      '--insecure-http',
      '--listen',
      `127.0.0.1:${apiPort}`,
      '--node',
      name,
    ]);
  const apiserver = await startApiserver();
  return {
    name,
    server,
    client,
    apiserver,
    startApiserver,
    async createRouter(router) {
      const [bindPort = 0] = await freePorts(1);
      await client.create(ROUTERS, {
        apiVersion: API_VERSION,
        kind: 'Router',
        metadata: { name: router },
        spec: { frps: { bindAddr: '127.0.0.1', bindPort } },
      });
    },
    startRouter: (router, address = '127.0.0.1', env = {}) =>
      startEdge(
        t,
        [
          'router',
          '--data-dir',
          dataDir,
          '--server',
          server,
          '--node',
          router,
          '--advertise-address',
          address,
        ],
        { env, name: `router ${router}` },
      ),
    startSidecar: (pod, env, command = []) =>
      startSidecarOf(t, ['--server', server], name, pod, env, command),
  };
}

/**
 * Starts a sidecar of a node that reaches its API server by `access`, and waits for its admin surface. Its connections
 * wait for a provider as long as tests wait for anything, since on a busy machine one takes seconds to start.
 */
export async function startSidecarOf(
  t: Cleanup & { passed?: boolean },
  access: readonly string[],
  node: string,
  pod: string,
  env: Record<string, string>,
  command: readonly string[] = [],
): Promise<Sidecar> {
  const cacheDir = env['SIDECAR_CACHE_DIR'] ?? tempDir(t);
  const [adminPort = 0] = await freePorts(1);
  const process = startEdge(t, ['sidecar', ...access, ...(command.length === 0 ? [] : ['--', ...command])], {
    env: {
      EDGE_NODE_NAME: node,
      SIDECAR_POD_NAME: pod,
      SIDECAR_DNS_ADDR: '127.0.0.2:0',
      SIDECAR_ADMIN_ADDR: `127.0.0.1:${adminPort}`,
      SIDECAR_CACHE_DIR: cacheDir,
      SIDECAR_PARK_TIMEOUT: `${PATIENCE_MS}ms`,
      ...env,
    },
    name: `sidecar ${pod}`,
  });
  return waitForAdmin(process, cacheDir, adminPort);
}

async function waitForAdmin(process: TestProcess, cacheDir: string, adminPort: number): Promise<Sidecar> {
  await process.waitForHttp(`http://127.0.0.1:${adminPort}/healthz`);
  const get: Sidecar['get'] = async (path) => {
    const answer = await fetch(`http://127.0.0.1:${adminPort}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const status = async (): Promise<SidecarStatus> => JSON.parse((await get('/status')).text) as SidecarStatus;
  return {
    process,
    cacheDir,
    admin: `http://127.0.0.1:${adminPort}`,
    get,
    status,
    until: (condition, what, timeoutMs) =>
      process.waitFor(async () => condition(await status()), what, timeoutMs),
    async resolve(name) {
      const { dns } = await status();
      const port = Number(dns?.address.split(':')[1]);
      return askA(name, '127.0.0.2', port);
    },
  };
}

/** Asks for an A record over UDP; the address, or `rcode N`. */
async function askA(name: string, host: string, port: number): Promise<string> {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const query = Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
  const socket = createSocket('udp4');
  try {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      socket.once('message', resolve);
      socket.once('error', reject);
      socket.send(query, port, host);
      setTimeout(() => reject(new Error(`no DNS answer for ${name}`)), PATIENCE_MS).unref();
    });
    const count = answer.readUInt16BE(6);
    return count === 0
      ? `rcode ${(answer[3] ?? 0) & 15}`
      : answer.subarray(query.length + 12, query.length + 16).join('.');
  } finally {
    socket.close();
  }
}

/** Sends a request over a new connection, half-closes, and gives all that comes back; rejects after a reset. */
export function exchange(host: string, port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
    socket.end(request);
  });
}

/** Where a mapped service listens, once it is ready. */
export async function whenServed(sidecar: Sidecar, name: string): Promise<{ address: string; port: number }> {
  return sidecar.until(({ services }) => {
    const service = services.find((each) => each.name === name && each.state === 'ready');
    const port = service?.ports[0]?.port;
    return service === undefined || port === undefined ? undefined : { address: service.address, port };
  }, `service ${name} ready`);
}
