/** HTTP servers for Hono applications: listen, close without losing requests; wraps @hono/node-server. */
import { createServer as createHttpServer } from 'node:http';
import type { Server, ServerOptions } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { ServerOptions as HttpsServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { EdgeError, errorCode, errorMessage } from './errors.ts';
import { formatHostPort } from './address.ts';

export { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';

/** A function that answers requests; a Hono app's `fetch`. `env` carries Node's own request and response. */
export type FetchHandler = (request: Request, env: unknown) => Response | Promise<Response>;

/** Where and how to listen. */
export interface HttpListenOptions {
  fetch: FetchHandler;
  /** A TCP address; port 0 picks a free one. */
  host?: string;
  port?: number;
  /** A unix socket instead. */
  path?: string;
  /** TLS when present. */
  tls?: HttpsServerOptions;
  http?: ServerOptions;
}

/** A server that listens. */
export interface HttpServer {
  readonly server: Server;
  /** The bound port; 0 on a unix socket. */
  readonly port: number;
  /** Stops accepting, waits up to `graceMs` for requests under way, then cuts what is left. */
  close(graceMs: number): Promise<void>;
}

/** Go clients keep idle connections for 90 s; a server that closes earlier resets their next request. */
const KEEP_ALIVE_MS = 120_000;
/** How often a closing server looks for connections that have become idle. */
const SWEEP_MS = 20;

/** Starts a server; rejects with EDGE_ERR_LISTEN that names the address. */
export async function listenHttp(options: HttpListenOptions): Promise<HttpServer> {
  // takes its own Request and Response for the global ones, which cost a large part of a small request
  const listener = getRequestListener(options.fetch, {
    hostname: 'localhost', // of requests that name no host: health probes in HTTP/1.0 do not
  });
  const http: ServerOptions = {
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: 15_000,
    // of receiving a request; how long the answer takes, a watch for instance, does not count
    requestTimeout: 60_000,
    connectionsCheckingInterval: 5000,
    maxHeaderSize: 32 * 1024,
    ...options.http,
  };
  const onRequest = (...args: Parameters<typeof listener>): void => void listener(...args);
  const server =
    options.tls === undefined
      ? createHttpServer(http, onRequest)
      : (createHttpsServer({ ...http, ...options.tls }, onRequest) as unknown as Server);
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const where = options.path ?? formatHostPort(options.host ?? '127.0.0.1', options.port ?? 0);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (err) => reject(listenError(where, err)));
    const done = () => resolve();
    if (options.path === undefined) server.listen(options.port ?? 0, options.host ?? '127.0.0.1', done);
    else server.listen(options.path, done);
  });
  server.removeAllListeners('error');
  server.on('error', () => {}); // accept errors (EMFILE) concern one connection, which Node has dropped
  const address = server.address();
  return {
    server,
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: (graceMs) => closeServer(server, sockets, graceMs),
  };
}

async function closeServer(server: Server, sockets: Set<Socket>, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  // close() looks for idle connections once; those that finish a request later would be kept alive until the cut
  server.closeIdleConnections();
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
  const cut = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, graceMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

/** The error of a failed listen, with what to do about it. */
export function listenError(where: string, err: unknown): EdgeError {
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program listens there; stop it or choose another port',
    EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE or root; choose a higher port',
    EADDRNOTAVAIL: 'the address must belong to this machine',
  };
  const code = errorCode(err) ?? '';
  const hint = hints[code];
  const reason = errorMessage(err).replace(`${where}: `, '');
  return new EdgeError('EDGE_ERR_LISTEN', `listen on ${where}: ${reason}`, {
    cause: err,
    retryable: true,
    ...(hint === undefined ? {} : { hint }),
  });
}
