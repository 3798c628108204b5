import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { createAuthority } from '../../test/support/certificates.ts';
import {
  ask,
  createClient,
  listenTcp,
  listenVisitor,
  publish,
  SERVER_CONFIG,
  startClient,
  startServer,
} from '../../test/support/frp-pair.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { PATIENCE_MS, waitFor } from '../../test/support/wait.ts';
import { errorCode } from '../lib/errors.ts';
import { systemClock } from '../lib/clock.ts';
import { TUNNEL_ERRORS } from './errors.ts';
import { message } from './frp/message.ts';
import { MessageChannel } from './frp/message-channel.ts';
import type { FrpClientConfig } from './frpc/types.ts';
import { dialServer } from './frpc/dial.ts';
import type { FrpServer } from './frps/types.ts';

checkLeaks();

const DATA = randomBytes(3 * 1024 * 1024 + 17);
const HASH = createHash('sha256').update(DATA).digest('hex');

const portOf = (server: FrpServer): number => server.port as number;

/** Answers the hash of all that came, once the request has ended. */
function serveHash(socket: Socket): void {
  const hash = createHash('sha256');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest('hex')));
  socket.resume();
}

/** Sends DATA back once something came: no half-close is needed. */
function serveData(socket: Socket): void {
  socket.once('data', () => socket.end(DATA));
  socket.resume();
}

const V2 = { wireProtocol: 'v2' } as const;
const WEBSOCKET = { transport: 'websocket' } as const;

for (const [what, client] of [
  ['v2 over a mux', V2],
  ['v2 without a mux', { ...V2, tcpMux: false }],
  ['v2 over a mux in TLS', { ...V2, tls: {} }],
  ['TLS behind the marker byte', { tls: { customFirstByte: true } }],
  ['a mux in a websocket', WEBSOCKET],
  ['a mux in TLS in a websocket', { ...WEBSOCKET, tls: {} }],
  ['a mux in TLS behind the marker byte in a websocket', { ...WEBSOCKET, tls: { customFirstByte: true } }],
  ['v2 over a mux in TLS in a websocket', { ...WEBSOCKET, ...V2, tls: {} }],
] as const) {
  test(`carries an stcp service: ${what}, the tail after a half-close included`, async (t) => {
    const server = await startServer(t);
    const provider = await startClient(t, portOf(server), client);
    const visitor = await startClient(t, portOf(server), client);
    await publish(provider, await listenTcp(t, serveHash));
    const port = await listenVisitor(t, visitor);
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(port, DATA)));
    for (const answer of answers) assert.equal(answer.toString(), HASH);
    await waitFor(() => server.totals().openConnections === 0, { what: 'all connections closed' });
  });
}

for (const [what, client] of [
  ['plain', WEBSOCKET],
  ['in TLS', { ...WEBSOCKET, tls: {} }],
] as const) {
  test(`a websocket for each connection, ${what}, carries answers to their end`, async (t) => {
    const server = await startServer(t);
    const provider = await startClient(t, portOf(server), { ...client, tcpMux: false });
    const visitor = await startClient(t, portOf(server), { ...client, tcpMux: false });
    await publish(provider, await listenTcp(t, serveData));
    for (let count = 0; count < 5; count++) {
      const stream = await visitor.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key' });
      const hash = createHash('sha256');
      await new Promise<void>((resolve, reject) => {
        stream.setHandler({
          onData: (chunk) => {
            hash.update(chunk);
          },
          onEnd: () => stream.end(),
          onDrain: () => {},
          onClose: (err) => (err === undefined ? resolve() : reject(err)),
        });
        stream.write(Buffer.from('go'));
        stream.resume();
      });
      assert.equal(hash.digest('hex'), HASH);
    }
  });
}

test('clients of both wire protocols share a server, and the server tells them apart', async (t) => {
  const server = await startServer(t);
  const old = await startClient(t, portOf(server), { user: 'old' });
  const young = await startClient(t, portOf(server), { user: 'young', ...V2 });
  await publish(old, await listenTcp(t, serveHash), { allowUsers: ['*'] });
  const port = await listenVisitor(t, young, { proxyName: 'old.web.default.pod' });
  assert.equal((await ask(port, DATA)).toString(), HASH);
  const wires = new Map(server.sessions().map(({ user, wireProtocol }) => [user, wireProtocol]));
  assert.deepEqual([wires.get('old'), wires.get('young')], ['v1', 'v2']);
});

test('a wrong token is refused in v2 too, in words', async (t) => {
  const server = await startServer(t);
  const client = createClient(t, portOf(server), { token: 'wrong', ...V2 });
  client.start();
  await waitFor(() => client.phase === 'refused', { what: 'refusal' });
  assert.equal(errorCode(client.lastError), TUNNEL_ERRORS.loginRefused);
});

async function openChannel(t: TestContext, server: FrpServer): Promise<MessageChannel> {
  const config = { server: { host: '127.0.0.1', port: portOf(server) }, tls: undefined };
  const stream = await dialServer(config, AbortSignal.timeout(PATIENCE_MS));
  t.after(() => stream.destroy());
  return MessageChannel.open(stream, systemClock, 'v2');
}

test('a v2 login without a hello is answered with an error, and the connection closed', async (t) => {
  const server = await startServer(t);
  const channel = await openChannel(t, server);
  channel.send(message('Login'));
  const { body } = await channel.expect(['LoginResp'], PATIENCE_MS);
  assert.match(body.error, /hello/u);
  await assert.rejects(channel.expect(['Pong'], PATIENCE_MS), { code: TUNNEL_ERRORS.closed });
  assert.equal(server.sessions().length, 0);
});

test('a v2 connection that says no more than its magic is closed in time', async (t) => {
  const server = await startServer(t, { limits: { ...SERVER_CONFIG.limits, loginTimeoutMs: 200 } });
  const channel = await openChannel(t, server);
  await assert.rejects(channel.expect(['LoginResp'], PATIENCE_MS), { code: 'ECONNRESET' });
});

test('a hello that cannot be served is answered with the reason', async (t) => {
  const server = await startServer(t);
  const stream = await dialServer(
    { server: { host: '127.0.0.1', port: portOf(server) }, tls: undefined },
    AbortSignal.timeout(PATIENCE_MS),
  );
  t.after(() => stream.destroy());
  let answer = '';
  stream.setHandler({
    onData: (chunk) => {
      answer += chunk.toString('latin1');
    },
    onEnd: () => stream.end(),
    onDrain: () => {},
    onClose: () => {},
  });
  const hello = Buffer.from('{"capabilities":{"message":{"codecs":["gob"]}}}');
  stream.write(
    Buffer.concat([Buffer.from('46525000020d0a0001000000000000', 'hex').fill(hello.length, 14), hello]),
  );
  stream.resume();
  await waitFor(() => answer.endsWith('"error":"unsupported message codec"}'), { what: 'refusal' });
});

interface Case {
  what: string;
  tls: FrpClientConfig['tls'];
  isAdmitted: boolean;
}

test('a server with a client authority admits only clients that it signed', async (t) => {
  const [ours, theirs] = [createAuthority(t, 'ours'), createAuthority(t, 'theirs')];
  if (ours === undefined || theirs === undefined) return;
  const certificate = ours.sign('router', 'DNS:router.example.org', 'IP:127.0.0.1');
  const client = ours.sign('client');
  const stranger = theirs.sign('client');
  const server = await startServer(t, {
    tls: { force: false, cert: certificate.cert, key: certificate.key, clientCa: ours.cert },
  });
  const pair = ({ cert, key }: { cert: string; key: string }): { cert: string; key: string } => ({
    cert,
    key,
  });
  const cases: readonly Case[] = [
    { what: 'signed', tls: pair(client), isAdmitted: true },
    { what: 'signed, and verifies the address', tls: { ...pair(client), ca: ours.cert }, isAdmitted: true },
    {
      what: 'signed, and verifies the name',
      tls: { ...pair(client), ca: ours.cert, servername: 'router.example.org', customFirstByte: true },
      isAdmitted: true,
    },
    {
      what: 'signed, and wants another name',
      tls: { ...pair(client), ca: ours.cert, servername: 'other.example.org' },
      isAdmitted: false,
    },
    {
      what: 'signed, and trusts another authority',
      tls: { ...pair(client), ca: theirs.cert },
      isAdmitted: false,
    },
    { what: 'signed by another authority', tls: pair(stranger), isAdmitted: false },
    { what: 'without a certificate', tls: {}, isAdmitted: false },
    { what: 'without TLS', tls: undefined, isAdmitted: false },
  ];
  for (const transport of ['tcp', 'websocket'] as const) {
    for (const { what, tls, isAdmitted } of cases) {
      const peer = createClient(t, portOf(server), { tls, transport });
      peer.start();
      await waitFor(() => ['online', 'waiting', 'refused'].includes(peer.phase), {
        what: `${what}: an outcome`,
      });
      assert.equal(peer.phase, isAdmitted ? 'online' : 'waiting', `${transport}, ${what}`);
      await peer.stop();
    }
  }
});

test('a server that forces TLS makes its own certificate and refuses plain connections', async (t) => {
  const server = await startServer(t, { tls: { ...SERVER_CONFIG.tls, force: true } });
  await startClient(t, portOf(server), { tls: {} });
  await startClient(t, portOf(server), { tls: {}, ...WEBSOCKET });
  for (const transport of ['tcp', 'websocket'] as const) {
    const plain = createClient(t, portOf(server), { transport });
    plain.start();
    await waitFor(() => plain.phase === 'waiting', { what: 'refusal' });
  }
  // Who brings an authority verifies, and a self-signed certificate does not pass.
  const authority = createAuthority(t, 'some');
  if (authority === undefined) return;
  const strict = createClient(t, portOf(server), { tls: { ca: authority.cert } });
  strict.start();
  await waitFor(() => strict.phase === 'waiting', { what: 'refusal' });
});

test('a name is sent for the server to choose by, an address is not', async (t) => {
  const authority = createAuthority(t, 'some');
  if (authority === undefined) return;
  const { cert, key } = authority.sign('router', 'IP:127.0.0.1', 'DNS:localhost');
  const { createServer } = await import('node:tls');
  const names: (string | false | null)[] = [];
  const server = createServer({ cert, key }, (socket) => {
    names.push(socket.servername);
    socket.destroy();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  for (const [host, servername] of [
    ['127.0.0.1', undefined],
    ['127.0.0.1', '127.0.0.1'],
    ['localhost', undefined],
    ['127.0.0.1', 'localhost'],
  ] as const) {
    const tls = { ca: authority.cert, ...(servername === undefined ? {} : { servername }) };
    const before = names.length;
    const stream = await dialServer({ server: { host, port }, tls }, AbortSignal.timeout(PATIENCE_MS));
    await waitFor(() => names.length > before, { what: 'the connection at the server' });
    stream.destroy();
  }
  assert.deepEqual(names, [false, false, 'localhost', 'localhost']);
});

test('a TLS session cannot be resumed past the check of the certificate', async (t) => {
  const authority = createAuthority(t, 'ours');
  if (authority === undefined) return;
  const client = authority.sign('client');
  const server = await startServer(t, { tls: { ...SERVER_CONFIG.tls, clientCa: authority.cert } });
  const open = (
    session?: Buffer,
    identity: { cert?: string; key?: string } = {},
  ): Promise<Buffer | undefined> =>
    new Promise((resolve) => {
      let found: Buffer | undefined;
      const socket = connectTls({
        port: portOf(server),
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ...(session === undefined ? {} : { session }),
        ...identity,
      });
      socket.on('session', (ticket: Buffer) => {
        found = ticket;
        socket.destroy();
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(found));
    });
  const ticket = await open(undefined, { cert: client.cert, key: client.key });
  assert.ok(ticket);
  // Under a new authority, contexts and their tickets are new: the old session is worth nothing.
  const other = createAuthority(t, 'other');
  assert.ok(other);
  await server.reconfigure({ ...SERVER_CONFIG, tls: { ...SERVER_CONFIG.tls, clientCa: other.cert } });
  assert.equal(await open(ticket), undefined);
  assert.equal(server.sessions().length, 0);
});
