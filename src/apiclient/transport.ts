/** HTTP to one API server over TCP, TLS or a unix socket: pooled connections, bounded answers, errors in words. */
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { RequestOptions as HttpsRequestOptions } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import { EdgeError, errorCode } from '../lib/errors.ts';
import { connectionError, timeoutError } from './errors.ts';
import type { ClusterAccess } from './kubeconfig.ts';

/** Idle time before the kernel probes a silent connection; with its own defaults a dead path shows after minutes only. */
const TCP_KEEP_ALIVE_MS = 5000;
/** Idle pooled connections; more are closed once their answer is read. */
const MAX_IDLE_SOCKETS = 4;

/** The end of a pooled connection that the server had closed meanwhile: nothing was answered, so a read may go again. */
const STALE = new Error('the pooled connection was closed');

/** A request as the transport sends it. */
export interface TransportRequest {
  method: string;
  /** Path and query, percent-encoded. */
  path: string;
  headers?: Readonly<Record<string, string>>;
  body?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Limit for the start of the answer, milliseconds. */
  timeoutMs: number;
  /** Uses a connection of its own, so that a dead pooled one is not waited for. */
  isFresh?: boolean;
}

/** An answer whose body is still to be read; the reader owns `body` and must consume or destroy it. */
export interface TransportAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: IncomingMessage;
}

/** Sends requests with one set of credentials. */
export interface Transport {
  readonly access: ClusterAccess;
  /** Whether nothing is under way. */
  readonly isIdle: boolean;
  send(request: TransportRequest): Promise<TransportAnswer>;
  /** Drops idle connections and keeps no more; what is under way goes on. */
  retire(): void;
  /** Drops idle connections and everything under way. */
  close(): void;
}

/** Creates the transport of one access. */
export function createTransport(access: ClusterAccess): Transport {
  const isUnix = access.server.startsWith('unix://');
  const url = isUnix ? undefined : new URL(access.server);
  const isTls = url?.protocol === 'https:';
  const prefix = url === undefined ? '' : url.pathname.replace(/\/+$/u, '');
  const pool = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MS, maxFreeSockets: MAX_IDLE_SOCKETS };
  const agent = isTls ? new HttpsAgent(pool) : new HttpAgent(pool);
  const target: RequestOptions =
    url === undefined
      ? { socketPath: decodeURIComponent(access.server.slice('unix://'.length)) }
      : {
          hostname: url.hostname.replace(/^\[|\]$/gu, ''),
          port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
        };
  let tls: TlsOptions | undefined;
  const open = new Set<ClientRequest>();
  let isClosed = false;

  const start = (request: TransportRequest): ClientRequest => {
    const headers: Record<string, string | number> = { host: url?.host ?? 'localhost', ...request.headers };
    if (access.token !== undefined) headers['authorization'] = `Bearer ${access.token}`;
    if (request.body !== undefined) headers['content-length'] = Buffer.byteLength(request.body);
    tls ??= isTls ? tlsOptions(access) : {};
    const options: HttpsRequestOptions & TlsOptions = {
      ...target,
      ...tls,
      method: request.method,
      path: prefix + request.path,
      headers,
      agent: request.isFresh === true ? false : agent,
      maxHeaderSize: 64 * 1024,
    };
    return isTls ? httpsRequest(options) : httpRequest(options);
  };

  const attempt = (request: TransportRequest): Promise<TransportAnswer> =>
    new Promise((resolve, reject) => {
      if (isClosed || request.signal?.aborted === true) {
        reject(abortedError());
        return;
      }
      let client: ClientRequest;
      try {
        client = start(request);
      } catch (err) {
        reject(connectionError(access.server, err)); // an unreadable PEM block shows here
        return;
      }
      open.add(client);
      const timer = setTimeout(
        () => client.destroy(timeoutError(access.server, request.timeoutMs)),
        request.timeoutMs,
      );
      const onAbort = (): void => void client.destroy(abortedError());
      request.signal?.addEventListener('abort', onAbort, { once: true });
      client.on('socket', (socket) => socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS));
      client.on('response', (body) => {
        clearTimeout(timer);
        body.on('error', () => {}); // readers see it too; without one it must not end the process
        resolve({ status: body.statusCode ?? 0, headers: body.headers, body });
      });
      client.on('error', (err) => {
        const isStale = client.reusedSocket && errorCode(err) === 'ECONNRESET' && request.method === 'GET';
        reject(isStale ? STALE : connectionError(access.server, err));
      });
      client.on('close', () => {
        clearTimeout(timer);
        request.signal?.removeEventListener('abort', onAbort);
        open.delete(client);
        // after a response this is too late to matter; before one it is the only sign of some early closes
        reject(
          connectionError(
            access.server,
            Object.assign(new Error('connection closed'), { code: 'ECONNRESET' }),
          ),
        );
      });
      client.end(request.body);
    });

  return {
    access,
    get isIdle() {
      return open.size === 0;
    },
    async send(request) {
      try {
        return await attempt(request);
      } catch (err) {
        if (err !== STALE) throw err;
        return attempt({ ...request, isFresh: true });
      }
    },
    retire() {
      agent.maxFreeSockets = 0;
      for (const sockets of Object.values(agent.freeSockets))
        for (const socket of sockets ?? []) socket.destroy();
    },
    close() {
      isClosed = true;
      for (const client of open) client.destroy(abortedError());
      agent.destroy();
    },
  };
}

/** What https hands on to tls. */
type TlsOptions = Pick<ConnectionOptions, 'secureContext' | 'servername' | 'rejectUnauthorized'>;

/** One context serves all connections: made anew for each it costs a millisecond and tens of KiB every time. */
function tlsOptions(access: ClusterAccess): TlsOptions {
  const { ca, cert, key } = access;
  const secureContext = createSecureContext({
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
  return {
    secureContext,
    ...(access.serverName === undefined ? {} : { servername: access.serverName }),
    rejectUnauthorized: access.insecureSkipVerify !== true,
  };
}

/** The error of a call that its caller gave up. */
export function abortedError(): EdgeError {
  return new EdgeError('EDGE_ERR_API_ABORTED', 'the call was given up');
}

/** Limits of reading a body. */
export interface ReadLimits {
  maxBytes: number;
  timeoutMs: number;
}

/** Reads a whole body as text; EDGE_ERR_API_TOO_LARGE or EDGE_ERR_API_TIMEOUT when it is too big or too slow. */
export function readBody(server: string, body: IncomingMessage, limits: ReadLimits): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => body.destroy(timeoutError(server, limits.timeoutMs)), limits.timeoutMs);
    body.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > limits.maxBytes) body.destroy(tooLargeError(server, limits.maxBytes));
      else chunks.push(chunk);
    });
    body.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    body.on('error', (err) => reject(connectionError(server, err)));
    body.on('close', () => {
      clearTimeout(timer);
      reject(connectionError(server, Object.assign(new Error('connection closed'), { code: 'ECONNRESET' })));
    });
  });
}

/** The error of an answer or event over its limit. */
export function tooLargeError(server: string, maxBytes: number): EdgeError {
  return new EdgeError(
    'EDGE_ERR_API_TOO_LARGE',
    `the API server ${server} sent more than ${maxBytes} bytes`,
    {
      hint: 'narrow the request with a selector, or check that this is an API server',
    },
  );
}
