/** The protocol rules in front of every handler, and what happens when a handler fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { silentLogger } from '../lib/log.ts';
import { createChain } from './chain.ts';
import { Counters } from './counters.ts';
import { createResponder } from './responder.ts';
import { emptyReply } from './wire.ts';
import type { DecodedPacket, RecordType } from 'dns-packet';
import type { Handler } from './chain.ts';
import type { QueryCount } from './counters.ts';
import type { Reply } from './wire.ts';

function setUp(handler: Handler = () => emptyReply('zone', 0)) {
  const counters = new Counters();
  const responder = createResponder({
    chain: createChain([handler]),
    counters,
    log: silentLogger,
    maxPending: 2,
  });
  return { counters, responder };
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
