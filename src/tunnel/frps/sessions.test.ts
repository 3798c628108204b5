/** Sessions of the server from outside: who may log in, what a newer login takes over, what is left when they go. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import {
  ask,
  createClient,
  listenTcp,
  listenVisitor,
  publish,
  SERVER_CONFIG,
  startClient,
  startServer,
} from '../../../test/support/frp-pair.ts';
import type { Cleanup } from '../../../test/support/frp-pair.ts';
import { startBlackHole } from '../../../test/support/black-hole.ts';
import { checkLeaks } from '../../../test/support/leak-check.ts';
import { heldMiB } from '../../../test/support/memory.ts';
import { PATIENCE_MS, waitFor } from '../../../test/support/wait.ts';
import { systemClock } from '../../lib/clock.ts';
import { TUNNEL_ERRORS } from '../errors.ts';
import { authKey } from '../frp/auth.ts';
import { message } from '../frp/message.ts';
import type { Message, MessageBody } from '../frp/message.ts';
import { MessageChannel } from '../frp/message-channel.ts';
import { socketStream } from '../socket-stream.ts';
import { YamuxSession } from '../yamux/session.ts';
import type { FrpServer } from './types.ts';

checkLeaks();

const portOf = (server: FrpServer): number => server.port as number;

let newestLoginSeconds = 1_700_000_000;

/** A login that is newer than all before it. */
function login(members: Partial<MessageBody<'Login'>> = {}, token = 'secret'): Message {
  newestLoginSeconds += 1;
  const timestamp = newestLoginSeconds;
  return message('Login', {
    version: '0.70.1',
    privilege_key: authKey(token, timestamp),
    timestamp,
    ...members,
  });
}

/** A connection to the server that messages go over one by one, with a mux or without. */
function open(t: Cleanup, port: number, isMultiplexed = false): { socket: Socket; channel: MessageChannel } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => {
    socket.destroy();
  });
  const stream = socketStream(socket);
  if (!isMultiplexed) return { socket, channel: new MessageChannel(stream, systemClock) };
  const mux = new YamuxSession(
    stream,
    'client',
    { onStream: (opened) => opened.destroy(), onClose: () => {} },
    { clock: systemClock },
  );
  t.after(() => mux.close());
  return { socket, channel: new MessageChannel(mux.openStream(), systemClock) };
}

/** Logs in and resolves with the answer. */
async function logIn(channel: MessageChannel, request = login()): Promise<MessageBody<'LoginResp'>> {
  channel.send(request);
  return (await channel.expect(['LoginResp'], PATIENCE_MS)).body;
}

for (const tcpMux of [true, false]) {
  test(`a newer login wins at once against a connection that forwards nothing, ${tcpMux ? 'over a mux' : 'without a mux'}`, async (t) => {
    const server = await startServer(t);
    const rounds = 100;
    const tookMs: number[] = [];
    let runId = '';
    let remotePort = 0;
    for (let round = 0; round < rounds; round++) {
      const hole = await startBlackHole(t, portOf(server));
      const { channel } = open(t, hole.port, tcpMux);
      const began = performance.now();
      const answer = await logIn(channel, login({ run_id: runId }));
      assert.equal(answer.error, '');
      tookMs.push(performance.now() - began);
      runId = answer.run_id;
      channel.encrypt('secret');
      channel.send(message('NewProxy', { proxy_name: 'p', proxy_type: 'tcp', remote_port: remotePort }));
      const { body } = await channel.expect(['NewProxyResp'], PATIENCE_MS);
      assert.equal(body.error, '');
      remotePort = Number(body.remote_addr.slice(1));
      hole.hold();
    }
    assert.equal(server.sessions().length, 1);
    assert.equal(server.proxies().length, 1);
    // of most, since the machine may pause
    const median = tookMs.sort((a, b) => a - b)[rounds / 2] ?? Infinity;
    assert.ok(median < 1000, `logins had to wait ${median} ms`);
  });
}

test('of logins that come while a run id is handed over, the newest gets it', async (t) => {
  const server = await startServer(t);
  const first = open(t, portOf(server));
  const { run_id } = await logIn(first.channel);
  first.channel.encrypt('secret');
  // A proxy that is being opened holds the hand-over up for a moment.
  first.channel.send(message('NewProxy', { proxy_name: 'p', proxy_type: 'tcp' }));
  const others = Array.from({ length: 5 }, () => open(t, portOf(server)));
  const answers = await Promise.all(others.map(({ channel }) => logIn(channel, login({ run_id }))));
  assert.equal(answers.at(-1)?.error, '');
  for (const { error } of answers)
    assert.match(error, /^(?:superseded by a newer login|login is not newer than the one .*)?$/u);
  await waitFor(() => server.sessions().length === 1 && server.proxies().length === 0, {
    what: 'one session',
  });
});

test('a login that somebody saw and sends again, with whatever run id, cuts nobody off', async (t) => {
  const server = await startServer(t);
  const seen = login();
  const { channel } = open(t, portOf(server), true);
  const { run_id } = await logIn(channel, seen);
  channel.encrypt('secret');
  const stolen: Message = {
    ...seen,
    name: 'Login',
    body: { ...(seen.body as MessageBody<'Login'>), run_id },
  };
  const answer = await logIn(open(t, portOf(server)).channel, stolen);
  assert.match(answer.error, /not newer/u);
  channel.send(message('NewProxy', { proxy_name: 'p', proxy_type: 'tcp' }));
  assert.equal((await channel.expect(['NewProxyResp'], PATIENCE_MS)).body.error, '');
  assert.equal((await logIn(open(t, portOf(server)).channel, login({ run_id }))).error, '');
});

test('a client id is one client: a second is refused while the first is online, its own return is not', async (t) => {
  const server = await startServer(t);
  const first = open(t, portOf(server));
  const { run_id } = await logIn(first.channel, login({ client_id: 'a', user: 'u' }));
  const second = await logIn(open(t, portOf(server)).channel, login({ client_id: 'a', user: 'u' }));
  assert.match(second.error, /client id a is online/u);
  for (const request of [
    { client_id: 'a', user: 'v' },
    { client_id: '', user: 'u' },
    { client_id: 'a', user: 'u', run_id },
  ]) {
    assert.equal((await logIn(open(t, portOf(server)).channel, login(request))).error, '');
  }
  assert.equal(server.sessions().length, 3);
});

test('during a rotation two tokens are accepted, and a session keeps the one it came with', async (t) => {
  const server = await startServer(t, {
    token: 'new',
    acceptedTokens: ['old'],
    additionalScopes: ['NewWorkConns'],
  });
  const service = await listenTcp(t, (socket) => socket.pipe(socket));
  const additionalScopes = ['NewWorkConns'] as const;
  const old = await startClient(t, portOf(server), { token: 'old', additionalScopes });
  const fresh = await startClient(t, portOf(server), { token: 'new', additionalScopes });
  await publish(old, service, { useEncryption: true });
  await publish(fresh, service, { name: 'fresh', useEncryption: true });
  for (const [client, proxyName] of [
    [old, 'fresh'],
    [fresh, 'web.default.pod'],
  ] as const) {
    const port = await listenVisitor(t, client, { proxyName, useEncryption: true });
    assert.equal((await ask(port, 'hello')).toString(), 'hello');
  }
  await server.reconfigure({
    ...SERVER_CONFIG,
    bindPort: 0,
    token: 'new',
    acceptedTokens: [],
    additionalScopes: ['NewWorkConns'],
  });
  const port = await listenVisitor(t, fresh);
  assert.equal((await ask(port, 'still')).toString(), 'still');
  const late = createClient(t, portOf(server), { token: 'old' });
  late.start();
  await waitFor(() => late.phase === 'refused', { what: 'refusal' });
});

test('without detailed errors clients learn that they are refused, not why', async (t) => {
  const server = await startServer(t, { detailedErrorsToClient: false, allowPorts: [{ start: 1, end: 2 }] });
  const refused = createClient(t, portOf(server), { token: 'wrong' });
  refused.start();
  await waitFor(() => refused.phase === 'refused', { what: 'refusal' });
  assert.match(refused.lastError?.message ?? '', /refused: register control error$/u);
  const client = await startClient(t, portOf(server));
  const proxy = client.addProxy({ name: 'p', type: 'tcp', remotePort: 80, onConnection: () => {} });
  await waitFor(() => proxy.phase === 'refused', { what: 'refusal' });
  assert.equal(proxy.error, 'new proxy [p] error');
  await assert.rejects(client.openVisitor({ proxyName: 'nobody', secretKey: '' }), {
    message: 'nobody: register visitor conn error',
  });
});

test('proxies are refused for what they ask: ports, their number, limits, annotations', async (t) => {
  const taken = await listenTcp(t, (socket) => socket.destroy());
  const server = await startServer(t, {
    allowPorts: [
      { start: taken, end: taken },
      { start: 20_000, end: 20_000 },
    ],
    maxPortsPerClient: 1,
  });
  const client = await startClient(t, portOf(server));
  const refusal = async (name: string, changes: object): Promise<string> => {
    const proxy = client.addProxy({ name, type: 'tcp', onConnection: () => {}, ...changes });
    await waitFor(() => proxy.phase !== 'waiting', { what: 'an answer' });
    return proxy.error ?? '';
  };
  assert.match(await refusal('a', { remotePort: 20_001 }), /^port not allowed/u);
  assert.match(await refusal('b', { remotePort: taken }), /^port unavailable/u);
  const mode = { bandwidthLimit: '1XB', bandwidthLimitMode: 'server', type: 'stcp' };
  assert.throws(() => client.addProxy({ ...mode, name: 'c', onConnection: () => {} } as never), {
    code: TUNNEL_ERRORS.proxyRefused,
  });
  assert.match(await refusal('d', { bandwidthLimitMode: 'both' }), /should be client or server/u);
  assert.match(
    await refusal('e', { annotations: { 'not a key': '' } }),
    /annotation key not a key is invalid/u,
  );
  assert.equal(await refusal('f', { type: 'stcp', annotations: { 'example.org/key': 'any value' } }), '');
  assert.match(await refusal('g', { remotePort: 20_000 }), /^(?:port unavailable.*)?$/u);
  assert.match(await refusal('h', { remotePort: 20_000 }), /^exceed the max_ports_per_client|^port/u);
});

test('a port that the server chose comes back to its name', async (t) => {
  const server = await startServer(t);
  const client = await startClient(t, portOf(server));
  let before = 0;
  for (let round = 0; round < 5; round++) {
    const proxy = client.addProxy({ name: 'p', type: 'tcp', onConnection: () => {} });
    await waitFor(() => proxy.phase === 'running', { what: 'proxy' });
    const port = server.proxies()[0]?.remotePort as number;
    if (round > 0) assert.equal(port, before);
    before = port;
    proxy.close();
    await waitFor(() => server.proxies().length === 0, { what: 'no proxy' });
  }
});

test('names belong to a session: they are free when it ends, whoever had them', async (t) => {
  const server = await startServer(t);
  for (let round = 0; round < 5; round++) {
    const client = await startClient(t, portOf(server));
    await publish(client, 9);
    await client.stop();
    await waitFor(() => server.proxies().length === 0, { what: 'no proxy' });
  }
});

test('visitors that wait for a work connection are bounded, a proxy', async (t) => {
  const limits = { ...SERVER_CONFIG.limits, maxQueuedVisitors: 3 };
  const server = await startServer(t, { limits, userConnTimeoutMs: 1500 });
  const provider = open(t, portOf(server));
  await logIn(provider.channel, login({ pool_count: 0 }));
  provider.channel.encrypt('secret');
  provider.channel.send(message('NewProxy', { proxy_name: 'p', proxy_type: 'stcp', sk: 'key' }));
  await waitFor(() => server.proxies().length === 1, { what: 'proxy' });
  const visitor = await startClient(t, portOf(server));
  const outcomes = await Promise.allSettled(
    Array.from({ length: 5 }, () => visitor.openVisitor({ proxyName: 'p', secretKey: 'key' })),
  );
  const reasons = outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : ''));
  assert.equal(reasons.filter((reason) => reason.includes('visitors wait')).length, 2);
  assert.equal(reasons.filter((reason) => reason.includes('no work connection')).length, 3);
  await assert.rejects(visitor.openVisitor({ proxyName: 'p', secretKey: 'key' }), /no work connection/u);
});

test('a mux whose peer never logs in is cut, whatever run ids it names, and holds few streams', async (t) => {
  const limits = { ...SERVER_CONFIG.limits, loginTimeoutMs: 300, maxPendingConnections: 2 };
  const server = await startServer(t, { limits });
  const socket = connect({ port: portOf(server), host: '127.0.0.1', allowHalfOpen: true });
  let isCut = false;
  let resets = 0;
  const mux = new YamuxSession(
    socketStream(socket),
    'client',
    {
      onStream: (opened) => opened.destroy(),
      onClose: () => {
        isCut = true;
      },
    },
    { clock: systemClock },
  );
  t.after(() => mux.close());
  for (let at = 0; at < 20; at++) {
    const stream = mux.openStream();
    const channel = new MessageChannel(stream, systemClock);
    channel.send(
      at % 2 === 0
        ? message('NewWorkConn', { run_id: 'nobody' })
        : message('NewVisitorConn', { run_id: 'x' }),
    );
    channel.expect(['StartWorkConn', 'NewVisitorConnResp'], 1000).then(
      ({ body }) => assert.notEqual(body.error, ''),
      () => {
        resets += 1;
      },
    );
  }
  // A second connection fills the places for those that have not logged in; a third takes the place of the oldest.
  const silent = open(t, portOf(server));
  await waitFor(() => silent.socket.readyState === 'open', { what: 'connection' });
  const third = connect({ port: portOf(server), host: '127.0.0.1' });
  third.on('error', () => {}); // a reset is as good as a close here
  third.resume();
  await waitFor(() => third.closed, { what: 'the third connection to be turned away' });
  await waitFor(() => isCut, { what: 'the cut' });
  assert.ok(resets >= 12, `${resets} streams were reset`);
  assert.equal((await logIn(open(t, portOf(server)).channel)).error, '');
});

test(
  '2000 logins and logouts leave no session, connection or memory behind',
  { timeout: 100_000 },
  async (t) => {
    const server = await startServer(t);
    const service = await listenTcp(t, (socket) => socket.pipe(socket));
    const end = performance.now() + 80_000;
    const cycle = async (): Promise<void> => {
      const socket = connect({ port: portOf(server), host: '127.0.0.1', allowHalfOpen: true });
      const channel = new MessageChannel(socketStream(socket), systemClock);
      assert.equal((await logIn(channel)).error, '');
      channel.encrypt('secret');
      channel.send(message('NewProxy', { proxy_name: `p${Math.random()}`, proxy_type: 'stcp' }));
      await channel.expect(['NewProxyResp'], PATIENCE_MS);
      socket.destroy();
    };
    let cycles = 0;
    const run = async (count: number): Promise<void> => {
      for (; cycles < count && performance.now() < end; cycles += 10)
        await Promise.all(Array.from({ length: 10 }, cycle));
    };
    await run(500);
    const before = heldMiB();
    await run(2000);
    assert.equal(cycles, 2000, 'the cycles took too long');
    await waitFor(() => server.sessions().length === 0 && server.proxies().length === 0, {
      what: 'all gone',
    });
    const grownMiB = heldMiB() - before;
    assert.ok(grownMiB < 3, `memory in use grew by ${grownMiB.toFixed(1)} MiB`);
    const client = await startClient(t, portOf(server));
    await publish(client, service);
    const port = await listenVisitor(t, client);
    await Promise.all(Array.from({ length: 200 }, () => ask(port, 'x')));
    await waitFor(() => server.totals().openConnections === 0 && server.visitors()[0]?.connections === 0, {
      what: 'no connection',
    });
  },
);

test('a run id is of use only on the connection that its client came over', async (t) => {
  const server = await startServer(t);
  const client = await startClient(t, portOf(server));
  await publish(client, await listenTcp(t, (socket) => socket.pipe(socket)));
  const run_id = client.runId ?? '';
  for (const isMultiplexed of [false, true]) {
    const work = open(t, portOf(server), isMultiplexed).channel;
    work.send(message('NewWorkConn', { run_id }));
    assert.match(
      (await work.expect(['StartWorkConn'], PATIENCE_MS)).body.error,
      /no client with this run id/u,
    );
    const timestamp = 1_700_000_000;
    const visitor = open(t, portOf(server), isMultiplexed).channel;
    const proof = { sign_key: authKey('key', timestamp), timestamp };
    visitor.send(message('NewVisitorConn', { run_id, proxy_name: 'web.default.pod', ...proof }));
    assert.match(
      (await visitor.expect(['NewVisitorConnResp'], PATIENCE_MS)).body.error,
      /no client with run id/u,
    );
  }
});

test('when there are too many clients, one that has only logged in makes room', async (t) => {
  const server = await startServer(t, { limits: { ...SERVER_CONFIG.limits, maxSessions: 2 } });
  const first = open(t, portOf(server)).channel;
  assert.equal((await logIn(first)).error, '');
  first.encrypt('secret');
  first.send(message('NewProxy', { proxy_name: 'p', proxy_type: 'stcp' }));
  await first.expect(['NewProxyResp'], PATIENCE_MS);
  const copy = await logIn(open(t, portOf(server)).channel);
  assert.equal(copy.error, '');
  const another = open(t, portOf(server)).channel;
  assert.equal((await logIn(another)).error, '');
  await waitFor(() => server.sessions().every(({ runId }) => runId !== copy.run_id), {
    what: 'the one that said nothing to go',
  });
  another.encrypt('secret');
  another.send(message('Ping'));
  await another.expect(['Pong'], PATIENCE_MS);
  assert.equal((await logIn(open(t, portOf(server)).channel)).error, 'too many clients');
  assert.equal(server.proxies().length, 1);
});

test('a client whose clock was set back is let in when its old connection is dead, not when it lives', async (t) => {
  const server = await startServer(t);
  const hole = await startBlackHole(t, portOf(server));
  const timestamp = 1_700_000_000;
  const privilege_key = authKey('secret', timestamp);
  const { run_id } = await logIn(open(t, hole.port, true).channel, login({ timestamp, privilege_key }));
  const again = (): Promise<MessageBody<'LoginResp'>> =>
    logIn(open(t, portOf(server), true).channel, login({ run_id, timestamp, privilege_key }));
  assert.match((await again()).error, /not newer/u);
  hole.hold();
  // What it sent a moment ago may still count as a sign of life.
  await waitFor(async () => (await again()).error === '', { what: 'the login' });
  assert.equal(server.sessions().length, 1);
});

test('a stranger that opens stream after stream is cut off at once', async (t) => {
  const server = await startServer(t, { limits: { ...SERVER_CONFIG.limits, loginTimeoutMs: 120_000 } });
  const socket = connect({ port: portOf(server), host: '127.0.0.1' });
  socket.on('error', () => {});
  socket.resume();
  const syns = Buffer.alloc(12 * 5000);
  for (let at = 0; at < 5000; at++) {
    syns.set([0, 1, 0, 1], 12 * at);
    syns.writeUInt32BE(2 * at + 1, 12 * at + 4);
  }
  socket.write(syns);
  await waitFor(() => socket.closed, { what: 'the cut' });
});

test('a stranger that asks and does not read is cut off long before its time to log in is over', async (t) => {
  const server = await startServer(t, { limits: { ...SERVER_CONFIG.limits, loginTimeoutMs: 120_000 } });
  const socket = connect({ port: portOf(server), host: '127.0.0.1' });
  socket.on('error', () => {});
  socket.pause();
  t.after(() => {
    socket.destroy();
  });
  let isGone = false;
  socket.on('close', () => {
    isGone = true;
  });
  const pings = Buffer.alloc(12 * 10_000);
  for (let at = 0; at < pings.length; at += 12) pings.set([0, 2, 0, 1], at);
  const ask = (): boolean => {
    if (!isGone && socket.writableLength === 0) for (let count = 0; count < 20; count++) socket.write(pings);
    return isGone;
  };
  await waitFor(ask, { what: 'the cut' });
});
