/** Requests whose bodies are no JSON or too long for memory, and the first contact with a server not yet trusted. */
import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { apiError, connectionError } from '../../apiclient/errors.ts';
import type { ClusterAccess } from '../../apiclient/kubeconfig.ts';

/** What to send. */
export interface ExchangeRequest {
  method: string;
  path: string;
  headers?: Readonly<Record<string, string | number>>;
  /** Limit for silence on the connection, milliseconds. */
  idleTimeoutMs: number;
  /** Writes the body and ends the request; a request without one is ended at once. */
  send?: (request: ClientRequest) => void;
}

/** Starts a request and resolves with its answer, whatever the status; the reader consumes or destroys it. */
export function exchange(access: ClusterAccess, options: ExchangeRequest): Promise<IncomingMessage> {
  const headers: Record<string, string | number> = { ...options.headers };
  if (access.token !== undefined) headers['authorization'] = `Bearer ${access.token}`;
  const { method } = options;
  return new Promise((resolve, reject) => {
    const fail = (err: Error): void => reject(connectionError(access.server, err));
    const start = (): ClientRequest => {
      if (access.server.startsWith('unix://')) {
        const socketPath = decodeURIComponent(access.server.slice('unix://'.length));
        return httpRequest({ socketPath, method, path: options.path, headers });
      }
      const url = new URL(access.server.replace(/\/+$/u, '') + options.path);
      if (url.protocol === 'http:') return httpRequest(url, { method, headers });
      const { ca, cert, key, serverName: servername } = access;
      const tls = {
        ...(ca && { ca }),
        ...(cert && { cert }),
        ...(key && { key }),
        ...(servername && { servername }),
      };
      const rejectUnauthorized = access.insecureSkipVerify !== true;
      return httpsRequest(url, { method, headers, ...tls, rejectUnauthorized, agent: false });
    };
    let request: ClientRequest;
    try {
      request = start();
    } catch (err) {
      reject(connectionError(access.server, err));
      return;
    }
    request.on('response', resolve).on('error', fail);
    request.setTimeout(options.idleTimeoutMs, () =>
      request.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
    );
    if (options.send === undefined) request.end();
    else options.send(request);
  });
}

/** The longest JSON answer or error that is read here. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;

/** Reads an answer as text; throws the server's own error for a failed one. */
export async function readAnswer(access: ClusterAccess, answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_TEXT_BYTES) break;
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString();
  if ((answer.statusCode ?? 0) >= 400) throw apiError(answer.statusCode ?? 0, text, access.server);
  return text;
}

/** Sends a small JSON body and reads the JSON answer. */
export async function call<T>(
  access: ClusterAccess,
  method: string,
  path: string,
  idleTimeoutMs: number,
  body?: unknown,
): Promise<T> {
  const text = JSON.stringify(body ?? {});
  const answer = await exchange(access, {
    method,
    path,
    idleTimeoutMs,
    ...(body === undefined
      ? {}
      : {
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
          send: (request) => void request.end(text),
        }),
  });
  return JSON.parse(await readAnswer(access, answer)) as T;
}
