/**
 * Throws damaged messages at the responder, the upstream parser and the TCP framing, and holds every answer to rules.
 * FUZZ_SEED repeats a run; FUZZ_MS sets its time, FUZZ_INPUTS its number of inputs instead.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { createChain } from '../../src/dns/chain.ts';
import { Counters } from '../../src/dns/counters.ts';
import { frame, FrameReader } from '../../src/dns/framing.ts';
import { createZoneHandler } from '../../src/dns/handlers/zone.ts';
import { encodeName } from '../../src/dns/names.ts';
import { PacketMemory } from '../../src/dns/packet-memory.ts';
import { ageReply, parseUpstreamAnswer } from '../../src/dns/records.ts';
import { parseResolvConf } from '../../src/dns/resolv-conf.ts';
import { createResponder } from '../../src/dns/responder.ts';
import { encodeReply, parseQuery, udpLimit } from '../../src/dns/wire.ts';
import { createZone } from '../../src/dns/zone.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';
import type { Packet, PacketOpt, RecordType } from 'dns-packet';

const LABELS = [
  'mysql',
  'MySQL',
  'default',
  'svc',
  'cluster',
  'local',
  '_tcp',
  '_sql',
  '_3306',
  'x',
  'in-addr',
  'arpa',
];
const NAMES = [
  'mysql',
  'mysql.default.svc.cluster.local',
  '_sql._tcp.mysql',
  '1.66.0.127.in-addr.arpa',
  'slow',
  '.',
];
const TYPES: readonly RecordType[] = ['A', 'AAAA', 'SRV', 'PTR', 'SOA', 'TXT', 'AXFR', 'OPT', 'DS'];

const COOKIE = { code: 10, type: 'COOKIE', data: Buffer.alloc(8, 1) } as unknown as PacketOpt;

const zone = createZone({ clusterDomain: 'cluster.local', namespace: 'default', ttlSeconds: 5 });
zone.replace([
  {
    name: 'mysql',
    namespace: 'default',
    address: '127.0.66.1',
    // Enough that SRV answers do not fit a plain datagram.
    ports: Array.from({ length: 40 }, (_, index) => ({
      name: index === 0 ? 'sql' : `p${index}`,
      port: 3306 + index,
      protocol: 'tcp' as const,
    })),
    isReady: true,
  },
  { name: 'slow', namespace: 'default', address: '127.0.66.2', ports: [], isReady: false },
]);
const counters = new Counters();
const chain = createChain([createZoneHandler(zone), (query) => zone.outside(query)]);
/** Few, so that it is full and starts over again and again. */
const MAX_REMEMBERED = 200;
const memory = new PacketMemory({ maxEntries: MAX_REMEMBERED, maxBytes: 100_000 });
const responder = createResponder({
  chain,
  counters,
  log: silentLogger,
  maxPending: 1,
  memory,
  version: () => zone.version,
  now: () => performance.now(),
});

function someName(): string {
  if (random() < 0.5) return pick(NAMES);
  return Array.from({ length: 1 + below(9) }, () => pick(LABELS)).join('.');
}

function wellFormed(): Buffer {
  const packet: Packet = {
    type: 'query',
    id: below(65_536),
    flags: random() < 0.8 ? 0x100 : below(0x7fff),
    questions: [{ name: someName(), type: pick(TYPES) }],
  };
  if (random() < 0.5) {
    const options = random() < 0.3 ? [COOKIE] : [];
    packet.additionals = [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: below(65_536),
        extendedRcode: 0,
        ednsVersion: below(20) === 0 ? 1 : 0,
        flags: 0,
        flag_do: false,
        options,
      },
    ];
  }
  return encode(packet);
}

// Bytes changed, cut, repeated, joined, or plain noise; a pointer or a length in the wrong place is the likeliest.
function damaged(bytes: Buffer): Buffer {
  const out = Buffer.from(bytes);
  switch (below(6)) {
    case 0:
      return out.subarray(0, below(out.length + 1));
    case 1:
      for (let count = below(4); count >= 0; count -= 1)
        out[below(out.length)] = pick([0, 1, 12, 63, 64, 0x80, 0xc0, 255, below(256)]);
      return out;
    case 2: {
      const at = below(out.length);
      out[at] = 0xc0;
      if (at + 1 < out.length) out[at + 1] = below(out.length);
      return out;
    }
    case 3: {
      const at = 12 + below(Math.max(1, out.length - 12));
      return Buffer.concat([out.subarray(0, at), out.subarray(12), out.subarray(at)]);
    }
    case 4:
      return Buffer.from(Array.from({ length: below(600) }, () => below(256)));
    default:
      if (out.length >= 12) out.writeUInt16BE(below(4), 4 + 2 * below(4));
      return out;
  }
}

function check(bytes: Buffer): void {
  const transport = random() < 0.5 ? 'udp' : 'tcp';
  const answer = responder.respond(bytes, transport);
  assert.ok(!(answer instanceof Promise));
  const query = parseQuery(bytes);
  if (bytes.length < 12 || ((bytes[2] ?? 0) & 0x80) !== 0) {
    assert.equal(answer, undefined, 'short messages and responses are dropped');
    return;
  }
  assert.ok(answer !== undefined, 'everything else is answered');
  const again = Buffer.from(bytes);
  again[0] = (again[0] ?? 0) ^ 0x55;
  const second = responder.respond(again, transport);
  assert.ok(Buffer.isBuffer(second), 'the same words are answered again');
  assert.deepEqual(second.subarray(2), answer.subarray(2), 'and with the same answer');
  assert.deepEqual(second.subarray(0, 2), again.subarray(0, 2), 'but to the new id');
  assert.deepEqual(answer.subarray(0, 2), bytes.subarray(0, 2), 'the id is kept');
  assert.ok(((answer[2] ?? 0) & 0x80) !== 0, 'an answer is a response');
  const message = decode(answer); // throws when it is not well-formed
  assert.equal(parseQuery(answer), undefined, 'an answer is never answered');
  if (typeof query !== 'object') {
    assert.equal(answer.length, 12);
    return;
  }
  assert.deepEqual(
    answer.subarray(12, query.questionEnd),
    bytes.subarray(12, query.questionEnd),
    'the question is kept',
  );
  assert.ok(transport === 'tcp' || answer.length <= udpLimit(query), 'UDP answers fit');
  assert.equal(
    (message.additionals ?? []).some(({ type }) => type === 'OPT'),
    query.edns !== undefined,
    'OPT for OPT',
  );
  // The oracle reads binary labels as UTF-8, so only printable names can be compared.
  if (/^[!-~.]+$/u.test(message.questions?.[0]?.name ?? '')) {
    const name = message.questions?.[0]?.name ?? '';
    if (!query.name.slice(1).includes('.'))
      assert.equal(encodeName(name) ?? '\0', query.name, 'the oracle reads the same name');
  }
}

function checkUpstream(): void {
  const query = encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'example.org' }] });
  const good = encode({
    type: 'response',
    id: 1,
    flags: 0x180 | pick([0, 0, 2, 3]),
    questions: [{ type: 'A', name: 'example.org' }],
    answers: Array.from({ length: below(4) }, () => ({
      type: 'A' as const,
      name: 'example.org',
      ttl: below(2 ** 32),
      data: '192.0.2.1',
    })),
    authorities: random() < 0.5 ? [{ type: 'NS', name: 'org', ttl: 60, data: 'a.example' }] : [],
  });
  const bytes = Buffer.concat([good.subarray(0, query.length), damaged(good).subarray(query.length)]);
  const reply = parseUpstreamAnswer(bytes, query.length);
  const parsed = parseQuery(query);
  if (reply === undefined || typeof parsed !== 'object') return;
  const aged = ageReply(reply, below(100), 0);
  assert.equal(aged.body.length, reply.body.length);
  for (const limit of [512, 1232, 65_535]) assert.ok(encodeReply(parsed, aged, limit).length <= limit);
}

function checkFraming(): void {
  const messages = Array.from({ length: below(5) }, () => Buffer.alloc(below(40), below(256)));
  const stream = Buffer.concat(messages.map((message) => frame(message)));
  const reader = new FrameReader();
  const found: Buffer[] = [];
  for (let at = 0; at < stream.length;) {
    const size = 1 + below(20);
    found.push(...reader.push(stream.subarray(at, at + size)));
    at += size;
  }
  assert.deepEqual(found.map(String), messages.map(String));
}

test('the responder survives damaged messages', async (t) => {
  let last: Buffer = Buffer.alloc(0);
  let slowestMs = 0;
  try {
    await fuzz('dns packets', () => {
      const whole = wellFormed();
      last = random() < 0.3 ? whole : damaged(random() < 0.2 ? damaged(whole) : whole);
      const startedAt = performance.now();
      check(last);
      slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    });
  } catch (err) {
    throw new Error(`packet ${last.toString('hex')}`, { cause: err });
  }
  assert.equal(counters.internalErrors, 0, 'no fault inside');
  assert.ok(memory.size <= MAX_REMEMBERED && memory.heldBytes < 200_000, 'what it remembers is bounded');
  t.diagnostic(
    `slowest ${slowestMs.toFixed(1)} ms, ${Math.round(process.memoryUsage().rss / 1024 ** 2)} MiB`,
  );
});

test('the parsers survive damaged answers, streams and files', async () => {
  await fuzz('dns parsers', () => {
    checkUpstream();
    checkFraming();
    parseResolvConf(
      damaged(Buffer.from('nameserver 192.0.2.1\nsearch a b\noptions ndots:5')).toString('latin1'),
    );
  });
});
