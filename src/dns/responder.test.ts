/** The protocol rules in front of every handler, and what happens when a handler fails. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { silentLogger } from '../lib/log.ts';
import { createChain } from './chain.ts';
import { Counters } from './counters.ts';
import { PacketMemory } from './packet-memory.ts';
import { createResponder } from './responder.ts';
import { emptyReply } from './wire.ts';
import type { DecodedPacket, RecordType } from 'dns-packet';
import type { Handler } from './chain.ts';
import type { QueryCount } from './counters.ts';
import type { Reply } from './wire.ts';

function setUp(handler: Handler = () => emptyReply('zone', 0)) {
  const counters = new Counters();
  const memory = new PacketMemory({ maxEntries: 100, maxBytes: 10_000 });
  const state = { version: 1, now: 0 };
  const responder = createResponder({
    chain: createChain([handler]),
    counters,
    log: silentLogger,
    maxPending: 2,
    memory,
    version: () => state.version,
    now: () => state.now,
  });
  return { counters, responder, memory, state };
}

function bytesFor(type: string, qclass = 1, name = 'example.org', flags = 0x100): Buffer {
  const bytes = encode({ type: 'query', id: 9, flags, questions: [{ type: type as RecordType, name }] });
  bytes.writeUInt16BE(qclass, bytes.length - 2);
  return bytes;
}

function rcodeOf(bytes: Buffer): number | undefined {
  const answer = setUp().responder.respond(bytes, 'udp');
  assert.ok(!(answer instanceof Promise));
  return answer === undefined ? undefined : (answer[3] ?? 0) & 15;
}

test('other classes are refused, and so are transfers and transaction types', () => {
  assert.equal(rcodeOf(bytesFor('A')), 0);
  for (const qclass of [0, 2, 3, 4, 254, 255])
    assert.equal(rcodeOf(bytesFor('A', qclass)), 5, `class ${qclass}`);
  for (const type of ['AXFR', 'IXFR', 'TKEY', 'TSIG']) assert.equal(rcodeOf(bytesFor(type)), 5, type);
  assert.equal(rcodeOf(bytesFor('OPT')), 1);
});

test('version.bind in class chaos says the name of the program', () => {
  const answer = setUp().responder.respond(bytesFor('TXT', 3, 'VERSION.bind'), 'udp');
  assert.ok(Buffer.isBuffer(answer));
  const record = decode(answer).answers?.[0];
  assert.equal(record?.type === 'TXT' ? String(record.data) : '', 'edge');
});

test('an EDNS version from the future is BADVERS', () => {
  const bytes = Buffer.concat([bytesFor('A'), Buffer.from('0000291000000100000000', 'hex')]);
  bytes[11] = 1;
  const answer = setUp().responder.respond(bytes, 'udp');
  assert.ok(Buffer.isBuffer(answer));
  const opt = decode(answer).additionals?.[0] as { extendedRcode?: number; ednsVersion?: number };
  assert.deepEqual([(answer[3] ?? 0) & 15, opt.extendedRcode, opt.ednsVersion], [0, 1, 0]);
});

test('responses are never answered', () => {
  const { responder, counters } = setUp();
  const bytes = bytesFor('A');
  bytes[2] = 0x81;
  assert.equal(responder.respond(bytes, 'udp'), undefined);
  assert.equal(counters.dropped, 1);
});

test('a handler that throws or rejects becomes SERVFAIL', async () => {
  for (const handler of [
    () => {
      throw new Error('broken');
    },
    () => Promise.reject(new Error('broken')),
  ] satisfies Handler[]) {
    const { responder, counters } = setUp(handler);
    const answer = await responder.respond(bytesFor('A'), 'tcp');
    assert.equal((answer?.[3] ?? 0) & 15, 2);
    assert.equal(counters.internalErrors, 1);
    assert.equal(responder.pending, 0);
  }
});

test('more waiting queries than the limit are SERVFAIL at once', async () => {
  let finish: (reply: Reply) => void = () => {};
  const wait = new Promise<Reply>((resolve) => {
    finish = resolve;
  });
  const { responder, counters } = setUp(() => wait);
  const waiting = [responder.respond(bytesFor('A'), 'udp'), responder.respond(bytesFor('A'), 'udp')];
  assert.equal(responder.pending, 2);
  const third = responder.respond(bytesFor('A'), 'udp');
  assert.ok(Buffer.isBuffer(third));
  assert.equal((third[3] ?? 0) & 15, 2);
  assert.equal(counters.overflows, 1);
  finish(emptyReply('forward', 0));
  for (const answer of waiting) assert.equal(((await answer)?.[3] ?? 0) & 15, 0);
  assert.equal(responder.pending, 0);
});

test('every answer is counted by transport, type, rcode and handler', () => {
  const { responder, counters } = setUp();
  const answers: (DecodedPacket | undefined)[] = [];
  for (const transport of ['udp', 'udp', 'tcp'] as const) {
    const answer = responder.respond(bytesFor('SRV'), transport);
    if (Buffer.isBuffer(answer)) answers.push(decode(answer));
  }
  void responder.respond(bytesFor('NAPTR'), 'udp');
  void responder.respond(bytesFor('A', 4), 'tcp');
  assert.equal(answers.length, 3);
  const lines = (counts: readonly QueryCount[]): string[] =>
    counts
      .map(
        ({ transport, type, rcode, handler, count }) => `${transport} ${type} ${rcode} ${handler} ${count}`,
      )
      .toSorted((a, b) => a.localeCompare(b));
  assert.deepEqual(lines(counters.queries()), [
    'tcp A REFUSED protocol 1',
    'tcp SRV NOERROR zone 1',
    'udp other NOERROR zone 1',
    'udp SRV NOERROR zone 2',
  ]);
});

describe('a question asked again in the same words', () => {
  const reply: Reply = { ...emptyReply('zone', 0), sameUntil: Number.POSITIVE_INFINITY };

  function counting(make: () => Reply) {
    const asked: string[] = [];
    const world = setUp((query) => {
      asked.push(query.name);
      return make();
    });
    const ask = (bytes: Buffer, transport: 'udp' | 'tcp' = 'udp'): void => {
      void world.responder.respond(bytes, transport);
    };
    return { ...world, asked, ask };
  }

  test('is answered without asking, and counted as before', () => {
    const { responder, asked, counters } = counting(() => reply);
    const first = responder.respond(bytesFor('A'), 'udp');
    const again = bytesFor('A');
    again.writeUInt16BE(0x4711, 0);
    const second = responder.respond(again, 'udp');
    assert.ok(Buffer.isBuffer(first) && Buffer.isBuffer(second));
    assert.equal(second.readUInt16BE(0), 0x4711);
    assert.deepEqual(second.subarray(2), first.subarray(2));
    assert.equal(asked.length, 1);
    assert.equal(counters.queries()[0]?.count, 2);
    assert.equal(counters.cacheHits, 0);
  });

  test('is looked at again when the zone has changed', () => {
    const { ask, asked, state } = counting(() => reply);
    ask(bytesFor('A'));
    state.version += 1;
    ask(bytesFor('A'));
    assert.equal(asked.length, 2);
  });

  test('is looked at again when a TTL has changed, and counts as a hit of the cache until then', () => {
    const { ask, asked, state, counters } = counting(() => ({
      ...emptyReply('cache', 0),
      sameUntil: 1000,
    }));
    ask(bytesFor('A'));
    state.now = 999;
    ask(bytesFor('A'));
    assert.deepEqual([asked.length, counters.cacheHits], [1, 1]);
    state.now = 1000;
    ask(bytesFor('A'));
    assert.equal(asked.length, 2);
  });

  test('in a spelling of its own, with an option, over TCP, or without a promise from the answer is not kept', () => {
    const odd: [Buffer, 'udp' | 'tcp', Reply][] = [
      [bytesFor('A', 1, 'exAmple.org'), 'udp', reply],
      [Buffer.concat([bytesFor('A'), Buffer.from('behind')]), 'udp', reply],
      [bytesFor('A'), 'tcp', reply],
      [bytesFor('A'), 'udp', emptyReply('forward', 0)],
    ];
    for (const [bytes, transport, answer] of odd) {
      const { ask, asked, memory } = counting(() => answer);
      for (let round = 0; round < 2; round += 1) ask(bytes, transport);
      assert.deepEqual([asked.length, memory.size], [2, 0]);
    }
  });
});
