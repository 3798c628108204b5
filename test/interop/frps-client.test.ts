/** Our client and our sidecar on real frps programs: what frps admits, keeps, and gives back after a break. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import { download, HASH, listenData } from '../support/data-service.ts';
import { listenTcp, publish, startClient } from '../support/frp-pair.ts';
import { frpHead as head, requireFrp, startFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { startNode, whenServed } from '../support/sidecar-world.ts';
import { createUser, serveUdp } from '../support/udp-pair.ts';
import { waitFor } from '../support/wait.ts';

async function startFrps(t: TestContext, frps: string, settings = ''): Promise<number> {
  const [port] = (await freePorts(1)) as [number];
  const config = `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n${settings}\n`;
  await startFrp(t, frps, config, 'frps started');
  return port;
}

test('visitors of our client are admitted by user on a real frps', async (t) => {
  const frps = requireFrp(t, 'frps', 'users that may visit');
  if (frps === undefined) return;
  const port = await startFrps(t, frps);
  const provider = await startClient(t, port, { user: 'alice' });
  const service = await listenData(t);
  await publish(provider, service, { name: 'own' });
  await publish(provider, service, { name: 'named', allowUsers: ['bob'] });
  await publish(provider, service, { name: 'all', allowUsers: ['*'] });
  for (const [user, admitted] of [
    ['alice', ['alice.own', 'alice.all']],
    ['bob', ['alice.named', 'alice.all']],
    ['', ['alice.all']],
  ] as const) {
    const visitor = await startClient(t, port, { user });
    for (const proxyName of ['alice.own', 'alice.named', 'alice.all']) {
      const opening = visitor.openVisitor({ proxyName, secretKey: 'key' });
      if ((admitted as readonly string[]).includes(proxyName)) (await opening).destroy();
      else await assert.rejects(opening, { code: 'EDGE_ERR_TUNNEL_VISITOR_REFUSED' });
    }
  }
});

test('our client gets the ports that a real frps allows, as many as it allows, or one that it picks', async (t) => {
  const frps = requireFrp(t, 'frps');
  if (frps === undefined) return;
  const [first, other, ...further] = (await freePorts(6)) as [number, number, ...number[]];
  const allowed = [first, ...further].map((single) => `{ single = ${single} }`).join(', ');
  const port = await startFrps(t, frps, `allowPorts = [${allowed}]\nmaxPortsPerClient = 2`);
  const client = await startClient(t, port);
  const add = async (name: string, remotePort: number) => {
    const proxy = client.addProxy({
      name,
      type: 'tcp',
      remotePort,
      onConnection: ({ stream }) => stream.destroy(),
    });
    await waitFor(() => proxy.phase !== 'waiting', { what: `the answer about ${name}` });
    return proxy;
  };
  const forbidden = await add('forbidden', other);
  assert.equal(forbidden.phase, 'refused');
  assert.match(forbidden.error ?? '', /port not allowed|start error/u);
  assert.equal((await add('asked', first)).remoteAddr, `:${first}`);
  const picked = await add('picked', 0);
  assert.ok(further.includes(Number(picked.remoteAddr?.slice(1))), picked.remoteAddr);
  assert.equal((await add('third', 0)).phase, 'refused');
});

test('a real frps keeps what our client tells of itself and of its proxies', async (t) => {
  const frps = requireFrp(t, 'frps', 'names of clients');
  if (frps === undefined) return;
  const [web] = (await freePorts(1)) as [number];
  const port = await startFrps(t, frps, `webServer.port = ${web}\nwebServer.addr = "127.0.0.1"`);
  const client = await startClient(t, port, { user: 'alice', clientId: 'box', metas: { node: 'n-1' } });
  const more = { metas: { zone: 'z<1>' }, annotations: { 'example.org/a': 'b & c' } };
  await publish(client, 9, { name: 'p', ...more });
  const get = async (path: string): Promise<string> => (await fetch(`http://127.0.0.1:${web}${path}`)).text();
  const { conf } = JSON.parse(await get('/api/proxy/stcp/alice.p')) as { conf: Record<string, unknown> };
  assert.deepEqual([conf['metadatas'], conf['annotations']], [more.metas, more.annotations]);
  assert.match(await get('/api/clients'), /"key":"alice\.box"/u);
});

/** Carries connections to a port, cuts them, or leaves them behind so that only the client's side ends. */
async function listenForwarder(t: TestContext, to: number) {
  const links = new Set<[Socket, Socket]>();
  const port = await listenTcp(t, (socket) => {
    const upstream = connect({ port: to, host: '127.0.0.1' });
    upstream.on('error', () => {});
    links.add([socket, upstream]);
    socket.pipe(upstream);
    upstream.pipe(socket);
    t.after(() => {
      upstream.destroy();
    });
  });
  const end = (isServerTold: boolean): void => {
    for (const [socket, upstream] of links) {
      socket.unpipe(upstream);
      upstream.unpipe(socket);
      upstream.resume();
      socket.destroy();
      if (isServerTold) upstream.destroy();
    }
    links.clear();
  };
  return { port, end };
}

for (const isServerTold of [true, false]) {
  test(`our client comes back to a real frps ${isServerTold ? '' : 'that still holds its old connection '}with its run id and its port`, async (t) => {
    const needs = !isServerTold && 'logins that replace a connection which is held';
    const frps = requireFrp(t, 'frps', needs);
    if (frps === undefined) return;
    const [remotePort] = (await freePorts(1)) as [number];
    const forwarder = await listenForwarder(t, await startFrps(t, frps));
    const client = await startClient(t, forwarder.port);
    await publish(client, await listenData(t), { name: 'p', type: 'tcp', remotePort });
    const { runId } = client;
    assert.notEqual(runId, undefined);
    const phases = new Set<string>();
    client.onChange(() => phases.add(client.phase));
    forwarder.end(isServerTold);
    await waitFor(() => phases.has('waiting') && client.phase === 'online', { what: 'the return' });
    assert.equal(client.runId, runId);
    await waitFor(async () => (await download(remotePort).catch(() => '')) === HASH, { what: 'the service' });
  });
}

test('sidecars provide to real frpc visitors and visit services of a real frpc through a real frps', async (t) => {
  const frps = requireFrp(t, 'frps', 'sudp');
  const frpc = requireFrp(t, 'frpc', 'sudp');
  if (frps === undefined || frpc === undefined) return;
  const port = await startFrps(t, frps);
  const node = await startNode(t);
  await node.createRouter('frps');
  // An object for a frps that reports nothing: somebody says where it is and what it has.
  await node.client.patch(ROUTERS, 'frps', { spec: { frps: { bindPort: port } } }, { type: 'merge' });
  const offered = (name: string, protocol: string, targetPort: number) => ({
    name,
    namespace: 'default',
    protocol,
    targetPort,
    providers: [{ id: `${name}.default`, type: 'frpc', ready: true }],
  });
  const [dbPort, timePort] = (await freePorts(2)) as [number, number];
  const status = {
    addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
    activeServices: [offered('db', 'TCP', dbPort), offered('time', 'UDP', timePort)],
  };
  await node.client.patch(ROUTERS, 'frps', { status }, { type: 'merge', subresource: 'status' });

  const service = await listenData(t);
  const clock = await serveUdp(t);
  const env = { SIDECAR_SECRET_KEY: 'key', EDGE_ROUTER_TOKEN: 'secret' };
  const exported = `web=${service},ntp=${clock.port}/udp`;
  await node.startSidecar('pod-a', { SIDECAR_EXPORTED_SERVICES: exported, ...env });
  const mapped = `db:${dbPort},time:${timePort}/udp`;
  const consumer = await node.startSidecar('pod-b', { SIDECAR_MAPPED_SERVICES: mapped, ...env });

  const [webVisitor, ntpVisitor] = (await freePorts(2)) as [number, number];
  const proxy = (name: string, type: string, localPort: number): string =>
    `[[proxies]]\nname = "${name}"\ntype = "${type}"\nsecretKey = "key"\nlocalPort = ${localPort}\n`;
  const visitor = (serverName: string, type: string, bindPort: number): string =>
    `[[visitors]]\nname = "v-${type}"\ntype = "${type}"\nserverName = "${serverName}"\nsecretKey = "key"\nbindPort = ${bindPort}\n`;
  await startFrp(
    t,
    frpc,
    head({ port }) +
      proxy('db.default', 'stcp', service) +
      proxy('time.default/udp', 'sudp', clock.port) +
      visitor('web.default.pod-a', 'stcp', webVisitor) +
      visitor('ntp.default.pod-a', 'sudp', ntpVisitor),
    'start proxy success',
  );
  await waitFor(async () => (await download(webVisitor).catch(() => '')) === HASH, {
    what: 'the sidecar’s service',
  });
  const { address } = await whenServed(consumer, 'db');
  const fromFrpc = (): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ host: address, port: dbPort });
      let bytes = 0;
      socket.write('go');
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      socket.on('error', () => resolve('failed'));
      socket.on('end', () => resolve(String(bytes)));
    });
  assert.equal(await fromFrpc(), String(4 * 1024 * 1024 + 3));
  const user = await createUser(t);
  await user.ask(ntpVisitor, 'to the sidecar');
  const times = await whenServed(consumer, 'time');
  await user.ask(timePort, 'to the frpc', times.address);
});
