/** Who and what our server admits of real frpc programs: users, ports, metadata, TLS, every kind of client at once. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { download, HASH, listenData } from '../support/data-service.ts';
import { listenTcp, SERVER_CONFIG, startServer } from '../support/frp-pair.ts';
import { frpHead as head, requireFrp, startFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

function provider(name: string, service: number, settings = ''): string {
  return `[[proxies]]\nname = "${name}"\ntype = "stcp"\nsecretKey = "key"\nlocalPort = ${service}\n${settings}\n`;
}

function visitor(serverName: string, bindPort: number, settings = ''): string {
  return `[[visitors]]\nname = "v${bindPort}"\ntype = "stcp"\nserverName = "${serverName}"\nsecretKey = "key"\nbindPort = ${bindPort}\n${settings}\n`;
}

/** Whether a visitor's port leads anywhere: one that is refused closes the connection. */
function opens(port: number): Promise<boolean> {
  return download(port).then(
    (hash) => hash === HASH,
    () => false,
  );
}

test('visitors of a real frpc are admitted by user: the own one, those that are named, or all', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'users that may visit');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const service = await listenData(t);
  const proxies = [
    provider('own', service),
    provider('named', service, 'allowUsers = ["bob", "carol"]'),
    provider('all', service, 'allowUsers = ["*"]'),
  ].join('');
  await startFrp(t, frpc, head(server, 'user = "alice"') + proxies, 'named] start proxy success');
  await waitFor(() => server.proxies().length === 3, { what: 'the proxies' });
  const seen: Record<string, boolean[]> = {};
  for (const user of ['alice', 'bob', 'dave']) {
    const [own, named, all] = (await freePorts(3)) as [number, number, number];
    const of = 'serverUser = "alice"';
    const visitors = visitor('own', own, of) + visitor('named', named, of) + visitor('all', all, of);
    await startFrp(t, frpc, head(server, `user = "${user}"`) + visitors, 'visitor added');
    seen[user] = await Promise.all([own, named, all].map(opens));
  }
  assert.deepEqual(seen, {
    alice: [true, false, true],
    bob: [false, true, true],
    dave: [false, false, true],
  });
});

test('a real frpc gets the ports it may have, as many as it may have, or one that the server picks', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const [first, other, ...further] = (await freePorts(7)) as [number, number, ...number[]];
  const allowPorts = [first, ...further].map((port) => ({ start: port, end: port }));
  const server = await startServer(t, { allowPorts, maxPortsPerClient: 2 });
  const service = await listenData(t);
  const proxy = (name: string, port: number): string =>
    `[[proxies]]\nname = "${name}"\ntype = "tcp"\nlocalPort = ${service}\nremotePort = ${port}\n`;
  await startFrp(t, frpc, head(server) + proxy('forbidden', other), 'port not allowed');
  await startFrp(
    t,
    frpc,
    head(server) + proxy('asked', first) + proxy('picked', 0),
    '[picked] start proxy success',
  );
  await waitFor(() => server.proxies().length === 2, { what: 'the proxies' });
  const ports = new Map(server.proxies().map(({ name, remotePort }) => [name, remotePort ?? 0]));
  assert.equal(ports.get('asked'), first);
  assert.ok(further.includes(ports.get('picked') ?? 0));
  for (const port of ports.values()) assert.equal(await download(port), HASH);
  await startFrp(t, frpc, head(server) + proxy('taken', first), 'port already used');
  const many = ['a', 'b', 'c'].map((name) => proxy(name, 0)).join('');
  await startFrp(t, frpc, head(server) + many, 'exceed the max');
});

test('what a real frpc tells of itself and of its proxies is kept', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'annotations');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const more = 'metadatas = { zone = "z<1>" }\nannotations = { "example.org/a" = "b & c" }';
  const login = 'user = "alice"\nmetadatas = { node = "n-1", text = "ü" }';
  await startFrp(t, frpc, head(server, login) + provider('p', 9, more), 'p] start proxy success');
  const [session] = server.sessions();
  const [proxy] = server.proxies();
  assert.deepEqual({ ...session?.metas }, { node: 'n-1', text: 'ü' });
  assert.equal(session?.user, 'alice');
  assert.equal(proxy?.name, 'alice.p');
  assert.deepEqual({ ...proxy?.metas }, { zone: 'z<1>' });
  assert.deepEqual({ ...proxy?.annotations }, { 'example.org/a': 'b & c' });
});

test('a server that forces TLS serves a real frpc with it, and refuses one without', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'TLS');
  if (frpc === undefined) return;
  const server = await startServer(t, { tls: { ...SERVER_CONFIG.tls, force: true } });
  const tls = 'transport.tls.enable = true\n';
  await startFrp(t, frpc, head(server, tls) + provider('p', 9), '[p] start proxy success');
  await startFrp(
    t,
    frpc,
    head(server, 'transport.tls.enable = false\n') + provider('q', 9),
    'server failed: ',
  );
  assert.equal(server.sessions().length, 1);
});

/** Real frpc programs that differ in all that the first bytes tell apart. */
const KINDS: readonly (readonly [name: string, settings: string])[] = [
  ['mux', 'transport.tls.enable = false'],
  ['single', 'transport.tcpMux = false\ntransport.tls.enable = false'],
  ['tlsmux', 'transport.tls.enable = true'],
  ['tlssingle', 'transport.tcpMux = false\ntransport.tls.enable = true'],
  ['ws', 'transport.protocol = "websocket"'],
  ['wssingle', 'transport.protocol = "websocket"\ntransport.tcpMux = false'],
  ['v2', 'transport.wireProtocol = "v2"'],
  ['v2single', 'transport.wireProtocol = "v2"\ntransport.tcpMux = false'],
];

test('real frpc programs of every kind use one port at once, and visit each other', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'TLS');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const service = await listenData(t);
  const kinds = KINDS.filter(
    ([, settings]) =>
      !settings.includes('wireProtocol') || requireFrp({ skip() {} }, 'frpc', 'wire protocol v2'),
  );
  const ports = await freePorts(kinds.length);
  await Promise.all(
    kinds.map(([name, settings], at) => {
      const [next] = kinds[(at + 1) % kinds.length] ?? [''];
      const text = head(server, settings) + provider(name, service) + visitor(next, ports[at] ?? 0);
      return startFrp(t, frpc, text, `[${name}] start proxy success`);
    }),
  );
  await waitFor(() => server.proxies().length === kinds.length, { what: 'all proxies' });
  assert.equal(server.sessions().length, kinds.length);
  const hashes = await Promise.all(ports.flatMap((port) => [download(port), download(port)]));
  assert.deepEqual(hashes, Array(2 * kinds.length).fill(HASH));
});

/** Carries connections to `dial()`'s and can leave those behind without a word. */
async function listenForwarder(
  t: TestContext,
  dial: () => Socket,
): Promise<{ port: number; abandon(): void }> {
  let links: [Socket, Socket][] = [];
  const port = await listenTcp(t, (socket) => {
    const upstream = dial();
    upstream.on('error', () => {});
    links.push([socket, upstream]);
    socket.pipe(upstream);
    upstream.pipe(socket);
    socket.on('close', () => upstream.destroy());
    t.after(() => {
      upstream.destroy();
    });
  });
  return {
    port,
    /** The client sees its connections end; the server sees nothing. */
    abandon() {
      for (const [socket, upstream] of links) {
        socket.removeAllListeners('close');
        socket.unpipe(upstream);
        upstream.unpipe(socket);
        upstream.resume();
        socket.destroy();
      }
      links = [];
    },
  };
}

test('a real frpc that comes back before its old connection is seen to be dead takes over name, port and run id', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const service = await listenData(t);
  const forwarder = await listenForwarder(t, () => connect({ port: server.port ?? 0, host: '127.0.0.1' }));
  const [remotePort] = (await freePorts(1)) as [number];
  const proxy = `[[proxies]]\nname = "p"\ntype = "tcp"\nlocalPort = ${service}\nremotePort = ${remotePort}\n`;
  await startFrp(t, frpc, head(forwarder) + proxy, '[p] start proxy success');
  const [before] = server.sessions();
  forwarder.abandon();
  const isBack = (): boolean =>
    server.proxies().length === 1 && server.sessions()[0]?.connectedAt !== before?.connectedAt;
  await waitFor(isBack, { what: 'the return' });
  assert.equal(server.sessions().length, 1);
  assert.equal(server.sessions()[0]?.runId, before?.runId);
  assert.equal(server.proxies()[0]?.remotePort, remotePort);
  assert.equal(await download(remotePort), HASH);
});

test('a real frpc is served over the unix socket too', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const socketPath = join(tempDir(t), 'router.sock');
  const server = await startServer(t, { socketPath });
  const service = await listenData(t);
  const forwarder = await listenForwarder(t, () => connect({ path: socketPath }));
  const [bindPort] = (await freePorts(1)) as [number];
  await startFrp(
    t,
    frpc,
    head(forwarder) + provider('p', service) + visitor('p', bindPort),
    '[p] start proxy success',
  );
  assert.equal(server.sessions()[0]?.remoteAddr, 'unix');
  assert.equal(await download(bindPort), HASH);
});

test('what is not served is refused in words, and nothing else suffers', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  for (const [type, more, reason] of [
    ['http', 'customDomains = ["a.example.org"]', 'type http is not supported'],
    ['https', 'customDomains = ["a.example.org"]', 'type https is not supported'],
    ['xtcp', 'secretKey = "key"', 'type xtcp is not supported'],
  ] as const) {
    const text = `[[proxies]]\nname = "x-${type}"\ntype = "${type}"\nlocalPort = 9\n${more}\n${provider(`ok-${type}`, 9)}`;
    await startFrp(t, frpc, head(server) + text, reason);
    await waitFor(() => server.proxies().some(({ name }) => name === `ok-${type}`), {
      what: 'the other proxy',
    });
  }
});
