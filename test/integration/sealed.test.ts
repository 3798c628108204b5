/** Sidecars that seal, through a Router that a recording relay stands in front of, all as processes. */
import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Router } from '../../src/api/gen/types.ts';
import { ROUTERS } from '../../src/api/edge.ts';
import { runEdge } from '../support/edge-process.ts';
import { exchange, startNode, whenServed } from '../support/sidecar-world.ts';

const QUESTION = 'a question in plain words that anybody would find';
const ANSWER = 'an answer in plain words that anybody would find';
/** What sidecars dial instead of the Router: the recorder has the same port on another loopback address. */
const RECORDER_HOST = '127.0.0.9';
const SECRET = { SIDECAR_SECRET_KEY: 'a-secret-that-only-sidecars-know' };
/** Without TLS the recorder sees what a Router sees. */
const PLAIN = { SIDECAR_ROUTER_TLS: 'off' };

async function listen(
  t: TestContext,
  where: { host: string; port: number },
  onSocket: (socket: Socket) => void,
): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(where.port, where.host, resolve);
  });
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A node whose Router is reached through a recorder; `hand.change` may alter what sidecars send. */
async function startRecordedNode(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const { bindPort } = (await node.client.get<Router>(ROUTERS, 'node-1')).spec.frps;
  const seen: Buffer[] = [];
  const hand = { change: (chunk: Buffer): Buffer => chunk };
  await listen(t, { host: RECORDER_HOST, port: bindPort }, (socket) => {
    const onward = connect({ host: '127.0.0.1', port: bindPort });
    onward.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      seen.push(chunk);
      onward.write(hand.change(chunk));
    });
    onward.on('data', (chunk: Buffer) => {
      seen.push(chunk);
      socket.write(chunk);
    });
    socket.on('close', () => onward.destroy());
    onward.on('close', () => socket.destroy());
  });
  node.startRouter('node-1', RECORDER_HOST);
  const target = await listen(t, { host: '127.0.0.1', port: 0 }, (socket) => {
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    socket.on('end', () => socket.end(`${ANSWER} (${bytes})`));
  });
  return { node, hand, target, wire: () => Buffer.concat(seen) };
}

async function startPair(
  t: TestContext,
  providerEnv: Record<string, string>,
  consumerEnv: Record<string, string>,
) {
  const world = await startRecordedNode(t);
  const provider = await world.node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `web=${world.target}`,
    ...PLAIN,
    ...providerEnv,
  });
  const consumer = await world.node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web',
    SIDECAR_PARK_TIMEOUT: '500ms',
    ...PLAIN,
    ...consumerEnv,
  });
  const { address, port } = await whenServed(consumer, 'web');
  return { ...world, provider, consumer, address, port };
}

const REQUIRED = { ...SECRET, SIDECAR_REQUIRE_SEALED: 'true' };

test('two sidecars with a secret seal, offered or required, and the wire shows no plaintext', async (t) => {
  for (const env of [SECRET, REQUIRED]) {
    const { provider, consumer, address, port, wire } = await startPair(t, env, env);
    const answer = `${ANSWER} (${QUESTION.length})`;
    assert.equal(await exchange(address, port, QUESTION), answer);
    const all = wire();
    assert.ok(all.length > 1000, 'the recorder recorded');
    for (const text of [QUESTION, ANSWER, SECRET.SIDECAR_SECRET_KEY]) assert.ok(!all.includes(text), text);
    assert.equal((await consumer.status()).services[0]?.sealed, true);
    assert.equal((await provider.status()).exports[0]?.sealed, true);
    assert.equal(await exchange(address, port, 'x'.repeat(3_000_000)), `${ANSWER} (3000000)`);
  }
});

test('without a secret nothing is sealed, the status says so, and the recorder reads', async (t) => {
  const { consumer, provider, address, port, wire } = await startPair(t, {}, {});
  await exchange(address, port, QUESTION);
  assert.ok(wire().includes(QUESTION));
  assert.equal((await consumer.status()).services[0]?.sealed, 'no secret');
  assert.equal((await provider.status()).exports[0]?.sealed, 'no secret');
});

test('a relay that changes payload is noticed: the connection breaks and no answer comes', async (t) => {
  const { hand, address, port } = await startPair(t, REQUIRED, REQUIRED);
  hand.change = (chunk) => {
    if (chunk.length < 10_000) return chunk;
    const changed = Buffer.from(chunk);
    const at = chunk.length >> 1;
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  await assert.rejects(exchange(address, port, 'x'.repeat(100_000)), { code: 'ECONNRESET' });
});

test('a sidecar that requires sealing does not talk to one that only offers it', async (t) => {
  const { address, port, consumer } = await startPair(t, SECRET, REQUIRED);
  await assert.rejects(exchange(address, port, QUESTION), { code: 'ECONNRESET' });
  assert.ok((await consumer.status()).parked.failed >= 1);
});

test('requiring sealing without a secret is a usage error', async () => {
  const { status, stderr } = await runEdge(['sidecar', '--server', 'http://127.0.0.1:1'], {
    env: { SIDECAR_MAPPED_SERVICES: 'web', SIDECAR_REQUIRE_SEALED: 'true' },
  });
  assert.equal(status, 2);
  assert.match(stderr, /web\.default/u);
});
