/** A small HTTP service to put behind tunnels: files of any size and uploads, both streamed, with their SHA-256. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TestLike } from './processes.ts';

/** A service that listens. */
export interface HttpService {
  port: number;
  /** Requests answered so far. */
  requests(): number;
  close(): Promise<void>;
}

/** Bytes made at a time; also the period of the content, so that a shifted or repeated block changes the hash. */
const BLOCK_BYTES = 65_521; // prime, so that no buffer size divides it

/** The content of `GET /file?size=N`: deterministic, in chunks of BLOCK_BYTES, each block different. */
export function* fileChunks(sizeBytes: number): Generator<Buffer> {
  const pattern = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < BLOCK_BYTES; at++) pattern[at] = (at * 131 + (at >> 8)) & 255;
  for (let sent = 0, serial = 0; sent < sizeBytes; sent += BLOCK_BYTES, serial++) {
    const chunk = Buffer.from(pattern.subarray(0, Math.min(BLOCK_BYTES, sizeBytes - sent)));
    if (chunk.length >= 4) chunk.writeUInt32BE(serial, 0);
    yield chunk;
  }
}

/** The SHA-256 of `GET /file?size=N`, hex. */
export function fileSha256(sizeBytes: number): string {
  const hash = createHash('sha256');
  for (const chunk of fileChunks(sizeBytes)) hash.update(chunk);
  return hash.digest('hex');
}

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
