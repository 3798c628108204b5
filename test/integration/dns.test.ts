/** The DNS server on real sockets: dig and Node's resolver as clients, mapped names, TCP, limits. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { decode, encode } from 'dns-packet';
import { createDnsServer } from '../../src/dns/server.ts';
import { createZone } from '../../src/dns/zone.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { checkLeaks } from '../support/leak-check.ts';
import { requireProgram } from '../support/programs.ts';
import { startSteadyClock } from '../support/steady-clock.ts';
import { PATIENCE_MS, waitFor } from '../support/wait.ts';
import type { TestContext } from 'node:test';
import type { DnsServer, DnsServerConfig } from '../../src/dns/server.ts';
import type { Zone } from '../../src/dns/zone.ts';

checkLeaks();

const HOST = '127.0.0.2';
const run = promisify(execFile);

interface Running {
  server: DnsServer;
  zone: Zone;
  port: number;
}

async function startServer(t: TestContext, config: Partial<DnsServerConfig> = {}): Promise<Running> {
  const zone = createZone({ clusterDomain: 'cluster.local', namespace: 'default', ttlSeconds: 5 });
  zone.replace([
    {
      name: 'mysql',
      namespace: 'default',
      address: '127.0.66.1',
      ports: [{ name: 'sql', port: 3306, protocol: 'tcp' }],
      isReady: true,
    },
  ]);
  const server = createDnsServer(
    { listen: [{ host: HOST, port: 0 }], zone, upstreams: [], ...config },
    { clock: startSteadyClock(t), random: Math.random, log: silentLogger },
  );
  await server.start();
  t.after(() => server.stop());
  return { server, zone, port: server.addresses[0]?.port ?? 0 };
}

function question(name: string, id = 1): Buffer {
  return encode({ type: 'query', id, flags: 0x100, questions: [{ type: 'A', name }] });
}

function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(2);
  prefix.writeUInt16BE(message.length);
  return Buffer.concat([prefix, message]);
}

/** Asks for a mapped name over a connection that stays open. */
async function askOver(socket: Socket, id: number): Promise<void> {
  const answered = once(socket, 'data');
  socket.write(framed(question('mysql', id)));
  const [answer] = (await answered) as [Buffer];
  assert.equal(answer.readUInt16BE(2), id);
}

/** Everything a TCP server sends until it closes or `count` messages are there, as ids. */
async function idsFrom(socket: ReturnType<typeof connect>, count: number): Promise<number[]> {
  const ids: number[] = [];
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      ids.push(bytes.readUInt16BE(2));
      bytes = bytes.subarray(2 + bytes.readUInt16BE(0));
    }
    if (ids.length >= count) break;
  }
  return ids;
}

describe('dig', () => {
  const cases: { args: string[]; output: RegExp }[] = [
    { args: ['mysql', 'A'], output: /status: NOERROR[\s\S]*mysql\.\s+5\s+IN\s+A\s+127\.0\.66\.1/u },
    { args: ['mysql.default.svc.cluster.local', 'A', '+tcp'], output: /IN\s+A\s+127\.0\.66\.1/u },
    { args: ['MySQL.Default.svc', 'A'], output: /MySQL\.Default\.svc\.\s+5\s+IN\s+A/u },
    { args: ['mysql.default', 'AAAA'], output: /status: NOERROR[\s\S]*ANSWER: 0, AUTHORITY: 1[\s\S]*SOA/u },
    { args: ['_sql._tcp.mysql', 'SRV'], output: /SRV\s+0 100 3306 mysql\.default\.svc\.cluster\.local\./u },
    { args: ['-x', '127.0.66.1'], output: /PTR\s+mysql\.default\.svc\.cluster\.local\./u },
    { args: ['mysql', 'ANY', '+notcp'], output: /HINFO\s+"RFC8482" ""/u },
    { args: ['mysql.default.svc.cluster.local.default.svc.cluster.local'], output: /status: NXDOMAIN/u },
    { args: ['example.org', 'A'], output: /status: REFUSED/u },
    { args: ['other.default.svc.cluster.local', 'A'], output: /status: NXDOMAIN[\s\S]*SOA/u },
    { args: ['mysql', 'A', '+edns=1', '+noednsnegotiation'], output: /status: BADVERS/u },
    { args: ['mysql', 'A', '+opcode=2'], output: /status: NOTIMP/u },
    { args: ['version.bind', 'TXT', 'CH'], output: /"edge"/u },
    { args: ['localhost', 'AAAA'], output: /status: NOERROR[\s\S]*IN\s+AAAA\s+::1/u },
    { args: ['mysql', 'A', '+bufsize=4096'], output: /udp: 1232/u },
  ];
  test('understands every answer', async (t) => {
    const dig = requireProgram(t, 'dig');
    if (dig === undefined) return;
    const { port } = await startServer(t);
    for (const { args, output } of cases) {
      const { stdout } = await run(dig, [`@${HOST}`, '-p', String(port), '+tries=1', '+time=30', ...args]);
      assert.match(stdout, output, args.join(' '));
      assert.doesNotMatch(stdout, /;; Warning|malformed|extra bytes/u, args.join(' '));
    }
  });
});

test("Node's resolver gets addresses, services and names", async (t) => {
  const { port } = await startServer(t);
  const resolver = new Resolver({ timeout: PATIENCE_MS, tries: 1 });
  resolver.setServers([`${HOST}:${port}`]);
  assert.deepEqual(await resolver.resolve4('mysql.default.svc', { ttl: true }), [
    { address: '127.0.66.1', ttl: 5 },
  ]);
  const services = await resolver.resolveSrv('_sql._tcp.mysql.default.svc.cluster.local');
  assert.deepEqual(
    services.map(({ name, port: at, priority, weight }) => ({ name, port: at, priority, weight })),
    [{ name: 'mysql.default.svc.cluster.local', port: 3306, priority: 0, weight: 100 }],
  );
  assert.deepEqual(await resolver.reverse('127.0.66.1'), ['mysql.default.svc.cluster.local']);
  await assert.rejects(resolver.resolve6('mysql'), { code: 'ENODATA' });
  await assert.rejects(resolver.resolve4('x.mysql.default.svc'), { code: 'ENOTFOUND' });
  resolver.cancel();
});

test('a name changes and goes while the server runs', async (t) => {
  const { port, zone } = await startServer(t);
  const resolver = new Resolver({ timeout: PATIENCE_MS, tries: 1 });
  resolver.setServers([`${HOST}:${port}`]);
  zone.replace([{ name: 'web', namespace: 'default', address: '127.0.66.7', ports: [], isReady: true }]);
  assert.deepEqual(await resolver.resolve4('web'), ['127.0.66.7']);
  await assert.rejects(resolver.resolve4('mysql.default.svc.cluster.local'), { code: 'ENOTFOUND' });
});

describe('UDP', () => {
  test('replies come from the address and port that were asked', async (t) => {
    const { server } = await startServer(t, {
      listen: [
        { host: '127.0.0.2', port: 0 },
        { host: '127.0.0.3', port: 0 },
      ],
    });
    const client = createSocket('udp4');
    t.after(() => client.close());
    for (const { host, port } of server.addresses) {
      client.send(question('mysql'), port, host);
      const [, from] = (await once(client, 'message')) as [Buffer, { address: string; port: number }];
      assert.deepEqual([from.address, from.port], [host, port]);
    }
  });

  test('garbage, responses and short packets get no answer and do no harm', async (t) => {
    const { server, port } = await startServer(t);
    const client = createSocket('udp4');
    t.after(() => client.close());
    const response = question('mysql', 2);
    response[2] = 0x81;
    for (const bytes of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(11), response])
      client.send(bytes, port, HOST);
    client.send(question('mysql', 3), port, HOST);
    const [answer] = (await once(client, 'message')) as [Buffer];
    assert.equal(decode(answer).id, 3, 'the first answer is to the last packet');
    assert.ok(server.stats().dropped >= 3);
  });
});

describe('TCP', () => {
  test('answers a query whose bytes come one at a time', async (t) => {
    const { port } = await startServer(t);
    const socket = connect(port, HOST);
    socket.setNoDelay(true);
    for (const byte of framed(question('mysql', 77))) {
      await new Promise((resolve) => {
        socket.write(Buffer.from([byte]), resolve);
      });
    }
    assert.deepEqual(await idsFrom(socket, 1), [77]);
  });

  test('answers many pipelined queries and then half-close with a close', async (t) => {
    const { port } = await startServer(t);
    const socket = connect(port, HOST);
    const count = 500;
    socket.end(Buffer.concat(Array.from({ length: count }, (_, id) => framed(question('mysql', id)))));
    const ids = await idsFrom(socket, count + 1); // reads until the server closes
    assert.deepEqual(
      ids,
      Array.from({ length: count }, (_, id) => id),
    );
  });

  test('closes a silent connection after the idle time', async (t) => {
    const { port, server } = await startServer(t, { limits: { idleTimeoutMs: 100 } });
    const socket = connect(port, HOST);
    socket.write(Buffer.from([0, 40, 1])); // a query that never ends
    socket.resume();
    await once(socket, 'close');
    await waitFor(() => server.stats().tcpConnections === 0, { what: 'the connection forgotten' });
  });

  test('beyond the limit the longest idle connection makes room', async (t) => {
    const { port, server } = await startServer(t, { limits: { maxConnections: 2 } });
    const open = async (count: number): Promise<Socket> => {
      const socket = connect(port, HOST);
      t.after(() => socket.destroy());
      await waitFor(() => server.stats().tcpConnections === count, { what: `connection ${count}` });
      return socket;
    };
    const first = await open(1);
    const second = await open(2);
    const closed = once(second.resume(), 'close');
    await askOver(first, 1);
    const third = await open(2);
    await closed;
    await askOver(third, 3);
    await askOver(first, 4);
    assert.equal(server.stats().tcpConnectionsRefused, 0);
  });

  test('beyond the limit, with queries in hand on all connections, further ones are closed', async (t) => {
    const silent = createSocket('udp4').bind(0, HOST);
    await once(silent, 'listening');
    t.after(() => silent.close());
    const upstreams = [{ host: HOST, port: silent.address().port }];
    const { port, server } = await startServer(t, { upstreams, limits: { maxConnections: 1 } });
    const first = connect(port, HOST);
    t.after(() => first.destroy());
    const isAsked = once(silent, 'message');
    first.write(framed(question('elsewhere.example', 1)));
    await isAsked;
    const second = connect(port, HOST);
    second.on('error', () => {}); // a reset is a fine way to refuse
    second.resume();
    await once(second, 'close');
    assert.equal(server.stats().tcpConnectionsRefused, 1);
    assert.deepEqual(await idsFrom(first, 1), [1]);
  });
});

describe('life of the server', () => {
  test('UDP and TCP share the free port, and stop gives it back', async (t) => {
    const { server, port } = await startServer(t);
    await server.start();
    await server.stop();
    await server.stop();
    assert.deepEqual(server.addresses, []);
    const again = await startServer(t, { listen: [{ host: HOST, port }] });
    assert.equal(again.port, port);
  });

  test('a server that stopped can start again', async (t) => {
    const { server } = await startServer(t);
    await server.stop();
    await server.start();
    const resolver = new Resolver({ timeout: PATIENCE_MS, tries: 1 });
    resolver.setServers([`${HOST}:${server.addresses[0]?.port}`]);
    assert.deepEqual(await resolver.resolve4('mysql'), ['127.0.66.1']);
  });

  test('an address in use is an error that names it, and leaves nothing open', async (t) => {
    const { port } = await startServer(t);
    const zone = createZone({ clusterDomain: 'cluster.local', namespace: 'default', ttlSeconds: 5 });
    const listen = [
      { host: '127.0.0.3', port: 0 },
      { host: HOST, port },
    ];
    const deps = { clock: startSteadyClock(t), random: Math.random, log: silentLogger };
    const second = createDnsServer({ listen, zone, upstreams: [] }, deps);
    await assert.rejects(second.start(), {
      code: 'EDGE_ERR_DNS_LISTEN',
      message: new RegExp(`${HOST}:${port}`, 'u'),
    });
    await second.stop();
  });

  test('host names are refused as addresses', async (t) => {
    const { server } = await startServer(t);
    const upstreams = [{ host: 'dns.example.org', port: 53 }];
    assert.throws(() => server.reconfigure({ upstreams }), { code: 'EDGE_ERR_DNS_ADDRESS' });
  });
});
