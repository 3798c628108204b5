// The service behind the demo, a program of its own: `node file-service.mjs PORT`.
// GET / says hello, GET /file?size=N answers N deterministic bytes, POST /upload the SHA-256 of the body.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileChunks } from './content.mjs';

/** A typing mistake in the size must not keep the machine busy. */
const MAX_BYTES = 16 * 1024 ** 3;

async function answer(request, response) {
  const url = new URL(request.url, 'http://files');
  if (request.method === 'POST' && url.pathname === '/upload') {
    const hash = createHash('sha256');
    for await (const chunk of request) hash.update(chunk);
    response.end(`${hash.digest('hex')}\n`);
  } else if (url.pathname === '/file') {
    const size = Number(url.searchParams.get('size') ?? 0);
    if (!Number.isInteger(size) || size < 0 || size > MAX_BYTES) {
      response.writeHead(400).end(`size is a whole number from 0 to ${MAX_BYTES}\n`);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
    await pipeline(Readable.from(fileChunks(size)), response);
  } else if (url.pathname === '/') {
    response.end('hello from the file service on node-2\n');
  } else {
    response.writeHead(404).end('try / or /file?size=N or POST /upload\n');
  }
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy()); // the peer went away in the middle
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
