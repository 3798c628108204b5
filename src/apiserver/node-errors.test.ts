/** Clients that send nonsense, or nothing: told what is wrong when they can be told, and never held for long. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createAuthority } from '../../test/support/certificates.ts';
import { listenHttp } from '../lib/http.ts';
import type { HttpListenOptions } from '../lib/http.ts';
import { createNodeErrorResponder } from './node-errors.ts';

async function serve(t: TestContext, options: Partial<HttpListenOptions> = {}): Promise<number> {
  const server = await listenHttp({ fetch: () => new Response('ok'), ...options });
  server.server.on('clientError', createNodeErrorResponder());
  t.after(() => server.close(0));
  return server.port;
}

function open(t: TestContext, port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  return socket;
}

test('broken HTTP is answered with a Status, and the connection goes though the client keeps it', async (t) => {
  const socket = open(t, await serve(t));
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  socket.write('nonsense\r\n\r\n');
  await once(socket, 'end');
  assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n[^]*"kind":"Status"[^]*"code":400/u);
  // the half that this client keeps open meets a reset
  const gone = new Promise((resolve) => {
    socket.on('close', resolve);
  });
  const writing = setInterval(() => socket.write('x'), 50);
  t.after(() => clearInterval(writing));
  socket.on('error', () => {});
  await gone;
});

test('a client that does not finish its TLS handshake is cut off', async (t) => {
  const authority = createAuthority(t, 'edge test');
  if (authority === undefined) return;
  const { key, cert } = authority.sign('localhost', 'DNS:localhost');
  const socket = open(t, await serve(t, { tls: { key, cert, handshakeTimeout: 50 } }));
  socket.on('error', () => {}).resume();
  await once(socket, 'end');
});

test('a request that names no host is answered: health probes in HTTP/1.0 are such', async (t) => {
  const socket = open(t, await serve(t));
  socket.write('GET /healthz HTTP/1.0\r\n\r\n');
  const [chunk] = (await once(socket.setEncoding('utf8'), 'data')) as [string];
  assert.match(chunk, /^HTTP\/1\.1 200 OK/u);
});
