import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import { fileChunks, sha256Of } from '../../scripts/demo/content.mjs';
import type { Cleanup } from '../../test/support/frp-pair.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { collect } from '../../test/support/stream-pair.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { waitFor } from '../../test/support/wait.ts';
import { relay } from './relay.ts';
import { socketStream } from './socket-stream.ts';
import { YamuxSession } from './yamux/session.ts';
import type { YamuxStream } from './yamux/stream.ts';

checkLeaks();

const SIZE_BYTES = 24 * 1024 * 1024;

async function listen(t: Cleanup, onSocket: (socket: Socket) => void, path?: string): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, onSocket);
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  t.after(() => {
    server.close();
  });
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket;
}

/** Sends the deterministic file, then half-closes. */
function sendFile(socket: Socket): void {
  socket.resume(); // sees the end of the other side
  const chunks = fileChunks(SIZE_BYTES);
  const send = (): void => {
    for (;;) {
      const { value, done } = chunks.next();
      if (done === true) {
        socket.end();
        return;
      }
      if (!socket.write(value)) {
        socket.once('drain', send);
        return;
      }
    }
  };
  send();
}

/** Receives until the end; with `isSlow` it stops now and then, so that everything before it fills up. */
async function receive(socket: Socket, isSlow: boolean): Promise<string> {
  const hash = createHash('sha256');
  let untilPause = 3_000_000;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    hash.update(chunk);
    untilPause -= chunk.length;
    if (!isSlow || untilPause > 0) continue;
    untilPause = 3_000_000;
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
  return hash.digest('hex');
}

/** Two relays joined by a mux session: what comes to the port goes to `targetPort`. */
async function muxedHop(t: Cleanup, targetPort: number): Promise<{ port: number; session: YamuxSession }> {
  const clock = systemClock;
  const sessions: YamuxSession[] = [];
  const onStream = (stream: YamuxStream): void => {
    const socket = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    socket.once('connect', () => relay(stream, socketStream(socket), { clock }));
  };
  const far = await listen(t, (socket) => {
    sessions.push(
      new YamuxSession(socketStream(socket), 'server', { onStream, onClose: () => {} }, { clock }),
    );
  });
  const near = new YamuxSession(
    socketStream(await dial(portOf(far))),
    'client',
    { onStream: (stream) => stream.destroy(), onClose: () => {} },
    { clock },
  );
  t.after(() => {
    for (const session of [near, ...sessions]) session.close();
  });
  const entry = await listen(t, (socket) => relay(socketStream(socket), near.openStream(), { clock }));
  return { port: portOf(entry), session: near };
}

for (const [what, isSlow] of [
  ['readers that keep up', false],
  ['readers that stop now and then', true],
] as const) {
  test(`many streams through one mux arrive unharmed: ${what}`, async (t) => {
    let open = 0;
    const source = await listen(t, (socket) => {
      open += 1;
      socket.once('close', () => (open -= 1));
      sendFile(socket);
    });
    const inner = await muxedHop(t, portOf(source));
    const { port, session } = await muxedHop(t, inner.port);
    const expected = sha256Of(SIZE_BYTES);
    const sockets = await Promise.all(Array.from({ length: 4 }, () => dial(port)));
    const hashes = await Promise.all(
      sockets.map(async (socket, index) => {
        const hash = await receive(socket, isSlow && index % 2 === 0);
        socket.end();
        return hash;
      }),
    );
    assert.deepEqual(new Set(hashes), new Set([expected]));
    await waitFor(() => session.streamCount + inner.session.streamCount === 0, { what: 'the end of all' });
    await waitFor(() => open === 0, { what: 'the close of what the source sends through' });
  });
}

test('what was read before the stream had the socket is delivered first, and only when asked for', async (t) => {
  const streams: ReturnType<typeof socketStream>[] = [];
  const server = await listen(t, (socket) => {
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      socket.unshift(chunk);
      streams.push(socketStream(socket));
    });
    socket.resume();
  });
  const client = await dial(portOf(server));
  client.end('first');
  const [stream] = await waitFor(() => (streams.length > 0 ? streams : undefined), { what: 'the stream' });
  assert.ok(stream !== undefined);
  const seen = collect(stream);
  stream.pause();
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  assert.equal(seen.text(), '');
  stream.resume();
  await waitFor(() => seen.hasEnded, { what: 'the end' });
  assert.equal(seen.text(), 'first');
  stream.end();
  client.resume();
  await waitFor(() => seen.isClosed, { what: 'the close' });
});

test('a server counts a moved connection until it ends', async (t) => {
  const streams: ReturnType<typeof socketStream>[] = [];
  const server = await listen(t, (socket) => streams.push(socketStream(socket)));
  const client = await dial(portOf(server));
  client.resume();
  const [stream] = await waitFor(() => (streams.length > 0 ? streams : undefined), { what: 'the stream' });
  assert.ok(stream !== undefined);
  const seen = collect(stream);
  const count = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.getConnections((err, open) => (err === null ? resolve(open) : reject(err)));
    });
  assert.equal(await count(), 1);
  client.end('bye');
  await waitFor(() => seen.hasEnded, { what: 'the end' });
  stream.end();
  await waitFor(() => seen.isClosed, { what: 'the close' });
  await waitFor(async () => (await count()) === 0, { what: 'no connection' });
  assert.equal(seen.text(), 'bye');
});

test('a unix socket carries as a TCP one does', async (t) => {
  const path = join(tempDir(t), 'socket');
  await listen(
    t,
    (socket) => {
      const stream = socketStream(socket);
      stream.setHandler({
        onData: (chunk) => stream.write(Buffer.from(chunk)),
        onEnd: () => stream.end(),
        onDrain: () => {},
        onClose: () => {},
      });
      stream.resume();
    },
    path,
  );
  const socket = connect({ path, allowHalfOpen: true });
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve);
  });
  const sent = Buffer.alloc(1_000_000, 'unix');
  socket.end(sent);
  const got: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) got.push(chunk);
  assert.ok(Buffer.concat(got).equals(sent));
});
