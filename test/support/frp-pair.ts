/** A tunnel server on loopback and clients of it, in process, cleaned up with the test. */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { createFrpClient } from '../../src/tunnel/frpc/client.ts';
import type {
  FrpClient,
  FrpClientConfig,
  ProxyDefinition,
  VisitorRequest,
} from '../../src/tunnel/frpc/types.ts';
import { createFrpServer } from '../../src/tunnel/frps/server.ts';
import type { FrpServer, FrpServerConfig, FrpServerHooks } from '../../src/tunnel/frps/types.ts';
import { relay } from '../../src/tunnel/relay.ts';
import { socketStream } from '../../src/tunnel/socket-stream.ts';
import { QUIET_PORTS } from './ports.ts';
import { waitFor } from './wait.ts';

/** What of a test context is needed here. */
export interface Cleanup {
  after(fn: () => void | Promise<void>): void;
}

/** A configuration that suits tests: loopback, free ports, the token `secret`. */
export const SERVER_CONFIG: FrpServerConfig = {
  bindAddr: '127.0.0.1',
  bindPort: 0,
  socketPath: undefined,
  proxyBindAddr: '127.0.0.1',
  allowPorts: [QUIET_PORTS],
  maxPortsPerClient: 0,
  userConnTimeoutMs: 10_000,
  udpPacketSize: 1500,
  token: 'secret',
  additionalScopes: [],
  keepaliveMs: 30_000,
  heartbeatTimeoutMs: -1,
  maxPoolCount: 5,
  tls: { force: false, cert: undefined, key: undefined, clientCa: undefined },
  limits: {
    loginTimeoutMs: 10_000,
    maxPendingConnections: 1000,
    maxSessions: 1000,
    maxStreamsPerSession: 16_384,
    maxUnidentifiedStreams: 8192,
    maxWindowBytes: 6 * 1024 * 1024,
    maxQueuedBytes: 1024 * 1024 * 1024,
    maxProxiesPerSession: 1000,
    maxQueuedVisitors: 1024,
  },
};

const deps = { clock: systemClock, random: Math.random, log: silentLogger };

/** Starts a server; stopped after the test. */
export async function startServer(
  t: Cleanup,
  changes: Partial<FrpServerConfig> = {},
  hooks: FrpServerHooks = {},
): Promise<FrpServer> {
  const server = createFrpServer({ ...SERVER_CONFIG, ...changes }, hooks, deps);
  await server.start();
  t.after(() => server.stop(0));
  return server;
}

/** Creates a client of a port on loopback; stopped after the test. */
export function createClient(t: Cleanup, port: number, changes: Partial<FrpClientConfig> = {}): FrpClient {
  const client = createFrpClient(
    {
      server: { host: '127.0.0.1', port },
      token: 'secret',
      user: '',
      clientId: '',
      metas: {},
      poolCount: 1,
      tls: undefined,
      tcpMux: true,
      keepaliveMs: 30_000,
      additionalScopes: [],
      ...changes,
    },
    deps,
  );
  t.after(() => client.stop());
  return client;
}

/** Starts a client and waits until it is online. */
export async function startClient(
  t: Cleanup,
  port: number,
  changes: Partial<FrpClientConfig> = {},
): Promise<FrpClient> {
  const client = createClient(t, port, changes);
  client.start();
  await waitFor(() => client.phase === 'online', { what: 'client online' });
  return client;
}

/** Registers an stcp proxy that leads to a TCP port on loopback, and waits until it runs. */
export async function publish(
  client: FrpClient,
  port: number,
  changes: Partial<ProxyDefinition> = {},
): Promise<void> {
  const proxy = client.addProxy({
    name: 'web.default.pod',
    type: 'stcp',
    secretKey: 'key',
    onConnection: ({ stream }) => {
      relay(stream, socketStream(connect({ port, host: '127.0.0.1', allowHalfOpen: true })), {
        clock: systemClock,
      });
    },
    ...changes,
  });
  await waitFor(() => proxy.phase === 'running', { what: 'proxy running' });
}

/** Listens on loopback and carries each connection to a visitor; answers the port. */
export function listenVisitor(
  t: Cleanup,
  client: FrpClient,
  changes: Partial<VisitorRequest> = {},
): Promise<number> {
  return listenTcp(t, (socket) => {
    client.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key', ...changes }).then(
      (stream) => relay(socketStream(socket), stream, { clock: systemClock }),
      () => socket.destroy(),
    );
  });
}

/** Listens on a free loopback port. Sockets allow half-open connections and begin paused. */
export async function listenTcp(t: Cleanup, onSocket: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {}); // tests look at what the other side sees
    onSocket(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** Everything a TCP service sends until it closes, after `request` was sent and the sending half shut down. */
export function ask(port: number, request: string | Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without an end')));
    socket.end(request);
  });
}
