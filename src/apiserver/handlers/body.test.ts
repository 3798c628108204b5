/** Request bodies as they come over a socket: in pieces, too long, and cut in the middle. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { errorMessage } from '../../lib/errors.ts';
import { readBody } from './body.ts';
import type { ApiContext } from './context.ts';

/** A server that reads one body of at most ten bytes, and what came of it. */
async function serve(t: TestContext): Promise<{ socket: Socket; outcome: Promise<string> }> {
  const server = createServer();
  const outcome = once(server, 'request').then(([incoming]) => {
    // what readBody looks at, without the framework
    const c = { env: { incoming }, req: { header: () => undefined } } as unknown as ApiContext;
    return readBody(c, 10).then(String, errorMessage);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  return { socket, outcome };
}

const HEAD = 'POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n';

test('a body is whole however it comes', async (t) => {
  for (const pieces of [[`${HEAD}5\r\nhello\r\n0\r\n\r\n`], [HEAD, '2\r\nhe\r\n', '3\r\nllo\r\n0\r\n\r\n']]) {
    const { socket, outcome } = await serve(t);
    for (const piece of pieces) socket.write(piece);
    assert.equal(await outcome, 'hello');
  }
});

test('a body over the limit is refused before it ends', async (t) => {
  const { socket, outcome } = await serve(t);
  socket.write(`${HEAD}6\r\nhello \r\n6\r\nworld!\r\n`);
  assert.match(await outcome, /too large: limit is 10/u);
});

test('a body whose sender goes is told from a short one', async (t) => {
  const { socket, outcome } = await serve(t);
  socket.write(`${HEAD}5\r\nhello\r\n`, () => socket.destroy());
  assert.equal(await outcome, 'the request body was cut short');
});
