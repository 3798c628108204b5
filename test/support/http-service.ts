/** A small HTTP service to put behind tunnels: files of any size and uploads, both streamed, with their SHA-256. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileChunks, sha256Of as fileSha256 } from '../../scripts/demo/content.mjs';
import type { TestLike } from './processes.ts';

/** A service that listens. */
export interface HttpService {
  port: number;
  /** Requests answered so far. */
  requests(): number;
  close(): Promise<void>;
}

/** The content of `GET /file?size=N`, and its SHA-256 in hex. */
export { fileChunks, fileSha256 };

/**
 * Starts the service on a free port of 127.0.0.1; closed after the test. `GET /` answers `name`,
 * `GET /file?size=N` N bytes, `POST /upload` the SHA-256 (hex) of the body.
 */
export async function startHttpService(t: TestLike, name = 'hello'): Promise<HttpService> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    answer(name, request, response).catch(() => response.destroy()); // the peer went away in the middle
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.after(close);
  return { port: (server.address() as AddressInfo).port, requests: () => requests, close };
}

async function answer(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://service');
  if (request.method === 'POST' && url.pathname === '/upload') {
    const hash = createHash('sha256');
    for await (const chunk of request) hash.update(chunk as Buffer);
    response.end(hash.digest('hex'));
    return;
  }
  if (url.pathname === '/file') {
    const size = Number(url.searchParams.get('size') ?? 0);
    response.writeHead(200, { 'content-length': size, 'content-type': 'application/octet-stream' });
    await pipeline(Readable.from(fileChunks(size)), response);
    return;
  }
  response.end(name);
}
