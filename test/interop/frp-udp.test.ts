/** Real frps and frpc beside ours for udp and sudp, in both roles and with mixed wire protocols. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startClient, startServer } from '../support/frp-pair.ts';
import { requireFrp, startFrp } from '../support/frp-program.ts';
import type { FrpFeature } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { createUser, listenUdpVisitor, publishUdp, serveUdp } from '../support/udp-pair.ts';
import { waitFor } from '../support/wait.ts';

/** Several users ask at once, small and large; each hears its own answers only. */
async function checkUdp(t: TestContext, port: number): Promise<void> {
  const users = await Promise.all(Array.from({ length: 8 }, () => createUser(t)));
  await Promise.all(users.map((user, at) => user.ask(port, `first of ${at}`)));
  await Promise.all(
    users.map(async (user, at) => {
      for (const bytes of [0, 1, 512, 1400]) await user.ask(port, `${at} with ${'x'.repeat(bytes)}`);
    }),
  );
  for (const [at, { heard }] of users.entries()) {
    assert.ok(
      heard.every((text) => text === `first of ${at}` || text.startsWith(`${at} with `)),
      `user ${at} heard of others`,
    );
  }
}

function head(port: number, common = ''): string {
  return `serverAddr = "127.0.0.1"\nserverPort = ${port}\nauth.token = "secret"\n${common}\n`;
}

function providing(service: number, settings = ''): string {
  return `[[proxies]]
name = "time.default.pod"
type = "sudp"
secretKey = "key"
localPort = ${service}
${settings}
[[proxies]]
name = "udp"
type = "udp"
localPort = ${service}
${settings}
`;
}

function visiting(bindPort: number, settings = ''): string {
  return `[[visitors]]
name = "visitor"
type = "sudp"
serverName = "time.default.pod"
secretKey = "key"
bindPort = ${bindPort}
${settings}
`;
}

const WRAPPINGS = [
  ['plain', '', {}],
  ['encrypted', 'transport.useEncryption = true', { useEncryption: true }],
  [
    'encrypted and compressed',
    'transport.useEncryption = true\ntransport.useCompression = true',
    { useEncryption: true, useCompression: true },
  ],
] as const;
const TRANSPORTS = [
  ['mux', '', { tls: {} }],
  ['no mux', 'transport.tcpMux = false', { tls: {}, tcpMux: false }],
  ['wire protocol v2', 'transport.wireProtocol = "v2"', { tls: {}, wireProtocol: 'v2' }],
] as const;

function needsOf(common: string, wrapped: string): (FrpFeature | false)[] {
  return [common.includes('wireProtocol') && 'wire protocol v2', wrapped !== 'plain' && 'wrapped datagrams'];
}

test('a real frpc publishes udp alone on our server', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const service = await serveUdp(t);
  const [remotePort] = (await freePorts(1)) as [number];
  const proxy = `[[proxies]]\nname = "udp"\ntype = "udp"\nlocalPort = ${service.port}\nremotePort = ${remotePort}\n`;
  await startFrp(t, frpc, head(server.port as number) + proxy, '[udp] start proxy success');
  await checkUdp(t, remotePort);
});

test('our client provides udp alone on a real frps', async (t) => {
  const frps = requireFrp(t, 'frps');
  if (frps === undefined) return;
  const [port, remotePort] = (await freePorts(2)) as [number, number];
  const config = `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"`;
  await startFrp(t, frps, config, 'frps started');
  const service = await serveUdp(t);
  await publishUdp(t, await startClient(t, port), service.port, { name: 'udp', type: 'udp', remotePort });
  await checkUdp(t, remotePort);
});

for (const [how, common] of TRANSPORTS) {
  for (const [wrapped, settings] of WRAPPINGS) {
    test(`a real frpc publishes udp and sudp on our server and a real frpc visits: ${how}, ${wrapped}`, async (t) => {
      const frpc = requireFrp(t, 'frpc', 'sudp', ...needsOf(common, wrapped));
      if (frpc === undefined) return;
      const server = await startServer(t);
      const service = await serveUdp(t);
      const [bindPort] = (await freePorts(1)) as [number];
      const top = head(server.port as number, common);
      await startFrp(t, frpc, top + providing(service.port, settings), '[udp] start proxy success');
      await startFrp(t, frpc, top + visiting(bindPort, settings), 'start visitor success');
      await waitFor(() => server.proxies().length === 2, { what: 'both proxies' });
      const port = server.proxies().find(({ type }) => type === 'udp')?.remotePort as number;
      await checkUdp(t, port);
      await checkUdp(t, bindPort);
      assert.ok((server.proxies().find(({ type }) => type === 'udp')?.bytesOut ?? 0) > 8 * 1900);
    });
  }
}

for (const [how, common, client] of TRANSPORTS) {
  for (const [wrapped, , payload] of WRAPPINGS) {
    test(`our client provides udp and sudp and visits on a real frps: ${how}, ${wrapped}`, async (t) => {
      const frps = requireFrp(
        t,
        'frps',
        'sudp',
        ...needsOf(common, wrapped),
        'tls' in client && 'TLS without a marker',
      );
      if (frps === undefined) return;
      const [port] = (await freePorts(1)) as [number];
      const settings = common.includes('tcpMux') ? common : '';
      const config = `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n${settings}`;
      await startFrp(t, frps, config, 'frps started');
      const service = await serveUdp(t);
      const provider = await startClient(t, port, client);
      const visitor = await startClient(t, port, client);
      const { remotePort } = await publishUdp(t, provider, service.port, {
        name: 'udp',
        type: 'udp',
        ...payload,
      });
      await publishUdp(t, provider, service.port, payload);
      const wire = 'wireProtocol' in client ? client.wireProtocol : 'v1';
      const listener = await listenUdpVisitor(t, visitor, payload, wire);
      await checkUdp(t, remotePort);
      await checkUdp(t, listener.port);
    });
  }
}

for (const [theirs, ours] of [
  ['v1', 'v1'],
  ['v2', 'v1'],
  ['v1', 'v2'],
] as const) {
  const common = theirs === 'v2' ? 'transport.wireProtocol = "v2"' : '';
  test(`a real frpc in ${theirs} and our client in ${ours} visit each other through our server`, async (t) => {
    const frpc = requireFrp(t, 'frpc', 'sudp', theirs === 'v2' && 'wire protocol v2');
    if (frpc === undefined) return;
    const server = await startServer(t);
    const service = await serveUdp(t);
    const client = await startClient(t, server.port as number, { wireProtocol: ours });
    await publishUdp(t, client, service.port);
    const [bindPort] = (await freePorts(1)) as [number];
    const top = head(server.port as number, common);
    await startFrp(t, frpc, top + visiting(bindPort), 'start visitor success');
    await checkUdp(t, bindPort);

    const second = providing(service.port)
      .replace('time.default.pod', 'real')
      .replace('"udp"\ntype', '"x"\ntype');
    await startFrp(t, frpc, top + second, '[real] start proxy success');
    const listener = await listenUdpVisitor(t, client, { proxyName: 'real' }, ours);
    await checkUdp(t, listener.port);
  });
}
