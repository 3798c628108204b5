/** Real frps and frpc beside ours, in both roles: the proof that the wire protocol is frp's and not only our own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenVisitor, publish, SERVER_CONFIG, startClient, startServer } from '../support/frp-pair.ts';
import { download, HASH, listenData } from '../support/data-service.ts';
import { requireFrp, startFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { waitFor } from '../support/wait.ts';

for (const [what, common, proxy] of [
  ['TLS and mux, its defaults', '', ''],
  ['plain with mux', 'transport.tls.enable = false', ''],
  ['TLS without mux', 'transport.tcpMux = false', ''],
  ['plain without mux', 'transport.tcpMux = false\ntransport.tls.enable = false', ''],
  ['TLS behind the marker byte', 'transport.tls.disableCustomTLSFirstByte = false', ''],
  ['payload encryption', '', 'transport.useEncryption = true'],
  ['a user name and a pool', 'user = "team"\ntransport.poolCount = 3', ''],
] as const) {
  test(`a real frpc publishes stcp and tcp on our server and a real frpc visits: ${what}`, async (t) => {
    const frpc = requireFrp(t, 'frpc');
    if (frpc === undefined) return;
    const server = await startServer(t);
    const service = await listenData(t);
    const [visitorPort, tcpPort] = (await freePorts(2)) as [number, number];
    const head = `serverAddr = "127.0.0.1"\nserverPort = ${server.port}\nauth.token = "secret"\n${common}\n`;
    await startFrp(
      t,
      frpc,
      `${head}
[[proxies]]
name = "web"
type = "stcp"
secretKey = "key"
localPort = ${service}
${proxy}
[[proxies]]
name = "tcp"
type = "tcp"
localPort = ${service}
remotePort = ${tcpPort}
${proxy}`,
      'tcp] start proxy success',
    );
    await startFrp(
      t,
      frpc,
      `${head}
[[visitors]]
name = "visitor"
type = "stcp"
serverName = "web"
secretKey = "key"
bindPort = ${visitorPort}
${proxy}`,
      'start visitor success',
    );
    await waitFor(() => server.proxies().length === 2, { what: 'both proxies' });
    assert.equal(await download(tcpPort), HASH);
    assert.deepEqual(
      await Promise.all(Array.from({ length: 10 }, () => download(visitorPort))),
      Array(10).fill(HASH),
    );
  });
}

for (const wire of ['v1', 'v2'] as const) {
  test(`a real frpc that proves heartbeats and work connections is served, one that does not is refused: ${wire}`, async (t) => {
    const frpc = requireFrp(t, 'frpc', wire === 'v2' ? 'wire protocol v2' : 'scopes of the token');
    if (frpc === undefined) return;
    const server = await startServer(t, { additionalScopes: ['HeartBeats', 'NewWorkConns'] });
    const service = await listenData(t);
    const config = (scopes: string): string => `serverAddr = "127.0.0.1"
serverPort = ${server.port}
auth.token = "secret"
auth.additionalScopes = ${scopes}
transport.heartbeatInterval = 1
transport.heartbeatTimeout = 5
${wire === 'v2' ? 'transport.wireProtocol = "v2"' : ''}
[[proxies]]
name = "tcp${scopes.length}"
type = "tcp"
localPort = ${service}`;
    await startFrp(t, frpc, config('["HeartBeats", "NewWorkConns"]'), 'start proxy success');
    const port = server.proxies()[0]?.remotePort as number;
    const before = server.sessions()[0]?.lastSeenAt.getTime() ?? 0;
    await waitFor(() => (server.sessions()[0]?.lastSeenAt.getTime() ?? 0) > before, { what: 'a heartbeat' });
    assert.equal(await download(port), HASH);
    await startFrp(t, frpc, config('[]'), 'invalid heartbeat');
  });
}

for (const [what, settings, client] of [
  ['TLS and mux', '', { tls: {} }],
  ['plain with mux', '', {}],
  ['TLS without mux', 'transport.tcpMux = false', { tls: {}, tcpMux: false }],
  ['TLS forced', 'transport.tls.force = true', { tls: {} }],
  [
    'all scopes',
    'auth.additionalScopes = ["HeartBeats", "NewWorkConns"]',
    { additionalScopes: ['HeartBeats', 'NewWorkConns'] as const },
  ],
] as const) {
  for (const useEncryption of [false, true]) {
    test(`our client provides and visits on a real frps: ${what}${useEncryption ? ', payload encrypted' : ''}`, async (t) => {
      const needs = what.includes('TLS')
        ? 'TLS without a marker'
        : what === 'all scopes' && 'scopes of the token';
      const frps = requireFrp(t, 'frps', needs);
      if (frps === undefined) return;
      const [port] = (await freePorts(1)) as [number];
      await startFrp(
        t,
        frps,
        `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n${settings}`,
        'frps started',
      );
      const service = await listenData(t);
      const provider = await startClient(t, port, client);
      const visitor = await startClient(t, port, client);
      await publish(provider, service, { useEncryption });
      const visitorPort = await listenVisitor(t, visitor, { useEncryption });
      assert.deepEqual(
        await Promise.all(Array.from({ length: 5 }, () => download(visitorPort))),
        Array(5).fill(HASH),
      );
    });
  }
}

test('a real frpc visits a service of our client through our server', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const provider = await startClient(t, server.port as number);
  await publish(provider, await listenData(t));
  const [bindPort] = (await freePorts(1)) as [number];
  const visitor = `serverAddr = "127.0.0.1"
serverPort = ${server.port}
auth.token = "${SERVER_CONFIG.token}"
[[visitors]]
name = "v"
type = "stcp"
serverName = "web.default.pod"
secretKey = "key"
bindPort = ${bindPort}`;
  await startFrp(t, frpc, visitor, 'start visitor success');
  assert.equal(await download(bindPort), HASH);
});
