/**
 * `edge router` and peers that mean harm: whatever they send, leave out, take or do not take costs them alone. An honest
 * provider and an honest user work beside them all the time, and no exchange of theirs may fail.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import type { FrpClient } from '../../src/tunnel/frpc/types.ts';
import { message } from '../../src/tunnel/frp/message.ts';
import { MessageChannel } from '../../src/tunnel/frp/message-channel.ts';
import { socketStream } from '../../src/tunnel/socket-stream.ts';
import { YamuxSession } from '../../src/tunnel/yamux/session.ts';
import { startEdgeReady } from '../support/edge-process.ts';
import { createClient, listenTcp, listenVisitor, publish, startClient } from '../support/frp-pair.ts';
import { dialRaw, echo, frame, loginBytes, residentMiB, startHonestUser } from '../support/hostile-peer.ts';
import type { RawPeer } from '../support/hostile-peer.ts';
import { freePorts } from '../support/ports.ts';
import type { TestProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { PATIENCE_MS, waitFor } from '../support/wait.ts';

interface World {
  port: number;
  router: TestProcess;
  provider: FrpClient;
  /** Leads to an echo service through the Router. */
  echoPort: number;
  metric: (name: string) => Promise<number>;
}

/** A Router with limits of its own, and honest clients of it. */
async function startWorld(t: TestContext, ...limits: string[]): Promise<World> {
  const [port = 0, metrics = 0] = await freePorts(2);
  const file = join(tempDir(t), 'frps.toml');
  writeFileSync(file, `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n`);
  const router = await startEdgeReady(t, [
    'router',
    '--config',
    file,
    '--metrics-addr',
    `127.0.0.1:${metrics}`,
    ...limits.flatMap((limit) => ['--limit', limit]),
  ]);
  const provider = await startClient(t, port);
  await publish(provider, await listenTcp(t, (socket) => socket.pipe(socket)));
  const echoPort = await listenVisitor(t, await startClient(t, port));
  assert.equal(await echo(echoPort, 'hello'), undefined);
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'mu').exec(text)?.[1] ?? NaN);
  };
  return { port, router, provider, echoPort, metric };
}

const SYN = 1;
const FIN = 4;
const [DATA, WINDOW, PING, GO_AWAY] = [0, 1, 2, 3] as const;

const repeat = (count: number, make: (at: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));
const upgrade = Buffer.from(
  'GET /~!frp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://x\r\n\r\n',
);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** What strangers send. */
const NONSENSE: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['noise', randomBytes(100_000)],
  ['a TLS record of noise', Buffer.concat([hex('16 0301 4000'), randomBytes(20_000)])],
  ['noise behind the marker', Buffer.concat([hex('17 16 0301 0200'), randomBytes(5000)])],
  [
    'a head without an end',
    Buffer.concat([Buffer.from('GET /~!frp HTTP/1.1\r\nX: '), Buffer.alloc(100_000, 'x')]),
  ],
  ['a websocket of noise', Buffer.concat([upgrade, randomBytes(5000)])],
  [
    'a websocket message without end',
    Buffer.concat([upgrade, hex('82 ff 7fffffffffffffff 00000000'), Buffer.alloc(300_000)]),
  ],
  ['a v1 message of 2^63 bytes', hex('6f 7fffffffffffffff')],
  ['a v1 message of less than nothing', hex('6f ffffffffffffffff')],
  ['a v1 message that is no JSON', Buffer.concat([hex('6f 0000000000002000'), Buffer.alloc(0x2000, '[')])],
  ['a v2 frame of 4 GiB', hex('46525000020d0a 0001 0000 ffffffff')],
  [
    'a v2 login without a hello',
    Buffer.concat([hex('46525000020d0a 0010 0000 00000004 0001'), Buffer.from('{}')]),
  ],
  ['half of a login', loginBytes('secret').subarray(0, 50)],
  ['a login with the wrong token', loginBytes('guess')],
  ['a mux of another version', Buffer.concat([frame(PING, SYN, 0, 1), hex('010000000000000000000000')])],
  ['a mux frame of an unknown type', hex('00ff00000000000000000000')],
  ['a stream 0', frame(WINDOW, SYN, 0)],
  ['a stream twice', repeat(2, () => frame(WINDOW, SYN, 1))],
  ['more data than the window', Buffer.concat([frame(WINDOW, SYN, 1), frame(DATA, 0, 1, 262_145)])],
  ['a frame of 4 GiB', Buffer.concat([frame(WINDOW, SYN, 1), frame(DATA, 0, 1, 0xffffffff)])],
  [
    'credit without end',
    Buffer.concat([frame(WINDOW, SYN, 1), repeat(10_000, () => frame(WINDOW, 0, 1, 0xffffffff))]),
  ],
  ['two ends of a stream', Buffer.concat([frame(WINDOW, SYN, 1), repeat(2, () => frame(WINDOW, FIN, 1))])],
  [
    'data after the end',
    Buffer.concat([frame(WINDOW, SYN, 1), frame(WINDOW, FIN, 1), frame(DATA, 0, 1, Buffer.alloc(9))]),
  ],
  ['data for streams that never were', repeat(5000, (at) => frame(DATA, 0, at, Buffer.alloc(50)))],
  ['streams up to the last id', repeat(20, (at) => frame(WINDOW, SYN, 0xffffffff - 2 * at))],
  [
    'a departure, and then streams',
    Buffer.concat([frame(GO_AWAY, 0, 0, 0), repeat(20, (at) => frame(WINDOW, SYN, 2 * at + 1))]),
  ],
  ['a thousand streams before a login', repeat(1000, (at) => frame(WINDOW, SYN, 2 * at + 1))],
  ['a hundred thousand pings', repeat(100_000, (at) => frame(PING, SYN, 0, at))],
  [
    'work for a client that is not there',
    Buffer.concat([hex('77 0000000000000012'), Buffer.from('{"run_id":"nobody"}').subarray(0, 18)]),
  ],
];

test('strangers that send nonsense, half of something or nothing are gone in time and disturb nobody', async (t) => {
  const { port, router, echoPort } = await startWorld(t, 'loginTimeout=2s');
  const before = residentMiB(router.pid);
  const user = startHonestUser(t, echoPort);
  const peers: [string, RawPeer][] = [];
  for (let round = 0; round < 3; round++) {
    for (const [what, bytes] of NONSENSE) {
      const peer = await dialRaw(t, port, round === 1);
      peer.send(bytes);
      peers.push([what, peer]);
    }
  }
  // One byte now and then, of what would be a login.
  const slow = await dialRaw(t, port);
  const bytes = loginBytes('secret');
  for (let at = 0; at < bytes.length && !slow.isOver; at++) {
    slow.send(bytes.subarray(at, at + 1));
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
  peers.push(['one byte at a time', slow]);
  for (const [what, { socket }] of peers) {
    socket.resume(); // who does not read does not see the end
    await waitFor(() => socket.closed, { what: `the end of ${what}` });
  }
  const report = await user.stop();
  assert.deepEqual(report.failures, []);
  assert.ok(report.exchanges > 20, `${report.exchanges} exchanges`);
  assert.ok(residentMiB(router.pid) < before + 96, `${before} → ${residentMiB(router.pid)} MiB`);
});

test('a flood of connections that never log in keeps nobody out', async (t) => {
  const { port, router, echoPort } = await startWorld(t, 'pendingConnections=50', 'loginTimeout=5m');
  const user = startHonestUser(t, echoPort);
  const flood = await Promise.all(Array.from({ length: 400 }, () => dialRaw(t, port)));
  const newcomer = await startClient(t, port);
  await publish(newcomer, 9, { name: 'newcomer' });
  const again = await startClient(t, port, { tcpMux: false });
  await publish(again, 9, { name: 'another' });
  // The newcomers are in, so the Router has closed the others; this process may not have read all of that yet.
  await waitFor(() => flood.filter(({ isOver }) => !isOver).length <= 50, { what: 'the flood to shrink' });
  assert.deepEqual((await user.stop()).failures, []);
  assert.ok(!router.stderr.includes('login refused'));
});

/** A client that logs in properly, byte streams in hand. */
async function logIn(
  t: TestContext,
  port: number,
): Promise<{ socket: Socket; mux: YamuxSession; control: MessageChannel }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  const onStream = (): void => {};
  const mux = new YamuxSession(
    socketStream(socket),
    'client',
    { onStream, onClose: () => {} },
    { clock: systemClock },
  );
  t.after(() => {
    mux.close();
    socket.destroy();
  });
  const stream = mux.openStream();
  stream.write(loginBytes('secret'));
  const control = new MessageChannel(stream, systemClock);
  const { body } = await control.expect(['LoginResp'], PATIENCE_MS);
  assert.equal(body.error, '');
  control.encrypt('secret');
  return { socket, mux, control };
}

test('a client that floods with proxies, streams, visitors and work connections meets its limits alone', async (t) => {
  const limits = ['proxies=50', 'streams=500', 'unidentifiedStreams=100'];
  const { port, router, echoPort } = await startWorld(t, ...limits);
  const before = residentMiB(router.pid);
  const user = startHonestUser(t, echoPort);
  const startedAt = performance.now();
  const { mux, control } = await logIn(t, port);
  let [accepted, refused] = [0, 0];
  control.start({
    onMessage: ({ name, body }) => {
      if (name !== 'NewProxyResp') return;
      if (body.error === '') accepted += 1;
      else refused += 1;
    },
    onClose: () => {},
  });
  const long = 'x'.repeat(9000);
  for (let at = 0; at < 2000; at++) {
    const name = at % 2 === 0 ? `p${at}` : `${long}${at}`;
    control.send(message('NewProxy', { proxy_name: name, proxy_type: 'stcp', sk: 'key' }));
    // Who does not take the answers would be cut off for that.
    if (at % 50 === 49) await waitFor(() => accepted + refused === at + 1, { what: 'answers' });
  }
  assert.ok(accepted > 40 && accepted <= 50, `${accepted} proxies`);

  let resets = 0;
  const open = (): MessageChannel => {
    const stream = mux.openStream();
    const channel = new MessageChannel(stream, systemClock);
    return channel;
  };
  for (let at = 0; at < 300; at++)
    open()
      .expect(['StartWorkConn'], 60_000)
      .catch(() => {
        resets += 1;
      });
  await waitFor(() => resets >= 200, { what: 'resets of streams that say nothing' });
  for (let at = 0; at < 1000; at++) {
    const channel = open();
    const what =
      at % 2 === 0
        ? message('NewVisitorConn', { proxy_name: 'web.default.pod', sign_key: 'guess' })
        : message('NewWorkConn', { run_id: 'guess' });
    channel.send(what);
    const { body } = await channel
      .expect(['NewVisitorConnResp', 'StartWorkConn'], PATIENCE_MS)
      .catch(() => ({ body: { error: 'reset' } }));
    assert.notEqual(body.error, '');
    channel.close();
  }
  assert.deepEqual((await user.stop()).failures, []);
  mux.close();
  await waitFor(async () => residentMiB(router.pid) < before + 96, { what: 'memory to come back' });
  // Of two thousand refusals a burst was written and one a second, and none with nine thousand characters.
  const most = 101 + (performance.now() - startedAt) / 1000;
  const refusals = router.stderr.split('\n').filter((line) => line.includes('proxy refused'));
  assert.ok(refusals.length > 0 && refusals.length <= most, `${refusals.length} lines`);
  assert.ok(refusals.every((line) => line.length < 600));
});

test('users that open and never read are dropped once too much waits for them, and only they', async (t) => {
  const { port, router, echoPort, provider, metric } = await startWorld(t, 'queuedBytes=16MiB');
  const before = residentMiB(router.pid);
  const [remotePort = 0] = await freePorts(1);
  const endless = await listenTcp(t, (socket) => {
    const chunk = Buffer.alloc(256 * 1024, 'x');
    const write = (): void => {
      while (socket.write(chunk));
    };
    socket.on('drain', write);
    socket.resume();
    write();
  });
  await publish(provider, endless, { name: 'endless', type: 'tcp', remotePort });
  const user = startHonestUser(t, echoPort);
  const peers = await Promise.all(Array.from({ length: 60 }, () => dialRaw(t, remotePort, true)));
  await waitFor(async () => (await metric('edge_router_dropped_connections_total')) > 0, {
    what: 'dropped connections',
  });
  await waitFor(async () => (await metric('edge_router_queued_bytes')) <= 16 * 1024 * 1024, {
    what: 'the bound',
  });
  const report = await user.stop();
  assert.deepEqual(report.failures, []);
  assert.ok(residentMiB(router.pid) < before + 256, `${before} → ${residentMiB(router.pid)} MiB`);
  for (const { socket } of peers) socket.destroy();
  assert.ok(port > 0);
});

test('a peer that resets in the middle of a frame takes only its own connections along', async (t) => {
  const { port, echoPort, metric } = await startWorld(t);
  const user = startHonestUser(t, echoPort);
  const sessions = await metric('edge_router_sessions');
  for (let round = 0; round < 20; round++) {
    const { socket, control } = await logIn(t, port);
    control.send(message('NewProxy', { proxy_name: `own${round}`, proxy_type: 'stcp', sk: 'key' }));
    await control.expect(['NewProxyResp'], PATIENCE_MS);
    const raw = frame(DATA, 0, 1, Buffer.alloc(1000));
    socket.write(raw.subarray(0, [3, 12, 500][round % 3]), () => socket.resetAndDestroy());
  }
  await waitFor(async () => (await metric('edge_router_sessions')) === sessions, {
    what: 'all of them gone',
  });
  assert.deepEqual((await user.stop()).failures, []);
});

/** The beginning of what a client sends, up to its first frame with data: the login. */
function upToLogin(bytes: Buffer): Buffer {
  for (let at = 0; ;) {
    const length = bytes[at + 1] === DATA ? bytes.readUInt32BE(at + 8) : 0;
    at += 12 + length;
    if (length > 0) return bytes.subarray(0, at);
  }
}

test('a login that was overheard and is sent again cuts nobody off, and keeps nobody out', async (t) => {
  const { port, echoPort, metric } = await startWorld(t, 'clients=6');
  const heard: Buffer[] = [];
  const middle = await listenTcp(t, (socket) => {
    const upstream = connect({ port, host: '127.0.0.1' });
    upstream.on('error', () => {});
    socket.on('data', (chunk: Buffer) => heard.push(chunk));
    socket.pipe(upstream);
    upstream.pipe(socket);
    t.after(() => {
      upstream.destroy();
    });
  });
  const client = await startClient(t, middle);
  await publish(client, 9, { name: 'overheard' });
  const { runId } = client;
  const user = startHonestUser(t, echoPort);
  const copies = upToLogin(Buffer.concat(heard));
  const peers = await Promise.all(Array.from({ length: 30 }, () => dialRaw(t, port)));
  for (const { send } of peers) send(copies);
  await waitFor(async () => (await metric('edge_router_sessions')) >= 6, {
    what: 'copies that are logged in',
  });
  const phases = new Set<string>();
  client.onChange(() => phases.add(client.phase));
  for (const name of ['new', 'newer']) {
    const newcomer = createClient(t, port);
    newcomer.start();
    await waitFor(() => newcomer.phase === 'online', { what: 'a new client' });
    await publish(newcomer, 9, { name });
  }
  assert.deepEqual((await user.stop()).failures, []);
  assert.equal(client.runId, runId);
  assert.deepEqual([...phases], []);
});
