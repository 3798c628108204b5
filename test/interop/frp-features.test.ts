/** What a proxy can ask for besides a connection, beside real frp: wrapping, groups, limits, checks, user addresses. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { decodeProxyHeader } from '../../src/tunnel/frp/proxy-protocol.ts';
import { listenTcp, listenVisitor, publish, startClient, startServer } from '../support/frp-pair.ts';
import { requireFrp, startFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const TEXT = Buffer.from('all work and no play makes a dull tunnel. '.repeat(40_000));
/** Runs that compress and noise that does not. */
const DATA = Buffer.concat([TEXT, randomBytes(1024 * 1024 + 3), TEXT, Buffer.alloc(300_000)]);
const HASH = createHash('sha256').update(DATA).digest('hex');

function head(port: number | undefined, common = ''): string {
  return `serverAddr = "127.0.0.1"\nserverPort = ${port}\nauth.token = "secret"\n${common}\n`;
}

/** Answers the first bytes with DATA, and takes DATA back: `got HASH` once all of it has come. */
function listenData(t: TestContext): Promise<number> {
  return listenTcp(t, (socket) => {
    const hash = createHash('sha256');
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      if (bytes === 0) socket.write(DATA);
      bytes += chunk.length;
      hash.update(chunk);
      if (bytes === DATA.length) socket.end(`got ${hash.digest('hex')}`);
    });
    socket.resume();
  });
}

/** Sends DATA and receives it; a frp peer closes both halves at the first end, so only the service ends. */
async function exchange(port: number): Promise<void> {
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.write(DATA);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', resolve);
  });
  const all = Buffer.concat(chunks);
  assert.equal(createHash('sha256').update(all.subarray(0, DATA.length)).digest('hex'), HASH);
  assert.equal(all.subarray(DATA.length).toString(), `got ${HASH}`);
}

const WRAPPINGS = [
  ['compressed', 'transport.useCompression = true', { useCompression: true }],
  [
    'compressed and encrypted',
    'transport.useCompression = true\ntransport.useEncryption = true',
    { useCompression: true, useEncryption: true },
  ],
] as const;

for (const [what, settings, wrapping] of WRAPPINGS) {
  test(`a real frpc publishes and visits through our server, ${what}`, async (t) => {
    const frpc = requireFrp(t, 'frpc');
    if (frpc === undefined) return;
    const server = await startServer(t);
    const service = await listenData(t);
    const [visitorPort, plainPort, tcpPort] = (await freePorts(3)) as [number, number, number];
    const proxies = `${head(server.port)}
[[proxies]]
name = "web"
type = "stcp"
secretKey = "key"
localPort = ${service}
${settings}
[[proxies]]
name = "tcp"
type = "tcp"
localPort = ${service}
remotePort = ${tcpPort}
${settings}`;
    const visitors = `${head(server.port)}
[[visitors]]
name = "wrapped"
type = "stcp"
serverName = "web"
secretKey = "key"
bindPort = ${visitorPort}
${settings}
[[visitors]]
name = "plain"
type = "stcp"
serverName = "web"
secretKey = "key"
bindPort = ${plainPort}`;
    await startFrp(t, frpc, proxies, '[tcp] start proxy success');
    await startFrp(t, frpc, visitors, 'visitor added');
    for (const port of [tcpPort, visitorPort, plainPort]) await exchange(port);
    await Promise.all(Array.from({ length: 8 }, () => exchange(visitorPort)));
  });

  test(`our client provides and visits on a real frps, ${what}`, async (t) => {
    const frps = requireFrp(t, 'frps');
    if (frps === undefined) return;
    const [port] = (await freePorts(1)) as [number];
    await startFrp(
      t,
      frps,
      `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"`,
      'frps started',
    );
    const client = await startClient(t, port);
    await publish(client, await listenData(t), wrapping);
    const visitorPort = await listenVisitor(t, client, wrapping);
    const plainPort = await listenVisitor(t, client);
    for (const each of [visitorPort, plainPort]) await exchange(each);
    await Promise.all(Array.from({ length: 8 }, () => exchange(visitorPort)));
  });
}

/** Names of the services that answered so many connections. */
async function answers(port: number, count: number): Promise<Record<string, number>> {
  const seen: Record<string, number> = {};
  for (let at = 0; at < count; at++) {
    const name = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.once('data', (chunk: Buffer) => {
        resolve(chunk.toString());
        socket.destroy();
      });
      socket.on('error', reject);
    });
    seen[name] = (seen[name] ?? 0) + 1;
  }
  return seen;
}

const speak = (t: TestContext, name: string): Promise<number> =>
  listenTcp(t, (socket: Socket) => {
    socket.resume();
    socket.write(name);
  });

test('two real frpc and our client share the port of a group on our server, in turn', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const [remotePort] = (await freePorts(1)) as [number];
  const member = async (name: string, more = ''): Promise<string> => `${head(server.port)}
[[proxies]]
name = "${name}"
type = "tcp"
localPort = ${await speak(t, name)}
remotePort = ${remotePort}
loadBalancer.group = "web"
loadBalancer.groupKey = "shared"
${more}`;
  for (const name of ['one', 'two']) {
    await startFrp(t, frpc, await member(name), `[${name}] start proxy success`);
  }
  const client = await startClient(t, server.port as number);
  const three = { name: 'three', type: 'tcp', remotePort, group: 'web', groupKey: 'shared' } as const;
  await publish(client, await speak(t, 'three'), three);
  assert.deepEqual(await answers(remotePort, 9), { one: 3, two: 3, three: 3 });
  const wrong = await member('four', 'loadBalancer.groupKey = "other"').then((text) =>
    text.replace('loadBalancer.groupKey = "shared"\n', ''),
  );
  await startFrp(t, frpc, wrong, 'group auth failed');
  const other = (await member('five')).replace(
    `remotePort = ${remotePort}`,
    `remotePort = ${remotePort + 1}`,
  );
  await startFrp(t, frpc, other, 'group should have same remote port');
});

test('our client and a real frpc share the port of a group on a real frps', async (t) => {
  const frps = requireFrp(t, 'frps');
  const frpc = requireFrp(t, 'frpc');
  if (frps === undefined || frpc === undefined) return;
  const [port, remotePort] = (await freePorts(2)) as [number, number];
  await startFrp(
    t,
    frps,
    `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"`,
    'frps started',
  );
  const real = `${head(port)}
[[proxies]]
name = "real"
type = "tcp"
localPort = ${await speak(t, 'real')}
remotePort = ${remotePort}
loadBalancer.group = "web"
loadBalancer.groupKey = "shared"`;
  await startFrp(t, frpc, real, '[real] start proxy success');
  const client = await startClient(t, port);
  const definition = { name: 'ours', type: 'tcp', remotePort, group: 'web', groupKey: 'shared' } as const;
  await publish(client, await speak(t, 'ours'), definition);
  assert.deepEqual(await answers(remotePort, 10), { real: 5, ours: 5 });
});

test('a real frps takes a group on stcp and ignores it, and so does our server', async (t) => {
  const frps = requireFrp(t, 'frps');
  if (frps === undefined) return;
  const [port] = (await freePorts(1)) as [number];
  await startFrp(
    t,
    frps,
    `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"`,
    'frps started',
  );
  for (const each of [port, (await startServer(t)).port as number]) {
    const client = await startClient(t, each);
    await publish(client, 9, { group: 'web', groupKey: 'a' });
    await publish(client, 9, { name: 'other', group: 'web', groupKey: 'b' });
  }
});

const LIMITED_BYTES = 600 * 1024;
/** Seconds for LIMITED_BYTES at 200 KB/s after a burst of one second. */
const LIMITED_SECONDS = 2;

/** Downloads from a service that sends LIMITED_BYTES; answers the seconds it took. */
async function timeDownload(port: number): Promise<number> {
  const begin = performance.now();
  const bytes = await new Promise<number>((resolve, reject) => {
    let seen = 0;
    const socket = connect({ port, host: '127.0.0.1' });
    socket.write('go');
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.length;
    });
    socket.on('end', () => resolve(seen));
    socket.on('error', reject);
  });
  assert.equal(bytes, LIMITED_BYTES);
  return (performance.now() - begin) / 1000;
}

const listenLimited = (t: TestContext): Promise<number> =>
  listenTcp(t, (socket) => {
    socket.resume();
    socket.once('data', () => socket.end(Buffer.alloc(LIMITED_BYTES, 'x')));
  });

function assertSeconds(seconds: number, wanted: number): void {
  assert.ok(
    seconds > wanted * 0.6 && seconds < wanted * 2 + 5,
    `took ${seconds} s, wanted about ${wanted} s`,
  );
}

test('our server keeps to the bandwidth limit a real frpc asks it for, over all connections', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'bandwidth limits that the server keeps');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const proxy = (name: string, mode: string, limit: string, service: number): string => `
[[proxies]]
name = "${name}"
type = "tcp"
localPort = ${service}
transport.useCompression = true
transport.bandwidthLimit = "${limit}"
transport.bandwidthLimitMode = "${mode}"`;
  const service = await listenLimited(t);
  const config =
    head(server.port) + proxy('slow', 'server', '200KB', service) + proxy('free', 'server', '900MB', service);
  await startFrp(t, frpc, config, '[free] start proxy success');
  await waitFor(() => server.proxies().length === 2, { what: 'both proxies' });
  const portOf = (name: string): number =>
    server.proxies().find((each) => each.name === name)?.remotePort as number;
  assertSeconds(await timeDownload(portOf('slow')), LIMITED_SECONDS);
  const both = await Promise.all([timeDownload(portOf('slow')), timeDownload(portOf('slow'))]);
  assertSeconds(Math.max(...both), 2 * LIMITED_SECONDS + 1);
  assert.ok((await timeDownload(portOf('free'))) < Math.max(...both));
});

test('a real frpc keeps to its own bandwidth limit on our server', async (t) => {
  const frpc = requireFrp(t, 'frpc', 'bandwidth limits');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const [remotePort] = (await freePorts(1)) as [number];
  const config = `${head(server.port)}
[[proxies]]
name = "slow"
type = "tcp"
localPort = ${await listenLimited(t)}
remotePort = ${remotePort}
transport.bandwidthLimit = "200KB"`;
  await startFrp(t, frpc, config, '[slow] start proxy success');
  assertSeconds(await timeDownload(remotePort), LIMITED_SECONDS);
});

for (const [bandwidthLimitMode, what, needs] of [
  ['client', 'keeps to its own bandwidth limit on a real frps', false],
  ['server', 'asks a real frps for a bandwidth limit', 'bandwidth limits that the server keeps'],
] as const) {
  test(`our client ${what}`, async (t) => {
    const frps = requireFrp(t, 'frps', needs);
    if (frps === undefined) return;
    const [port, remotePort] = (await freePorts(2)) as [number, number];
    await startFrp(
      t,
      frps,
      `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"`,
      'frps started',
    );
    const client = await startClient(t, port);
    const definition = { type: 'tcp', remotePort, bandwidthLimit: '200KB', bandwidthLimitMode } as const;
    await publish(client, await listenLimited(t), { name: 'slow', ...definition });
    assertSeconds(await timeDownload(remotePort), LIMITED_SECONDS);
  });
}

for (const type of ['tcp', 'http'] as const) {
  test(`a proxy of a real frpc appears and disappears with its ${type} health check`, async (t) => {
    const frpc = requireFrp(t, 'frpc');
    if (frpc === undefined) return;
    const server = await startServer(t);
    const [service] = (await freePorts(1)) as [number];
    const config = `${head(server.port)}
[[proxies]]
name = "checked"
type = "tcp"
localIP = "127.0.0.1"
localPort = ${service}
healthCheck.type = "${type}"
healthCheck.path = "/health"
healthCheck.intervalSeconds = 1
healthCheck.timeoutSeconds = 1
healthCheck.maxFailed = 1`;
    await startFrp(t, frpc, config, 'login to server success');
    await waitFor(() => server.sessions().length === 1, { what: 'login' });
    for (let round = 0; round < 2; round++) {
      assert.equal(server.proxies().length, 0);
      const http = createServer((_request, response) => response.end('ok'));
      await new Promise<void>((resolve) => {
        http.listen(service, '127.0.0.1', resolve);
      });
      await waitFor(() => server.proxies().length === 1, { what: 'the proxy' });
      http.closeAllConnections();
      http.close();
      await waitFor(() => server.proxies().length === 0, { what: 'no proxy' });
    }
  });
}

test('a real frpc that loses its connection comes back with its run id and its port', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const links = new Set<Socket>();
  const middle = await listenTcp(t, (socket) => {
    const upstream = connect({ port: server.port as number, host: '127.0.0.1' });
    upstream.on('error', () => {});
    links.add(socket);
    socket.pipe(upstream);
    upstream.pipe(socket);
    socket.on('close', () => upstream.destroy());
  });
  const service = await speak(t, 'back');
  const config = `${head(middle)}\n[[proxies]]\nname = "p"\ntype = "tcp"\nlocalPort = ${service}`;
  await startFrp(t, frpc, config, '[p] start proxy success');
  const [before] = server.sessions();
  const port = server.proxies()[0]?.remotePort as number;
  for (const link of links) link.destroy();
  const isBack = (): boolean =>
    server.proxies().length === 1 && server.sessions()[0]?.connectedAt !== before?.connectedAt;
  await waitFor(isBack, { what: 'the return' });
  assert.equal(server.sessions()[0]?.runId, before?.runId);
  assert.equal(server.proxies()[0]?.remotePort, port);
  assert.deepEqual(await answers(port, 1), { back: 1 });
});

/** Listens as a service that expects PROXY headers; resolves with the text after the header, and with the header. */
function listenProxied(
  t: TestContext,
  seen: { source: string; destinationPort: number; rest: string }[],
): Promise<number> {
  return listenTcp(t, (socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const header = decodeProxyHeader(bytes);
      const rest = bytes.subarray(header?.length ?? bytes.length).toString();
      if (header?.addresses === undefined || rest === '') return;
      const { sourceAddr, sourcePort, destinationPort } = header.addresses;
      seen.push({ source: `${sourceAddr}:${sourcePort}`, destinationPort, rest });
      socket.end('seen');
    });
    socket.resume();
  });
}

/** Connects, speaks and waits for the answer; resolves with the own address. */
function knock(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let own = '';
    socket.once('connect', () => {
      own = `127.0.0.1:${(socket.address() as AddressInfo).port}`;
      socket.write('hello');
    });
    socket.once('data', () => {
      socket.destroy();
      resolve(own);
    });
    socket.on('error', reject);
  });
}

for (const version of ['v1', 'v2'] as const) {
  test(`a PROXY header ${version} of a real frpc names the user that our server saw, and ours names frps' user`, async (t) => {
    const frps = requireFrp(t, 'frps');
    const frpc = requireFrp(t, 'frpc', 'PROXY headers that name IPv4 addresses');
    if (frps === undefined || frpc === undefined) return;
    const [frpsPort, onOurs, onFrps] = (await freePorts(3)) as [number, number, number];
    const server = await startServer(t);
    const seen: { source: string; destinationPort: number; rest: string }[] = [];
    const service = await listenProxied(t, seen);
    const real = `${head(server.port)}
[[proxies]]
name = "p"
type = "tcp"
localPort = ${service}
remotePort = ${onOurs}
transport.proxyProtocolVersion = "${version}"`;
    await startFrp(t, frpc, real, '[p] start proxy success');
    await startFrp(
      t,
      frps,
      `bindAddr = "127.0.0.1"\nbindPort = ${frpsPort}\nauth.token = "secret"`,
      'frps started',
    );
    const client = await startClient(t, frpsPort);
    await publish(client, service, { name: 'p', type: 'tcp', remotePort: onFrps, proxyProtocol: version });
    for (const port of [onOurs, onFrps]) {
      const own = await knock(port);
      assert.deepEqual(seen.pop(), { source: own, destinationPort: port, rest: 'hello' });
    }
  });

  test(`haproxy accepts our PROXY header ${version}`, async (t) => {
    const haproxy = requireProgram(t, 'haproxy', { optional: true });
    if (haproxy === undefined) return;
    const [front, remotePort] = (await freePorts(2)) as [number, number];
    const backend = createServer((request, response) => response.end(request.headers['x-user']));
    await new Promise<void>((resolve) => {
      backend.listen(0, '127.0.0.1', resolve);
    });
    t.after(() => {
      backend.close();
    });
    const file = join(tempDir(t), 'haproxy.cfg');
    await writeFile(
      file,
      `defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend f
  bind 127.0.0.1:${front} accept-proxy
  http-request set-header X-User %[src]:%[src_port]
  default_backend b
backend b
  server s 127.0.0.1:${(backend.address() as AddressInfo).port}
`,
    );
    startProcess(t, haproxy, ['-db', '-f', file]);
    const server = await startServer(t);
    const client = await startClient(t, server.port as number);
    await publish(client, front, { name: 'p', type: 'tcp', remotePort, proxyProtocol: version });
    let own = '';
    const ask = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: remotePort, host: '127.0.0.1' });
        let answer = '';
        socket.once('connect', () => {
          own = `127.0.0.1:${(socket.address() as AddressInfo).port}`;
          socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
        });
        socket.on('data', (chunk: Buffer) => {
          answer += chunk.toString();
        });
        socket.on('end', () => resolve(answer));
        socket.on('error', reject);
      });
    const answer = await waitFor(() => ask().catch(() => ''), { what: 'haproxy' });
    assert.match(answer, /200 OK/u);
    assert.ok(answer.includes(own), answer);
  });
}
