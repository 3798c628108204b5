import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { listenTcp } from '../../../test/support/frp-pair.ts';
import { checkLeaks } from '../../../test/support/leak-check.ts';
import { collect } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import type { ByteStream } from '../byte-stream.ts';
import { errorCode } from '../../lib/errors.ts';
import { TUNNEL_ERRORS } from '../errors.ts';
import { socketStream } from '../socket-stream.ts';
import { connectWebSocket } from './connect.ts';
import { WebSocketUpgrades } from './upgrade.ts';

checkLeaks();

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
/** The answer to that key (RFC 6455 1.3). */
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

interface Listener {
  port: number;
  /** What the upgrades came to, in order. */
  outcomes: (Duplex | Error)[];
}

/** Listens for upgrades on loopback. */
async function listen(t: TestContext): Promise<Listener> {
  const upgrades = new WebSocketUpgrades();
  const outcomes: (Duplex | Error)[] = [];
  const port = await listenTcp(t, (socket) => {
    upgrades.accept(socket).then(
      (duplex) => outcomes.push(duplex),
      (err: Error) => outcomes.push(err),
    );
  });
  return { port, outcomes };
}

async function accepted(listener: Listener): Promise<ByteStream> {
  const outcome = await waitFor(() => listener.outcomes.shift(), { what: 'an upgrade' });
  if (outcome instanceof Error) throw outcome;
  return socketStream(outcome);
}

function head(changes: Record<string, string | undefined> = {}, line = 'GET /~!frp HTTP/1.1'): string {
  const headers = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    Origin: 'http://127.0.0.1',
    ...changes,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return `${[line, ...lines].join('\r\n')}\r\n\r\n`;
}

/** A peer that speaks in bytes. */
async function dialRaw(
  t: TestContext,
  port: number,
): Promise<{ socket: Socket; seen: { bytes: Buffer; isOver: boolean } }> {
  const socket = connect({ port, host: '127.0.0.1' });
  const seen = { bytes: Buffer.alloc(0), isOver: false };
  socket.on('data', (chunk: Buffer) => {
    seen.bytes = Buffer.concat([seen.bytes, chunk]);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    seen.isOver = true;
  });
  t.after(() => {
    socket.destroy();
  });
  await waitFor(() => socket.readyState === 'open', { what: 'connection' });
  return { socket, seen };
}

/** A raw peer whose upgrade succeeded, and the stream it reached. */
async function upgradeRaw(t: TestContext, listener: Listener): ReturnType<typeof dialRaw> {
  const peer = await dialRaw(t, listener.port);
  peer.socket.write(head());
  await waitFor(() => peer.seen.bytes.includes('\r\n\r\n'), { what: 'answer' });
  peer.seen.bytes = Buffer.alloc(0);
  return peer;
}

test("answers frp's upgrade without extensions, and with the bare token that frpc wants", async (t) => {
  const listener = await listen(t);
  const { socket, seen } = await dialRaw(t, listener.port);
  socket.write(head({ 'Sec-WebSocket-Extensions': 'permessage-deflate' }));
  await accepted(listener);
  await waitFor(() => seen.bytes.includes('\r\n\r\n'), { what: 'answer' });
  const lines = seen.bytes.toString().split('\r\n');
  assert.equal(lines[0], 'HTTP/1.1 101 Switching Protocols');
  assert.deepEqual(
    lines
      .slice(1)
      .filter((line) => line !== '')
      .sort(),
    ['Connection: Upgrade', `Sec-WebSocket-Accept: ${ACCEPT}`, 'Upgrade: websocket'],
  );
});

for (const [what, request, status] of [
  ['an upgrade without an origin', head({ Origin: undefined }), 403],
  ['an upgrade with an origin that is no URL', head({ Origin: 'nonsense' }), 403],
  ['an upgrade of another path', head({}, 'GET / HTTP/1.1'), 404],
  ['an upgrade of a path that only begins like it', head({}, 'GET /~!frp/x HTTP/1.1'), 404],
  ['an upgrade to another protocol', head({ Upgrade: 'h2c' }), 400],
  ['an upgrade of another version', head({ 'Sec-WebSocket-Version': '12' }), 400],
  ['an upgrade without a key', head({ 'Sec-WebSocket-Key': undefined }), 400],
  ['a POST for an upgrade', head({}, 'POST /~!frp HTTP/1.1'), 405],
  ['a plain request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 404],
  ['a plain request for the path', 'GET /~!frp HTTP/1.1\r\nHost: x\r\n\r\n', 404],
  ['a request with a body', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc', 404],
  ['a look at the head', 'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n', 404],
  ['what only looks like HTTP', 'GET\0\r\n\r\n', 400],
  ['a head without end', `GET /${'x'.repeat(20_000)}`, 400],
] as const) {
  test(`answers ${what} with ${status} and closes`, async (t) => {
    const listener = await listen(t);
    const { socket, seen } = await dialRaw(t, listener.port);
    socket.write(request);
    await waitFor(() => seen.isOver, { what: 'close' });
    assert.match(seen.bytes.toString(), new RegExp(`^HTTP/1.1 ${status} `, 'u'));
    const outcome = await waitFor(() => listener.outcomes[0], { what: 'outcome' });
    assert.equal(errorCode(outcome), TUNNEL_ERRORS.protocol);
  });
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** `hi` masked with 01020304, in frames written by hand. */
const MASK = '01020304';
const HI = '696b';

for (const [what, frames] of [
  ['a binary frame', `8282${MASK}${HI}`],
  ['a text frame', `8182${MASK}${HI}`],
  ['text in two fragments', `0181${MASK}69 8081${MASK}68`],
  ['three fragments with a ping between', `0281${MASK}69 8980${MASK} 0080${MASK} 8081${MASK}68`],
  ['empty frames around', `8280${MASK} 8282${MASK}${HI} 8280${MASK}`],
  ['a length in two bytes', `82fe0002${MASK}${HI}`],
  ['a length in eight bytes', `82ff0000000000000002${MASK}${HI}`],
] as const) {
  test(`takes ${what}, however it is split`, async (t) => {
    const listener = await listen(t);
    const bytes = hex(frames);
    for (const piece of [1, 3, bytes.length]) {
      const { socket } = await upgradeRaw(t, listener);
      socket.setNoDelay(true);
      const seen = collect(await accepted(listener));
      for (let at = 0; at < bytes.length; at += piece) {
        await new Promise((resolve) => {
          socket.write(bytes.subarray(at, at + piece), resolve);
        });
      }
      await waitFor(() => seen.text() === 'hi', { what: `hi, in pieces of ${piece}` });
    }
  });
}

test('takes text frames that hold no text', async (t) => {
  const listener = await listen(t);
  const { socket } = await upgradeRaw(t, listener);
  const seen = collect(await accepted(listener));
  socket.write(hex('8182 00000000 fffe'));
  await waitFor(() => seen.bytes === 2, { what: 'bytes' });
  assert.equal(seen.chunks[0]?.toString('hex'), 'fffe');
});

test('frames that come with the request are not lost, and neither is an early close', async (t) => {
  const listener = await listen(t);
  const { socket } = await dialRaw(t, listener.port);
  socket.write(Buffer.concat([Buffer.from(head()), hex(`8282${MASK}${HI} 8882${MASK} 02ea`)]));
  const seen = collect(await accepted(listener));
  await waitFor(() => seen.hasEnded, { what: 'end' });
  assert.equal(seen.text(), 'hi');
});

test('answers a ping with its bytes, and a close with a close', async (t) => {
  const listener = await listen(t);
  const { socket, seen } = await upgradeRaw(t, listener);
  const stream = await accepted(listener);
  const got = collect(stream);
  socket.write(hex(`8982${MASK}${HI}`));
  await waitFor(() => seen.bytes.length === 4, { what: 'pong' });
  assert.equal(seen.bytes.toString('hex'), '8a026869');
  socket.write(hex(`8882${MASK} 02ea`));
  await waitFor(() => seen.bytes.length === 8, { what: 'close' });
  assert.equal(seen.bytes.toString('hex', 4), '880203e8');
  await waitFor(() => got.hasEnded, { what: 'end' });
  stream.end();
  await waitFor(() => got.isClosed, { what: 'close' });
  assert.equal(got.error, undefined);
});

for (const [what, frames] of [
  ['a frame without a mask', '8202 6869'],
  ['a reserved bit', `c282${MASK}${HI}`],
  ['an unknown opcode', `8382${MASK}${HI}`],
  ['a continuation of nothing', `8082${MASK}${HI}`],
  ['a message inside a message', `0281${MASK}69 8281${MASK}69`],
  ['a ping in fragments', `0980${MASK}`],
  ['a ping that is too long', `89fe007e${MASK}`],
  ['a close of one byte', `8881${MASK}00`],
  ['a message that is too long', `82ff0000000000100001${MASK}`],
  ['a length beyond all', `82ffffffffffffffffff${MASK}`],
] as const) {
  test(`ends the connection on ${what}`, async (t) => {
    const listener = await listen(t);
    const { socket, seen } = await upgradeRaw(t, listener);
    const got = collect(await accepted(listener));
    socket.write(hex(frames));
    await waitFor(() => got.isClosed && seen.isOver, { what: 'close' });
    assert.equal(errorCode(got.error), TUNNEL_ERRORS.protocol);
    assert.equal(got.bytes, 0);
  });
}

test('a connection that ends without a close frame is an error, not an end', async (t) => {
  const listener = await listen(t);
  const { socket } = await upgradeRaw(t, listener);
  const got = collect(await accepted(listener));
  socket.write(hex(`8282${MASK}${HI}`));
  await waitFor(() => got.bytes === 2, { what: 'bytes' });
  socket.destroy();
  await waitFor(() => got.isClosed, { what: 'close' });
  assert.equal(got.hasEnded, false);
  assert.equal(errorCode(got.error), TUNNEL_ERRORS.closed);
});

/** A client whose server is spoken in bytes: answers the upgrade, then sends `frames` and does `then`. */
async function connectRaw(
  t: TestContext,
  frames: Buffer,
  then: (socket: Socket) => void,
): Promise<ByteStream> {
  const port = await listenTcp(t, (socket) => {
    socket.once('data', (request: Buffer) => {
      const key = /Sec-WebSocket-Key: (\S+)/iu.exec(request.toString('latin1'))?.[1] ?? '';
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.write(frames, () => then(socket));
    });
    socket.resume();
  });
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await waitFor(() => socket.readyState === 'open', { what: 'connection' });
  return socketStream(await connectWebSocket(socket, '127.0.0.1'));
}

const TEXT_HI = hex('81026869');

for (const [what, frames, isEnd] of [
  ['between two messages is an end', TEXT_HI, true],
  ['within a header is an error', Buffer.concat([TEXT_HI, hex('82')]), false],
  ['within a payload is an error', Buffer.concat([TEXT_HI, hex('820468')]), false],
  ['within a fragmented message is an error', Buffer.concat([TEXT_HI, hex('020168')]), false],
] as const) {
  test(`a server that shuts the connection down without a close frame, ${what}`, async (t) => {
    const stream = await connectRaw(t, frames, (socket) => socket.end());
    const got = collect(stream);
    await waitFor(() => got.hasEnded || got.isClosed, { what: 'the end' });
    assert.equal(got.bytes, 2);
    assert.equal(got.hasEnded, isEnd);
    stream.end();
    await waitFor(() => got.isClosed, { what: 'close' });
    assert.equal(got.error === undefined, isEnd);
  });
}

test('a server that resets the connection between two messages aborts', async (t) => {
  let far: Socket | undefined;
  const got = collect(
    await connectRaw(t, TEXT_HI, (socket) => {
      far = socket;
    }),
  );
  await waitFor(() => got.bytes === 2, { what: 'bytes' });
  far?.resetAndDestroy();
  await waitFor(() => got.isClosed, { what: 'close' });
  assert.equal(got.hasEnded, false);
  assert.notEqual(got.error, undefined);
});

test('a peer that sends pings and reads nothing is held back', async (t) => {
  const listener = await listen(t);
  const { socket } = await upgradeRaw(t, listener);
  const stream = await accepted(listener);
  collect(stream);
  socket.pause();
  const pings = Buffer.concat(
    Array.from({ length: 10_000 }, () => hex(`89fd${MASK}`.slice(0, 4) + MASK + '00'.repeat(125))),
  );
  let sent = 0;
  for (let count = 0; count < 12; count++) {
    await new Promise<void>((resolve) => {
      socket.write(pings, () => {
        sent += pings.length;
        resolve();
      });
    });
  }
  assert.equal(sent, 12 * pings.length);
  assert.ok(stream.queuedBytes < 1024 * 1024);
  stream.destroy();
});

/** Both ends of a websocket. */
async function pair(t: TestContext): Promise<[ByteStream, ByteStream]> {
  const listener = await listen(t);
  const socket = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
  await waitFor(() => socket.readyState === 'open', { what: 'connection' });
  const near = socketStream(await connectWebSocket(socket, '127.0.0.1'));
  const far = await accepted(listener);
  t.after(() => {
    near.destroy();
    far.destroy();
  });
  return [near, far];
}

test('carries megabytes both ways at once, in writes of any size, to a clean close', async (t) => {
  const [near, far] = await pair(t);
  const data = randomBytes(8 * 1024 * 1024);
  const hash = createHash('sha256').update(data).digest('hex');
  const [atNear, atFar] = [collect(near), collect(far)];
  for (const stream of [near, far]) {
    let size = 1;
    for (let at = 0; at < data.length; at += size) {
      size = Math.min(size * 3, 700_000);
      stream.write(data.subarray(at, at + size));
    }
  }
  for (const got of [atNear, atFar]) {
    await waitFor(() => got.bytes === data.length, { what: 'all bytes' });
    assert.equal(createHash('sha256').update(Buffer.concat(got.chunks)).digest('hex'), hash);
  }
  near.end();
  await waitFor(() => atFar.hasEnded, { what: 'end' });
  far.end();
  await waitFor(() => atNear.isClosed && atFar.isClosed, { what: 'close' });
  assert.deepEqual([atNear.error, atFar.error], [undefined, undefined]);
});

test('a reader that pauses holds the writer back, by bytes', async (t) => {
  const [near, far] = await pair(t);
  const atNear = collect(near);
  let received = 0;
  far.setHandler({
    onData: (chunk) => {
      if (received === 0) far.pause();
      received += chunk.length;
    },
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => {},
  });
  far.resume();
  // Far more than the buffers of both sockets hold.
  const chunk = Buffer.alloc(1024 * 1024);
  for (let count = 0; count < 64; count++) near.write(chunk);
  await waitFor(() => received > 0, { what: 'the first bytes' });
  assert.ok(received < chunk.length, `${received} bytes received`);
  assert.ok(near.queuedBytes > 32 * chunk.length, `${near.queuedBytes} bytes queued`);
  far.resume();
  await waitFor(() => received === 64 * chunk.length, { what: 'all bytes' });
  await waitFor(() => near.queuedBytes === 0 && atNear.drains > 0, { what: 'drained' });
});

for (const who of ['client', 'server'] as const) {
  test(`a ${who} that is destroyed tells the other that it was cut off`, async (t) => {
    const ends = await pair(t);
    const [near, far] = who === 'client' ? ends : ends.toReversed();
    assert.ok(near !== undefined && far !== undefined);
    const atFar = collect(far);
    collect(near);
    near.write(Buffer.from('half an ans'));
    await waitFor(() => atFar.bytes > 0, { what: 'bytes' });
    near.destroy(new Error('changed its mind'));
    await waitFor(() => atFar.isClosed, { what: 'close' });
    assert.equal(atFar.hasEnded, false);
    assert.notEqual(atFar.error, undefined);
  });
}

test('a server that answers otherwise is no server for the client', async (t) => {
  for (const answer of ['HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', 'nonsense\r\n\r\n', '']) {
    const port = await listenTcp(t, (socket) => {
      socket.resume();
      socket.once('data', () => socket.end(answer));
    });
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await waitFor(() => socket.readyState === 'open', { what: 'connection' });
    await assert.rejects(
      connectWebSocket(socket, '127.0.0.1'),
      answer.includes('403') ? { code: TUNNEL_ERRORS.offline } : Error,
    );
    socket.destroy();
  }
});
