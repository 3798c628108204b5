/** Forwarding over real sockets to upstreams that are slow, dead, lying or looping. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { createDnsServer } from '../../src/dns/server.ts';
import { createZone } from '../../src/dns/zone.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { addressRecord, answerTo, FAKE_DNS_HOST, startFakeDns } from '../support/fake-dns.ts';
import { checkLeaks } from '../support/leak-check.ts';
import { freePort } from '../support/ports.ts';
import { startSteadyClock } from '../support/steady-clock.ts';
import { PATIENCE_MS, waitFor } from '../support/wait.ts';
import type { TestContext } from 'node:test';
import type { DecodedPacket, Packet } from 'dns-packet';
import type { HostPort } from '../../src/lib/address.ts';
import type { DnsServer, DnsServerConfig } from '../../src/dns/server.ts';
import type { Logger } from '../../src/lib/log.ts';
import type { FakeDns } from '../support/fake-dns.ts';

checkLeaks();

const HOST = '127.0.0.2';
const QUICK = { tryTimeoutMs: 200, totalTimeoutMs: 1000, drainTimeoutMs: 50 };
type Answered = DecodedPacket & { rcode: string };

async function startServer(
  t: TestContext,
  upstreams: HostPort[],
  config: Partial<DnsServerConfig> = {},
  log: Logger = silentLogger,
): Promise<DnsServer> {
  const zone = createZone({ clusterDomain: 'cluster.local', namespace: 'default', ttlSeconds: 5 });
  zone.replace([{ name: 'mysql', namespace: 'default', address: '127.0.66.1', ports: [], isReady: true }]);
  const server = createDnsServer(
    { listen: [{ host: HOST, port: 0 }], zone, upstreams, limits: QUICK, ...config },
    { clock: startSteadyClock(t), random: Math.random, log },
  );
  await server.start();
  t.after(() => server.stop());
  return server;
}

async function startUpstream(t: TestContext, port = 0): Promise<FakeDns> {
  const upstream = await startFakeDns(port);
  t.after(() => upstream.stop());
  return upstream;
}

async function deadUpstream(): Promise<HostPort> {
  return { host: FAKE_DNS_HOST, port: await freePort(FAKE_DNS_HOST) };
}

/** Asks over UDP, EDNS on, and gives the decoded answer with its rcode. */
async function ask(server: DnsServer, name: string, change: Packet = {}): Promise<Answered> {
  const client = createSocket('udp4');
  try {
    const packet: Packet = {
      type: 'query',
      id: 4711,
      flags: 0x100,
      questions: [{ type: 'A', name }],
      ...change,
    };
    const { host, port } = server.addresses[0] ?? { host: HOST, port: 0 };
    client.send(encode(packet), port, host);
    const [bytes] = (await once(client, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [Buffer];
    const answer = decode(bytes) as Answered;
    assert.equal(answer.id, 4711);
    return answer;
  } finally {
    client.close();
  }
}

function addresses(answer: Answered): unknown[] {
  return (answer.answers ?? []).map((record) => (record.type === 'A' ? record.data : record.type));
}

describe('a working upstream', () => {
  test('answers what is not ours, once a TTL, and never sees what is', async (t) => {
    const upstream = await startUpstream(t);
    const server = await startServer(t, [upstream]);
    assert.deepEqual(addresses(await ask(server, 'example.org')), ['192.0.2.1']);
    assert.deepEqual(addresses(await ask(server, 'EXAMPLE.org')), ['192.0.2.1']);
    assert.equal((await ask(server, 'exAMPLE.org')).questions?.[0]?.name, 'exAMPLE.org');
    await ask(server, 'mysql.default.svc');
    await ask(server, 'mysql.default.svc.cluster.local.default.svc.cluster.local');
    assert.deepEqual(
      upstream.queries.map(({ name }) => name),
      ['example.org'],
    );
    assert.equal(server.stats().cacheHits, 2);
  });

  test('is asked for unmapped names of the cluster domain', async (t) => {
    const upstream = await startUpstream(t);
    const server = await startServer(t, [upstream]);
    assert.deepEqual(addresses(await ask(server, 'kubernetes.default.svc.cluster.local')), ['192.0.2.1']);
  });

  test('is asked from another port and with another id each time', async (t) => {
    const upstream = await startUpstream(t);
    const server = await startServer(t, [upstream]);
    for (let index = 0; index < 20; index += 1) await ask(server, `n${index}.example.org`);
    assert.ok(new Set(upstream.queries.map(({ port }) => port)).size > 10);
    assert.ok(new Set(upstream.queries.map(({ id }) => id)).size > 15);
  });

  test('is asked once for the same question of many clients', async (t) => {
    const upstream = await startUpstream(t);
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    upstream.behave(async (query) => {
      await gate;
      return [answerTo(query, [addressRecord(query.name, '192.0.2.7')])];
    });
    const server = await startServer(t, [upstream], {
      limits: { ...QUICK, tryTimeoutMs: 5000, totalTimeoutMs: 5000 },
    });
    const answers = Array.from({ length: 30 }, () => ask(server, 'example.org'));
    await waitFor(() => server.stats().pending === 30, { what: 'thirty waiting queries' });
    open();
    for (const answer of await Promise.all(answers)) assert.deepEqual(addresses(answer), ['192.0.2.7']);
    assert.equal(upstream.queries.length, 1);
  });

  test('its NXDOMAIN is kept as long as its SOA says', async (t) => {
    const upstream = await startUpstream(t);
    const data = { mname: 'a.example.org', rname: 'b.example.org', minimum: 60 };
    upstream.behave((query) => [answerTo(query, [], 3, [{ type: 'SOA', name: 'org', ttl: 60, data }])]);
    const server = await startServer(t, [upstream]);
    for (let round = 0; round < 3; round += 1)
      assert.equal((await ask(server, 'no.example.org')).rcode, 'NXDOMAIN');
    assert.equal(upstream.queries.length, 1);
  });

  test('its truncated answer is asked for again over TCP, and truncated for a client with a small buffer', async (t) => {
    const upstream = await startUpstream(t);
    const many = Array.from({ length: 60 }, (_, index) =>
      addressRecord('big.example.org', `192.0.2.${index}`),
    );
    upstream.behave((query) => [
      query.transport === 'udp' ? answerTo(query, [], 0x200) : answerTo(query, many),
    ]);
    const server = await startServer(t, [upstream]);
    const small = await ask(server, 'big.example.org');
    assert.deepEqual([small.flag_tc, small.answers?.length], [true, 0]);
    assert.deepEqual(
      upstream.queries.map(({ transport }) => transport),
      ['udp', 'tcp'],
    );
    const socket = connect(server.addresses[0]?.port ?? 0, HOST);
    const query = encode({
      type: 'query',
      id: 5,
      questions: [{ type: 'A', name: 'big.example.org' }],
      flags: 0x100,
    });
    socket.end(Buffer.concat([Buffer.from([0, query.length]), query]));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    assert.equal(decode(Buffer.concat(chunks).subarray(2)).answers?.length, 60);
  });

  test('one from before EDNS is asked again without it', async (t) => {
    const upstream = await startUpstream(t);
    upstream.behave((query) =>
      (query.packet.additionals ?? []).length > 0
        ? [Buffer.from([query.id >> 8, query.id & 255, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0])]
        : [answerTo(query, [addressRecord(query.name, '192.0.2.3')])],
    );
    const server = await startServer(t, [upstream]);
    assert.deepEqual(addresses(await ask(server, 'example.org')), ['192.0.2.3']);
  });
});

describe('a lying upstream', () => {
  const lies: Record<string, (good: Buffer) => Buffer> = {
    'another id': (good) => {
      good[0] = (good[0] ?? 0) ^ 1;
      return good;
    },
    'another question': (good) => {
      good[13] = 0x78;
      return good;
    },
    'another type': (good) => {
      good[12 + 13 + 1] = 28;
      return good;
    },
    'no response bit': (good) => {
      good[2] = 1;
      return good;
    },
    'three bytes': (good) => good.subarray(0, 3),
  };
  for (const [what, lie] of Object.entries(lies)) {
    test(`with ${what} is ignored, and the true answer behind it is taken`, async (t) => {
      const upstream = await startUpstream(t);
      upstream.behave((query) => [
        lie(answerTo(query, [addressRecord(query.name, '203.0.113.66')])),
        answerTo(query, [addressRecord(query.name, '192.0.2.1')]),
      ]);
      const server = await startServer(t, [upstream]);
      assert.deepEqual(addresses(await ask(server, 'example.org')), ['192.0.2.1']);
      assert.equal(server.stats().mismatches, 1);
    });
  }

  test('that speaks from another address is not heard', async (t) => {
    const upstream = await startUpstream(t);
    const liar = createSocket('udp4');
    t.after(() => liar.close());
    upstream.behave(async (query) => {
      const forged = answerTo(query, [addressRecord(query.name, '203.0.113.66')]);
      await new Promise<void>((resolve) => {
        liar.send(forged, query.port, '127.0.0.1', () => resolve());
      });
      return [answerTo(query, [addressRecord(query.name, '192.0.2.1')])];
    });
    const server = await startServer(t, [upstream]);
    assert.deepEqual(addresses(await ask(server, 'example.org')), ['192.0.2.1']);
  });

  test('whose records are cut short is SERVFAIL', async (t) => {
    const upstream = await startUpstream(t);
    upstream.behave((query) => [answerTo(query, [addressRecord(query.name, '192.0.2.1')]).subarray(0, -1)]);
    const server = await startServer(t, [upstream]);
    assert.equal((await ask(server, 'example.org')).rcode, 'SERVFAIL');
  });
});

describe('a failing upstream', () => {
  test('that is dead or silent is passed over, and remembered', async (t) => {
    const [silent, good] = [await startUpstream(t), await startUpstream(t)];
    silent.behave(() => []);
    const server = await startServer(t, [await deadUpstream(), silent, good]);
    for (const name of ['a.example.org', 'b.example.org', 'c.example.org', 'd.example.org']) {
      assert.deepEqual(addresses(await ask(server, name)), ['192.0.2.1'], name);
    }
    assert.deepEqual(
      server.stats().upstreams.map(({ isDown }) => isDown),
      [true, true, false],
    );
    assert.equal(silent.queries.length, 2, 'two failures in a row are enough');
  });

  test('that is late gets company, and the first good answer is taken', async (t) => {
    const [silent, good] = [await startUpstream(t), await startUpstream(t)];
    silent.behave(() => []);
    const limits = { ...QUICK, tryTimeoutMs: 60_000, totalTimeoutMs: 60_000 };
    const server = await startServer(t, [silent, good], { limits });
    for (const name of ['a.example.org', 'b.example.org']) {
      assert.deepEqual(addresses(await ask(server, name)), ['192.0.2.1'], name);
    }
    assert.deepEqual(
      [silent.queries.length, good.queries.length],
      [1, 2],
      'the late one is asked last for a while',
    );
    assert.equal(server.stats().upstreamFailures, 0);
  });

  test('that loses a datagram is asked again, long before the try is given up', async (t) => {
    const upstream = await startUpstream(t);
    upstream.behave((query) =>
      upstream.queries.length === 1 ? [] : [answerTo(query, [addressRecord(query.name, '192.0.2.4')])],
    );
    const limits = { ...QUICK, tryTimeoutMs: 60_000, totalTimeoutMs: 60_000 };
    const server = await startServer(t, [upstream], { limits });
    assert.deepEqual(addresses(await ask(server, 'example.org')), ['192.0.2.4']);
  });

  test('that says SERVFAIL or REFUSED is passed over; without another its answer is given', async (t) => {
    const [bad, good] = [await startUpstream(t), await startUpstream(t)];
    bad.behave((query) => [answerTo(query, [], 5)]);
    const server = await startServer(t, [bad, good]);
    assert.deepEqual(addresses(await ask(server, 'example.org')), ['192.0.2.1']);
    server.reconfigure({ upstreams: [bad] });
    assert.equal((await ask(server, 'example.org')).rcode, 'REFUSED');
  });

  test('that cannot answer is not asked the same again at once, and mapped names never notice', async (t) => {
    const bad = await startUpstream(t);
    bad.behave((query) => [answerTo(query, [], 2)]);
    const server = await startServer(t, [bad]);
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask(server, 'example.org')));
    const later = await ask(server, 'EXAMPLE.org');
    for (const { rcode } of [...answers, later]) assert.equal(rcode, 'SERVFAIL');
    assert.equal(bad.queries.filter(({ name }) => name === 'example.org').length, 2); // both tries of the first question
    assert.deepEqual(addresses(await ask(server, 'mysql')), ['127.0.66.1']);
    bad.behave((query) => [answerTo(query, [addressRecord(query.name, '192.0.2.6')])]);
    await waitFor(async () => addresses(await ask(server, 'example.org'))[0] === '192.0.2.6', {
      what: 'an answer once the moment is over',
    });
  });

  test('is used again soon after it is back', async (t) => {
    const address = await deadUpstream();
    const server = await startServer(t, [address]);
    assert.equal((await ask(server, 'example.org')).rcode, 'SERVFAIL');
    assert.equal(server.stats().upstreams[0]?.isDown, true);
    await startUpstream(t, address.port);
    await waitFor(() => server.stats().upstreams[0]?.isDown === false, { what: 'a probe that is answered' });
    await waitFor(async () => addresses(await ask(server, 'example.org'))[0] === '192.0.2.1', {
      what: 'an answer',
    });
  });

  test('leaves expired answers in use', async (t) => {
    const upstream = await startUpstream(t);
    upstream.behave((query) => [answerTo(query, [addressRecord(query.name, '192.0.2.5', 1)])]);
    const server = await startServer(t, [upstream]);
    await ask(server, 'example.org');
    upstream.behave(() => []);
    await waitFor(async () => (await ask(server, 'example.org')).answers?.[0], { what: 'an answer' });
    const isStale = async (): Promise<boolean> => {
      const answer = await ask(server, 'example.org');
      assert.deepEqual(addresses(answer), ['192.0.2.5']);
      return server.stats().staleAnswers > 0;
    };
    await waitFor(isStale, { what: 'an expired answer' });
    assert.deepEqual(addresses(await ask(server, 'mysql')), ['127.0.66.1']);
  });

  test('cannot take more sockets than the limit', async (t) => {
    const silent = await startUpstream(t);
    silent.behave(() => []);
    const server = await startServer(t, [silent], { limits: { ...QUICK, maxOutstanding: 5 } });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => ask(server, `n${index}.example.org`)),
    );
    assert.ok(answers.every(({ rcode }) => rcode === 'SERVFAIL'));
    assert.equal(server.stats().overflows, 15);
  });
});

describe('loops', () => {
  test('our own address is never an upstream, also when set later', async (t) => {
    const server = await startServer(t, []);
    const own = server.addresses[0] ?? { host: HOST, port: 0 };
    server.reconfigure({ upstreams: [own] });
    assert.deepEqual(server.stats().upstreams, []);
    assert.equal((await ask(server, 'example.org')).rcode, 'REFUSED');
  });

  test('a query that an upstream sends back to us is answered SERVFAIL at once', async (t) => {
    const mirror = createSocket('udp4');
    mirror.bind(0, '127.0.0.1');
    await once(mirror, 'listening');
    t.after(() => mirror.close());
    const server = await startServer(t, [{ host: '127.0.0.1', port: mirror.address().port }]);
    // What a packet redirection does: the query comes back unchanged, the answer goes to where it came from.
    let asker = 0;
    mirror.on('message', (bytes, peer) => {
      const isAnswer = ((bytes[2] ?? 0) & 0x80) !== 0;
      if (isAnswer) mirror.send(bytes, asker, '127.0.0.1');
      else {
        asker = peer.port;
        mirror.send(bytes, server.addresses[0]?.port ?? 0, HOST);
      }
    });
    assert.equal((await ask(server, 'example.org')).rcode, 'SERVFAIL');
    assert.ok(server.stats().loops >= 1);
  });
});

test('clients that are not on this machine get no answer unless allowed', async (t) => {
  const outer = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  if (outer === undefined) {
    t.skip('this machine has no address but loopback');
    return;
  }
  const listen = [{ host: outer, port: 0 }];
  const warnings: unknown[] = [];
  const log: Logger = { ...silentLogger, warn: (_message, fields) => void warnings.push(fields?.['client']) };
  const closed = await startServer(t, [], { listen }, log);
  const client = createSocket('udp4');
  t.after(() => client.close());
  const query = encode({ type: 'query', id: 4711, questions: [{ type: 'A', name: 'mysql' }], flags: 0x100 });
  client.send(query, closed.addresses[0]?.port ?? 0, outer);
  await waitFor(() => closed.stats().dropped === 1, { what: 'a dropped packet' });
  const stream = connect(closed.addresses[0]?.port ?? 0, outer);
  stream.on('error', () => {}); // a reset is a fine way to refuse
  stream.resume();
  await once(stream, 'close');
  assert.equal(closed.stats().dropped, 2);
  assert.deepEqual(warnings, [outer], 'one warning names the first');
  assert.deepEqual(closed.stats().queries, []);
  const open = await startServer(t, [], { listen, allowRemoteClients: true });
  assert.deepEqual(addresses(await ask(open, 'mysql')), ['127.0.66.1']);
});

test('stopping with queries under way answers or ends them all', async (t) => {
  const silent = await startUpstream(t);
  silent.behave(() => []);
  const server = await startServer(t, [silent]);
  const { port = 0 } = server.addresses[0] ?? {};
  const client = createSocket('udp4');
  t.after(() => client.close());
  client.send(
    encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'example.org' }], flags: 0x100 }),
    port,
    HOST,
  );
  await waitFor(() => server.stats().pending === 1, { what: 'a waiting query' });
  await server.stop();
  await waitFor(() => server.stats().pending === 0, { what: 'nothing waiting' });
});
