/** Real frps and frpc beside ours over every transport: wire protocol v2, websocket, mutual TLS, the marker byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { FrpClientConfig } from '../../src/tunnel/frpc/types.ts';
import { createAuthority } from '../support/certificates.ts';
import type { Authority } from '../support/certificates.ts';
import {
  createClient,
  listenVisitor,
  publish,
  SERVER_CONFIG,
  startClient,
  startServer,
} from '../support/frp-pair.ts';
import { download, HASH, listenData } from '../support/data-service.ts';
import { requireFrp, startFrp } from '../support/frp-program.ts';
import type { FrpFeature } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { waitFor } from '../support/wait.ts';

const V2 = 'transport.wireProtocol = "v2"';
const WEBSOCKET = 'transport.protocol = "websocket"';
const NO_MUX = 'transport.tcpMux = false';
const NO_TLS = 'transport.tls.enable = false';
const MARKER = 'transport.tls.disableCustomTLSFirstByte = false';

const PROVIDER = (service: number, tcpPort: number): string => `
[[proxies]]
name = "web"
type = "stcp"
secretKey = "key"
localPort = ${service}
[[proxies]]
name = "tcp"
type = "tcp"
localPort = ${service}
remotePort = ${tcpPort}
`;
const VISITOR = (bindPort: number): string => `
[[visitors]]
name = "visitor"
type = "stcp"
serverName = "web"
secretKey = "key"
bindPort = ${bindPort}
`;

for (const [what, provider, visitor = provider] of [
  ['v2, TLS and mux', [V2]],
  ['v2, plain with mux', [V2, NO_TLS]],
  ['v2, TLS without mux', [V2, NO_MUX]],
  ['v2, plain without mux', [V2, NO_MUX, NO_TLS]],
  ['a v2 provider and a v1 visitor', [V2], []],
  ['a v1 provider and a v2 visitor', [], [V2]],
  ['websocket, TLS and mux', [WEBSOCKET]],
  ['websocket, plain with mux', [WEBSOCKET, NO_TLS]],
  ['websocket, TLS behind the marker byte', [WEBSOCKET, MARKER]],
  ['websocket, plain without mux', [WEBSOCKET, NO_MUX, NO_TLS]],
  ['websocket, v2, TLS and mux', [WEBSOCKET, V2]],
  ['wss, v2 and mux', ['transport.protocol = "wss"', V2]],
] as const) {
  test(`a real frpc publishes on our server and a real frpc visits: ${what}`, async (t) => {
    const frpc = requireFrp(t, 'frpc', [...provider, ...visitor].includes(V2) && 'wire protocol v2');
    if (frpc === undefined) return;
    const server = await startServer(t);
    const service = await listenData(t);
    const [bindPort, tcpPort] = (await freePorts(2)) as [number, number];
    const head = `serverAddr = "127.0.0.1"\nserverPort = ${server.port}\nauth.token = "secret"\n`;
    const provide = `${head}${provider.join('\n')}${PROVIDER(service, tcpPort)}`;
    await startFrp(t, frpc, provide, '[tcp] start proxy success');
    await startFrp(t, frpc, `${head}${visitor.join('\n')}${VISITOR(bindPort)}`, 'start visitor success');
    await waitFor(() => server.proxies().length === 2, { what: 'both proxies' });
    const wires = server.sessions().map(({ wireProtocol }) => wireProtocol);
    const wanted = [provider, visitor].map((lines) =>
      (lines as readonly string[]).includes(V2) ? 'v2' : 'v1',
    );
    assert.deepEqual(wires.sort(), wanted.sort());
    assert.equal(await download(tcpPort), HASH);
    assert.deepEqual(
      await Promise.all(Array.from({ length: 10 }, () => download(bindPort))),
      Array(10).fill(HASH),
    );
  });
}

type ClientSettings = Partial<FrpClientConfig>;
const OURS_V2: ClientSettings = { wireProtocol: 'v2' };
const OURS_WEBSOCKET: ClientSettings = { transport: 'websocket' };

function needsOf({ wireProtocol, tls }: ClientSettings): FrpFeature[] {
  const needs: FrpFeature[] = wireProtocol === 'v2' ? ['wire protocol v2'] : [];
  return tls === undefined || tls.customFirstByte === true ? needs : [...needs, 'TLS without a marker'];
}

for (const [what, settings, client] of [
  ['v2, TLS and mux', '', { ...OURS_V2, tls: {} }],
  ['v2, plain with mux', '', OURS_V2],
  ['v2, plain without mux', NO_MUX, { ...OURS_V2, tcpMux: false }],
  [
    'v2, all scopes',
    'auth.additionalScopes = ["HeartBeats", "NewWorkConns"]',
    { ...OURS_V2, additionalScopes: ['HeartBeats', 'NewWorkConns'] },
  ],
  ['TLS behind the marker byte', '', { tls: { customFirstByte: true } }],
  ['websocket, TLS and mux', '', { ...OURS_WEBSOCKET, tls: {} }],
  ['websocket, plain with mux', '', OURS_WEBSOCKET],
  ['websocket, TLS behind the marker byte', '', { ...OURS_WEBSOCKET, tls: { customFirstByte: true } }],
  ['websocket, plain without mux', NO_MUX, { ...OURS_WEBSOCKET, tcpMux: false }],
  ['websocket, v2, TLS and mux', 'transport.tls.force = true', { ...OURS_WEBSOCKET, ...OURS_V2, tls: {} }],
] as const satisfies readonly (readonly [string, string, ClientSettings])[]) {
  test(`our client provides and visits on a real frps: ${what}`, async (t) => {
    const frps = requireFrp(t, 'frps', ...needsOf(client));
    if (frps === undefined) return;
    const port = await startServerProgram(t, frps, settings);
    const provider = await startClient(t, port, client);
    const visitor = await startClient(t, port, client);
    await publish(provider, await listenData(t));
    const bindPort = await listenVisitor(t, visitor);
    assert.deepEqual(
      await Promise.all(Array.from({ length: 5 }, () => download(bindPort))),
      Array(5).fill(HASH),
    );
  });
}

async function startServerProgram(t: TestContext, frps: string, settings: string): Promise<number> {
  const [port] = (await freePorts(1)) as [number];
  const head = `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n`;
  await startFrp(t, frps, `${head}${settings}`, 'frps started');
  return port;
}

test('a real frps refuses a wrong token of our v2 client in words', async (t) => {
  const frps = requireFrp(t, 'frps', 'wire protocol v2');
  if (frps === undefined) return;
  const port = await startServerProgram(t, frps, '');
  const client = createClient(t, port, { ...OURS_V2, token: 'wrong' });
  client.start();
  await waitFor(() => client.phase === 'refused', { what: 'refusal' });
  assert.match(client.lastError?.message ?? '', /token/u);
});

test('our server refuses a wrong token of a real v2 frpc in words', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'wire protocol v2');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const config = `serverAddr = "127.0.0.1"\nserverPort = ${server.port}\nauth.token = "wrong"\nloginFailExit = false\n`;
  await startFrp(t, frpc, `${config}${V2}${VISITOR(1)}`, 'token in login does not match');
});

function clientTls(authority: Authority, pair: { certFile: string; keyFile: string }, name: string): string {
  return `transport.tls.enable = true
transport.tls.certFile = "${pair.certFile}"
transport.tls.keyFile = "${pair.keyFile}"
transport.tls.trustedCaFile = "${authority.certFile}"
transport.tls.serverName = "${name}"
`;
}

test('our server and a real frpc verify each other, and strangers are refused by either', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'TLS with certificates of clients');
  const [ours, theirs] = [createAuthority(t, 'ours'), createAuthority(t, 'theirs')];
  if (frpc === undefined || ours === undefined || theirs === undefined) return;
  const { cert, key } = ours.sign('router', 'DNS:router.example.org');
  const server = await startServer(t, {
    tls: { ...SERVER_CONFIG.tls, cert, key, clientCa: ours.cert },
  });
  const service = await listenData(t);
  const [tcpPort] = (await freePorts(1)) as [number];
  const head = `serverAddr = "127.0.0.1"\nserverPort = ${server.port}\nauth.token = "secret"\n`;
  const signed = ours.sign('client');
  const good = clientTls(ours, signed, 'router.example.org');
  await startFrp(t, frpc, `${head}${good}${PROVIDER(service, tcpPort)}`, '[tcp] start proxy success');
  assert.equal(await download(tcpPort), HASH);
  for (const settings of [
    '',
    clientTls(ours, theirs.sign('client'), 'router.example.org'),
    clientTls(ours, signed, 'other.example.org'),
    clientTls(theirs, signed, 'router.example.org'),
    NO_TLS,
  ]) {
    await startFrp(t, frpc, `${head}${settings}${VISITOR(1)}`, 'server failed: ');
  }
  assert.equal(server.sessions().length, 1);
});

test('our client and a real frps verify each other, and strangers are refused by either', async (t) => {
  const frps = requireFrp(t, 'frps', 'TLS without a marker');
  const [ours, theirs] = [createAuthority(t, 'ours'), createAuthority(t, 'theirs')];
  if (frps === undefined || ours === undefined || theirs === undefined) return;
  const { certFile, keyFile } = ours.sign('router', 'DNS:router.example.org', 'IP:127.0.0.1');
  const port = await startServerProgram(
    t,
    frps,
    `transport.tls.certFile = "${certFile}"
transport.tls.keyFile = "${keyFile}"
transport.tls.trustedCaFile = "${ours.certFile}"`,
  );
  const signed = ours.sign('client');
  const identity = { cert: signed.cert, key: signed.key };
  const stranger = theirs.sign('client');
  for (const [tls, isAdmitted] of [
    [{ ...identity, ca: ours.cert }, true],
    [{ ...identity, ca: ours.cert, servername: 'router.example.org', customFirstByte: true }, true],
    [{ ...identity }, true],
    [{ ...identity, ca: ours.cert, servername: 'other.example.org' }, false],
    [{ ...identity, ca: theirs.cert }, false],
    [{ cert: stranger.cert, key: stranger.key }, false],
    [{}, false],
    [undefined, false],
  ] as const) {
    const client = createClient(t, port, { tls });
    client.start();
    await waitFor(() => ['online', 'waiting'].includes(client.phase), { what: 'an outcome' });
    assert.equal(client.phase, isAdmitted ? 'online' : 'waiting', JSON.stringify(Object.keys(tls ?? {})));
    await client.stop();
  }
});
