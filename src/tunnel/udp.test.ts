import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, publish, startClient, startServer } from '../../test/support/frp-pair.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { QUIET_PORTS } from '../../test/support/ports.ts';
import { createUser, listenUdpVisitor, openUdp, publishUdp, serveUdp } from '../../test/support/udp-pair.ts';
import { SOON_MS, waitFor } from '../../test/support/wait.ts';
import { TUNNEL_ERRORS } from './errors.ts';

checkLeaks();

for (const [what, settings, payload] of [
  ['over a mux', {}, {}],
  ['without a mux in TLS', { tcpMux: false, tls: {} }, {}],
  ['encrypted', {}, { useEncryption: true }],
  ['encrypted and compressed', {}, { useEncryption: true, useCompression: true }],
  ['in wire protocol v2', { wireProtocol: 'v2' }, {}],
] as const) {
  test(`carries a udp proxy and a sudp service, answers to those who asked: ${what}`, async (t) => {
    const server = await startServer(t);
    const service = await serveUdp(t);
    const provider = await startClient(t, server.port as number, settings);
    const consumer = await startClient(t, server.port as number, settings);
    const wire = 'wireProtocol' in settings ? settings.wireProtocol : 'v1';
    const { remotePort } = await publishUdp(t, provider, service.port, {
      name: 'udp',
      type: 'udp',
      ...payload,
    });
    await publishUdp(t, provider, service.port, payload);
    const { port, visitor } = await listenUdpVisitor(t, consumer, payload, wire);
    const users = await Promise.all(Array.from({ length: 5 }, () => createUser(t)));
    for (const where of [remotePort, port]) {
      await Promise.all(
        users.map((user, at) => user.ask(where, `user ${at} at ${where} ${'x'.repeat(1200)}`)),
      );
    }
    for (const [at, { heard }] of users.entries()) {
      assert.ok(
        heard.every((text) => text.startsWith(`user ${at} `)),
        `user ${at} heard of others`,
      );
    }
    assert.equal(service.users.size, 10);
    assert.equal(visitor.counters.opened, 1);
    const [udp, sudp] = server.proxies();
    assert.equal(udp?.remotePort, remotePort);
    assert.equal(udp?.connections, 5);
    assert.ok((udp?.bytesIn ?? 0) > 5 * 1200);
    assert.ok((udp?.bytesOut ?? 0) > 5 * 1200);
    assert.equal(sudp?.connections, 1);
    assert.equal(server.visitors()[0]?.type, 'sudp');
    assert.ok(server.totals().bytesIn > 10 * 1200);
  });
}

for (const [providing, visiting] of [
  ['v1', 'v2'],
  ['v2', 'v1'],
] as const) {
  test(`a visitor that speaks ${visiting} reaches a provider that speaks ${providing}`, async (t) => {
    const server = await startServer(t);
    const service = await serveUdp(t);
    const provider = await startClient(t, server.port as number, { wireProtocol: providing });
    const consumer = await startClient(t, server.port as number, { wireProtocol: visiting });
    await publishUdp(t, provider, service.port);
    const { port } = await listenUdpVisitor(t, consumer, {}, visiting);
    const user = await createUser(t);
    await user.ask(port, 'hello');
    await user.ask(port, 'y'.repeat(7000));
  });
}

test('a udp proxy that loses its work connection takes another one', async (t) => {
  const server = await startServer(t);
  const service = await serveUdp(t);
  const client = await startClient(t, server.port as number);
  const { provider, remotePort } = await publishUdp(t, client, service.port, { type: 'udp' });
  const user = await createUser(t);
  await user.ask(remotePort, 'before');
  provider.close();
  await waitFor(() => provider.counters.links === 1, { what: 'another work connection' });
  await user.ask(remotePort, 'after');
});

test('a visitor connection that breaks is opened again by the next datagram', async (t) => {
  const server = await startServer(t);
  const service = await serveUdp(t);
  const client = await startClient(t, server.port as number);
  const { provider } = await publishUdp(t, client, service.port);
  const { port, visitor } = await listenUdpVisitor(t, client);
  const user = await createUser(t);
  await user.ask(port, 'before');
  provider.close();
  await waitFor(() => visitor.phase === 'idle', { what: 'the end of the visitor connection' });
  await waitFor(() => server.totals().openConnections === 0, { what: 'its end at the server' });
  await user.ask(port, 'after');
  assert.equal(visitor.counters.opened, 2);
});

test('a udp proxy frees its port, and a taken or forbidden one is refused', async (t) => {
  const server = await startServer(t, { allowPorts: [QUIET_PORTS], maxPortsPerClient: 2 });
  const client = await startClient(t, server.port as number);
  const { remotePort } = await publishUdp(t, client, 9, { name: 'a', type: 'udp' });
  const refusal = async (name: string, port: number): Promise<string> => {
    const proxy = client.addProxy({ name, type: 'udp', remotePort: port, onConnection() {} });
    await waitFor(() => proxy.phase === 'refused', { what: 'refusal' });
    proxy.close();
    return proxy.error ?? '';
  };
  assert.match(await refusal('b', remotePort), /already used/u);
  assert.match(await refusal('c', QUIET_PORTS.start - 1), /not allowed/u);
  // The same number over TCP is another port.
  await publish(client, 9, { name: 'd', type: 'tcp', remotePort });
  assert.match(await refusal('e', 0), /max_ports_per_client 2/u);
  await client.stop();
  await waitFor(() => server.proxies().length === 0, { what: 'proxies gone' });
  const taken = await openUdp(t, remotePort);
  assert.equal(taken.address().port, remotePort);
});

test('datagrams larger than udpPacketSize are dropped, others go on', async (t) => {
  const server = await startServer(t, { udpPacketSize: 600 });
  const service = await serveUdp(t);
  const client = await startClient(t, server.port as number);
  const { remotePort } = await publishUdp(t, client, service.port, { type: 'udp' });
  const user = await createUser(t);
  user.socket.send(Buffer.alloc(601, 'z'), remotePort, '127.0.0.1');
  await user.ask(remotePort, 'z'.repeat(600));
  assert.deepEqual(new Set(user.heard), new Set(['z'.repeat(600)]));
});

test('visitors of sudp are admitted as those of stcp', async (t) => {
  const server = await startServer(t);
  const client = await startClient(t, server.port as number);
  const stranger = await startClient(t, server.port as number, { user: 'stranger' });
  await publishUdp(t, client, 9);
  for (const [who, request] of [
    [client, { proxyName: 'time.default.pod', secretKey: 'wrong' }],
    [client, { proxyName: 'nobody', secretKey: 'key' }],
    [stranger, { proxyName: 'time.default.pod', secretKey: 'key' }],
  ] as const) {
    await assert.rejects(who.openVisitor(request), { code: TUNNEL_ERRORS.visitorRefused });
  }
});

test('an open sudp connection does not hold up a server that stops', async (t) => {
  const server = await startServer(t);
  const service = await serveUdp(t);
  const client = await startClient(t, server.port as number);
  await publishUdp(t, client, service.port);
  const { port } = await listenUdpVisitor(t, client);
  await (await createUser(t)).ask(port, 'hello');
  assert.equal(server.totals().openConnections, 1);
  const startedAt = performance.now();
  await server.stop(60_000);
  assert.ok(performance.now() - startedAt < SOON_MS);
});

test('a visitor without a session loses its datagrams and says why', async (t) => {
  const client = createClient(t, 1);
  const { port, visitor } = await listenUdpVisitor(t, client);
  const user = await createUser(t);
  user.socket.send('x', port, '127.0.0.1');
  await waitFor(() => visitor.counters.dropped === 1, { what: 'the loss' });
  assert.equal(visitor.phase, 'idle');
});
