import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import {
  createClient,
  listenTcp,
  listenVisitor,
  publish,
  SERVER_CONFIG,
  startClient,
  startServer,
  ask,
} from '../../test/support/frp-pair.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { freePort } from '../../test/support/ports.ts';
import { collect } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { TUNNEL_ERRORS } from './errors.ts';
import { message } from './frp/message.ts';
import { decodeProxyHeader } from './frp/proxy-protocol.ts';
import { encodeV1 } from './frp/v1.ts';
import type { FrpServer } from './frps/types.ts';

checkLeaks();

/** Answers everything with its length and hash, once the request has ended: works only when half-close is kept. */
function serveHash(socket: Socket): void {
  const hash = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  socket.on('end', () => socket.end(`${bytes} ${hash.digest('hex')}`));
  socket.resume();
}

function hashOf(data: Buffer): string {
  return `${data.length} ${createHash('sha256').update(data).digest('hex')}`;
}

function portOf(server: FrpServer): number {
  const { port } = server;
  assert.notEqual(port, undefined);
  return port as number;
}

for (const [what, client, payload] of [
  ['over a mux', {}, {}],
  ['without a mux', { tcpMux: false }, {}],
  ['over a mux in TLS', { tls: {} }, {}],
  ['without a mux in TLS', { tcpMux: false, tls: {} }, {}],
  ['with payload encryption', {}, { useEncryption: true }],
  ['with compression inside encryption', {}, { useEncryption: true, useCompression: true }],
] as const) {
  test(`carries an stcp service ${what}, the tail after a half-close included`, async (t) => {
    const server = await startServer(t);
    const service = await listenTcp(t, serveHash);
    const provider = await startClient(t, portOf(server), client);
    const visitor = await startClient(t, portOf(server), client);
    await publish(provider, service, payload);
    const port = await listenVisitor(t, visitor, payload);
    const data = randomBytes(3 * 1024 * 1024 + 17);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(port, data)));
    for (const answer of answers) assert.equal(answer.toString(), hashOf(data));
    const small = await ask(port, 'x');
    assert.equal(small.toString(), hashOf(Buffer.from('x')));
    await waitFor(() => server.totals().openConnections === 0, { what: 'all connections closed' });
    assert.equal(server.totals().connections, 21);
    assert.equal(server.totals().bytesIn, 20 * data.length + 1);
    assert.equal(server.proxies()[0]?.totalConnections, 21);
  });
}

test('tcp proxies listen on their port and free it when the client goes', async (t) => {
  const server = await startServer(t);
  const service = await listenTcp(t, serveHash);
  const client = await startClient(t, portOf(server));
  await publish(client, service, { name: 'tcp', type: 'tcp', remotePort: 0 });
  const port = server.proxies()[0]?.remotePort as number;
  assert.equal((await ask(port, 'hello')).toString(), hashOf(Buffer.from('hello')));
  await client.stop();
  await waitFor(() => server.proxies().length === 0, { what: 'proxy gone' });
  await assert.rejects(ask(port, 'x'), { code: 'ECONNREFUSED' });
});

test('a wrong token is refused with a reason, and the client says so', async (t) => {
  const server = await startServer(t);
  const client = createClient(t, portOf(server), { token: 'wrong' });
  client.start();
  await waitFor(() => client.phase === 'refused', { what: 'refusal' });
  assert.equal((client.lastError as { code?: string } | undefined)?.code, TUNNEL_ERRORS.loginRefused);
  assert.equal(server.totals().refusedLogins >= 1, true);
});

test('a visitor with a wrong secret, for an unknown name or of another user is refused', async (t) => {
  const server = await startServer(t);
  const client = await startClient(t, portOf(server));
  const stranger = await startClient(t, portOf(server), { user: 'stranger' });
  await publish(client, 9);
  for (const [who, request] of [
    [client, { proxyName: 'web.default.pod', secretKey: 'wrong' }],
    [client, { proxyName: 'nobody', secretKey: 'key' }],
    [stranger, { proxyName: 'web.default.pod', secretKey: 'key' }],
  ] as const) {
    await assert.rejects(who.openVisitor(request), { code: TUNNEL_ERRORS.visitorRefused });
  }
});

test('allowUsers admits the users it names, and * admits all', async (t) => {
  const server = await startServer(t);
  const service = await listenTcp(t, serveHash);
  const provider = await startClient(t, portOf(server));
  const friend = await startClient(t, portOf(server), { user: 'friend' });
  await publish(provider, service, { name: 'named', allowUsers: ['friend'] });
  await publish(provider, service, { name: 'open', allowUsers: ['*'] });
  for (const proxyName of ['named', 'open']) {
    const stream = await friend.openVisitor({ proxyName, secretKey: 'key' });
    stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    stream.destroy();
  }
});

test('a name that no proxy has goes to the provider that the owner picks, among those that admit', async (t) => {
  const asked: string[] = [];
  const server = await startServer(
    t,
    {},
    {
      pickProvider: ({ name, admits }) => {
        asked.push(name);
        return ['web.default.a', 'web.default.b'].find((candidate) => admits(candidate));
      },
    },
  );
  const service = await listenTcp(t, serveHash);
  const provider = await startClient(t, portOf(server));
  await publish(provider, service, { name: 'web.default.a', secretKey: 'other key' });
  await publish(provider, service, { name: 'web.default.b' });
  const port = await listenVisitor(t, provider, { proxyName: 'web.default' });
  assert.equal((await ask(port, 'x')).toString(), hashOf(Buffer.from('x')));
  assert.deepEqual(asked, ['web.default']);
});

test('a client comes back by itself after the server restarts, with its proxies', async (t) => {
  const port = await freePort(); // nobody's local end while no server has it
  const first = await startServer(t, { bindPort: port });
  const service = await listenTcp(t, serveHash);
  const client = await startClient(t, port);
  await publish(client, service);
  await first.stop(0);
  await waitFor(() => client.phase !== 'online', { what: 'client offline' });
  await assert.rejects(client.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key' }), {
    code: TUNNEL_ERRORS.offline,
  });
  const second = await startServer(t, { bindPort: port });
  await waitFor(() => second.proxies().length === 1, { what: 'proxy registered again' });
  const visitorPort = await listenVisitor(t, client);
  await waitFor(() => client.phase === 'online', { what: 'client online' });
  assert.equal((await ask(visitorPort, 'x')).toString(), hashOf(Buffer.from('x')));
});

test('a new login with the same run id wins at once and takes its names over', async (t) => {
  const server = await startServer(t);
  const old = await startClient(t, portOf(server));
  await publish(old, 9);
  const { runId } = old;
  const socket = connect({ port: portOf(server), host: '127.0.0.1' });
  t.after(() => {
    socket.destroy();
  });
  const timestamp = Math.floor(Date.now() / 1000) + 10;
  const key = createHash('md5').update(`secret${timestamp}`).digest('hex');
  socket.write(
    encodeV1(message('Login', { version: '0.70.1', run_id: runId ?? '', privilege_key: key, timestamp })),
  );
  await waitFor(() => old.phase !== 'online', { what: 'old session replaced' });
  assert.equal(server.sessions().filter((session) => session.runId === runId).length, 1);
});

for (const proxyProtocol of ['v1', 'v2'] as const) {
  test(`a service that wants a PROXY header ${proxyProtocol} reads its user first, wrapped or not`, async (t) => {
    const server = await startServer(t);
    const seen: { port: number | undefined; rest: string }[] = [];
    const service = await listenTcp(t, (socket) => {
      socket.resume();
      socket.once('data', (chunk: Buffer) => {
        const header = decodeProxyHeader(chunk);
        const rest = chunk.subarray(header?.length ?? 0).toString();
        seen.push({ port: header?.addresses?.sourcePort, rest });
        if (rest !== '') socket.end('seen');
        else socket.once('data', (more: Buffer) => socket.end(`seen ${more.toString()}`));
      });
    });
    const client = await startClient(t, portOf(server));
    const wrapped = { proxyProtocol, useCompression: true, useEncryption: true };
    await publish(client, service, { name: 'tcp', type: 'tcp', ...wrapped });
    await publish(client, service, { proxyProtocol });
    const socket = connect({ port: server.proxies()[0]?.remotePort as number, host: '127.0.0.1' });
    socket.write('hello');
    const own = await waitFor(() => socket.localPort, { what: 'the own port' });
    await once(socket, 'data');
    assert.equal(seen[0]?.port, own);
    const visitorPort = await listenVisitor(t, client);
    assert.match((await ask(visitorPort, 'hello')).toString(), /^seen/u);
    assert.equal(seen[1]?.port, Number(server.sessions()[0]?.remoteAddr.split(':').at(-1)));
  });
}

test('limits of a proxy hold in both modes, over all its connections', async (t) => {
  const server = await startServer(t);
  const service = await listenTcp(t, (socket) => socket.pipe(socket));
  const client = await startClient(t, portOf(server));
  for (const bandwidthLimitMode of ['client', 'server'] as const) {
    const limits = { bandwidthLimit: '1MB', bandwidthLimitMode };
    await publish(client, service, { name: bandwidthLimitMode, type: 'tcp', ...limits });
    const port = server.proxies().find(({ name }) => name === bandwidthLimitMode)?.remotePort as number;
    const began = performance.now();
    // Two connections, both directions: 2 MiB, of which the first second's worth is free.
    const echoes = await Promise.all([1, 2].map(() => ask(port, Buffer.alloc(512 * 1024))));
    assert.deepEqual(
      echoes.map(({ length }) => length),
      [512 * 1024, 512 * 1024],
    );
    const seconds = (performance.now() - began) / 1000;
    // Twice as much would be over at once, and a tenth of it take twenty seconds.
    assert.ok(seconds > 0.6 && seconds < 15, `${bandwidthLimitMode}: ${seconds} s`);
  }
});

test('two proxies of one name: the second is refused with a reason', async (t) => {
  const server = await startServer(t);
  const first = await startClient(t, portOf(server));
  const second = await startClient(t, portOf(server));
  await publish(first, 9);
  const proxy = second.addProxy({ name: 'web.default.pod', type: 'stcp', onConnection: () => {} });
  await waitFor(() => proxy.phase === 'refused', { what: 'refusal' });
  assert.match(proxy.error ?? '', /already in use/u);
});

test('closing a proxy frees its name and leaves open connections alone', async (t) => {
  const server = await startServer(t);
  const service = await listenTcp(t, (socket) => socket.pipe(socket));
  const client = await startClient(t, portOf(server));
  const proxy = client.addProxy({
    name: 'web.default.pod',
    type: 'stcp',
    secretKey: 'key',
    onConnection: ({ stream }) => {
      const seen = collect(stream);
      void waitFor(() => seen.bytes > 0, { what: 'bytes' }).then(() =>
        stream.write(Buffer.from(`echo ${seen.text()}`)),
      );
    },
  });
  await waitFor(() => proxy.phase === 'running', { what: 'proxy' });
  const stream = await client.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key' });
  proxy.close();
  await waitFor(() => server.proxies().length === 0, { what: 'proxy gone' });
  const seen = collect(stream);
  stream.write(Buffer.from('still here'));
  await waitFor(() => seen.text() === 'echo still here', { what: 'echo' });
  stream.destroy();
  assert.ok(service > 0);
});

test('reconfigure moves the port and keeps sessions; a port in use leaves the old one in force', async (t) => {
  const server = await startServer(t);
  const client = await startClient(t, portOf(server));
  const before = portOf(server);
  const taken = await listenTcp(t, (socket) => socket.destroy());
  await assert.rejects(server.reconfigure({ ...SERVER_CONFIG, bindPort: taken }), {
    code: 'EDGE_ERR_LISTEN',
  });
  assert.equal(portOf(server), before);
  const probe = await listenTcp(t, (socket) => socket.destroy());
  await server.reconfigure({ ...SERVER_CONFIG, bindAddr: '127.0.0.2', bindPort: probe });
  assert.equal(portOf(server), probe);
  assert.equal(client.phase, 'online');
  await assert.rejects(ask(before, 'x'), { code: 'ECONNREFUSED' });
});

test('a server that still waits for a connection serves on when it is resumed, one that has stopped does not', async (t) => {
  const server = await startServer(t, { bindPort: await freePort() });
  const client = await startClient(t, portOf(server));
  await publish(client, await listenTcp(t, (socket) => socket.pipe(socket)));
  const stream = await client.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key' });
  const seen = collect(stream);
  const before = portOf(server);
  const stopped = server.stop(60_000);
  await assert.rejects(ask(before, 'x'), { code: 'ECONNREFUSED' });
  const taken = await listenTcp(t, (socket) => socket.destroy());
  await assert.rejects(server.resume({ ...SERVER_CONFIG, bindPort: taken }), { code: 'EDGE_ERR_LISTEN' });
  assert.equal(await server.resume({ ...SERVER_CONFIG, bindPort: before }), true);
  await stopped;
  stream.write(Buffer.from('still here'));
  await waitFor(() => seen.text() === 'still here', { what: 'echo' });
  assert.equal(client.phase, 'online');
  await startClient(t, portOf(server), { clientId: 'another' });
  stream.destroy();
  await server.stop(0);
  assert.equal(await server.resume(SERVER_CONFIG), false);
});

for (const [what, bytes] of [
  ['garbage', randomBytes(64)],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['a message that may not come first', encodeV1(message('Ping'))],
  ['a mux frame of an unknown type', Buffer.from('00ff00000000000000000000', 'hex')],
  ['a message that claims to be huge', Buffer.from('6f7fffffffffffffff', 'hex')],
  ['an end right away', Buffer.alloc(0)],
] as const) {
  test(`a peer that sends ${what} costs only itself`, async (t) => {
    const server = await startServer(t);
    const client = await startClient(t, portOf(server));
    const socket = connect({ port: portOf(server), host: '127.0.0.1' });
    socket.on('error', () => {}); // a reset is as good as a close here
    socket.end(bytes);
    socket.resume();
    await waitFor(() => socket.closed, { what: 'server closes' });
    assert.equal(client.phase, 'online');
    assert.equal(server.sessions().length, 1);
  });
}

test('a peer that says nothing, or opens a mux and does not log in, is cut off', async (t) => {
  const limits = { ...SERVER_CONFIG.limits, loginTimeoutMs: 200 };
  const server = await startServer(t, { limits });
  for (const bytes of [Buffer.alloc(0), Buffer.from('000200010000000000000000', 'hex'), Buffer.from('6f')]) {
    const socket = connect({ port: portOf(server), host: '127.0.0.1' });
    socket.on('error', () => {}); // a reset is as good as a close here
    if (bytes.length > 0) socket.write(bytes);
    socket.resume();
    await waitFor(() => socket.closed, { what: `close after ${bytes.toString('hex')}` });
  }
});

test('tls.force refuses clients without TLS and serves those with it', async (t) => {
  const server = await startServer(t, {
    tls: { force: true, cert: undefined, key: undefined, clientCa: undefined },
  });
  await startClient(t, portOf(server), { tls: {} });
  const plain = createClient(t, portOf(server));
  plain.start();
  await waitFor(() => plain.lastError, { what: 'refusal' });
});

test('serves thousands of streams at once over one session', async (t) => {
  const server = await startServer(t);
  const service = await listenTcp(t, serveHash);
  const client = await startClient(t, portOf(server), { poolCount: 5 });
  await publish(client, service);
  const streams = await Promise.all(
    Array.from({ length: 1000 }, () =>
      client.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key' }),
    ),
  );
  const seen = streams.map((stream) => collect(stream));
  for (const stream of streams) {
    stream.write(Buffer.from('x'));
    stream.end();
  }
  await waitFor(() => seen.every((one) => one.hasEnded), { what: 'all answers' });
  assert.deepEqual(new Set(seen.map((one) => one.text())), new Set([hashOf(Buffer.from('x'))]));
});
