/** The message format, checked against bytes written by hand and against dns-packet as the oracle. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import {
  emptyReply,
  encodeHeaderOnly,
  encodeReply,
  encodeUpstreamQuery,
  parseQuery,
  questionKey,
  RCODE,
  skipName,
  TCP_MESSAGE_BYTES,
  TYPE,
  udpLimit,
} from './wire.ts';
import type { Query, Reply } from './wire.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/gu, ''), 'hex');
const QUESTION = '05 6d797371 6c 03 737663 00 0001 0001'; // mysql.svc A IN
const PLAIN = hex(`1234 0100 0001 0000 0000 0000 ${QUESTION}`);
const WITH_OPT = hex(`1234 0110 0001 0000 0000 0001 ${QUESTION} 00 0029 1000 00 00 8000 0000`);
const A_RECORD = hex('c00c 0001 0001 00000005 0004 7f004201');
const A_REPLY: Reply = { ...emptyReply('zone', 0), isAuthoritative: true, answers: 1, body: A_RECORD };

function read(bytes: Buffer): Query {
  const query = parseQuery(bytes);
  assert.ok(typeof query === 'object');
  return query;
}

describe('parseQuery', () => {
  test('reads a plain query', () => {
    const query = read(PLAIN);
    assert.equal(query.name, '\u0005mysql\u0003svc\0');
    assert.deepEqual([query.type, query.qclass, query.questionEnd, query.edns], [1, 1, 27, undefined]);
  });

  test('reads size, version and DO from an OPT record', () => {
    assert.deepEqual(read(WITH_OPT).edns, { payloadBytes: 4096, version: 0, isDnssecOk: true });
  });

  test('folds ASCII letters of the name and nothing else', () => {
    const upper = hex('1234 0100 0001 0000 0000 0000 05 4d795351 4c 03 53c956 00 0001 0001');
    assert.equal(read(upper).name, '\u0005mysql\u0003s\u00C9v\0');
  });

  test('drops what is shorter than a header and every response', () => {
    for (let length = 0; length < 12; length += 1)
      assert.equal(parseQuery(PLAIN.subarray(0, length)), undefined);
    const response = Buffer.from(PLAIN);
    response.writeUInt16BE(0x8100, 2);
    assert.equal(parseQuery(response), undefined);
  });

  test('answers FORMERR to every truncation behind the header', () => {
    for (const whole of [PLAIN, WITH_OPT]) {
      for (let length = 12; length < whole.length; length += 1) {
        assert.equal(parseQuery(whole.subarray(0, length)), RCODE.FORMERR, `cut at ${length}`);
      }
    }
  });

  const malformed: Record<string, string> = {
    'no question': '1234 0100 0000 0000 0000 0000',
    'two questions': `1234 0100 0002 0000 0000 0000 ${QUESTION} ${QUESTION}`,
    'a pointer in the question': '1234 0100 0001 0000 0000 0000 c00c 0001 0001',
    'a reserved label type': '1234 0100 0001 0000 0000 0000 41 61 00 0001 0001',
    'a name of 256 bytes': `1234 0100 0001 0000 0000 0000 ${`3f${'61'.repeat(63)}`.repeat(4)}00 0001 0001`,
    'two OPT records': `1234 0100 0001 0000 0000 0002 ${QUESTION} ${'00 0029 1000 00000000 0000'.repeat(2)}`,
    'an OPT record that has a name': `1234 0100 0001 0000 0000 0001 ${QUESTION} 0161 00 0029 1000 00000000 0000`,
    'an OPT record among the answers': `1234 0100 0001 0001 0000 0000 ${QUESTION} 00 0029 1000 00000000 0000`,
    'an option longer than its record': `1234 0100 0001 0000 0000 0001 ${QUESTION} 00 0029 1000 00000000 0004 000a 0008`,
  };
  for (const [what, bytes] of Object.entries(malformed)) {
    test(`answers FORMERR to ${what}`, () => assert.equal(parseQuery(hex(bytes)), RCODE.FORMERR));
  }

  test('takes the longest name there is, 255 bytes', () => {
    const name = `${`3f${'61'.repeat(63)}`.repeat(3)}3d${'61'.repeat(61)}00`;
    assert.equal(read(hex(`1234 0100 0001 0000 0000 0000 ${name} 0001 0001`)).name.length, 255);
  });

  test('answers NOTIMP to other opcodes and leaves them in the header', () => {
    const notify = hex(`1234 2000 0001 0000 0000 0000 ${QUESTION}`);
    assert.equal(parseQuery(notify), RCODE.NOTIMP);
    assert.deepEqual(encodeHeaderOnly(notify, RCODE.NOTIMP), hex('1234 a084 0000 0000 0000 0000'));
  });

  test('agrees with dns-packet', () => {
    const bytes = encode({
      type: 'query',
      id: 7,
      flags: 0x100,
      questions: [{ type: 'SRV', name: '_sql._tcp.mysql.default' }],
      additionals: [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: 1400,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ],
    });
    const query = read(bytes);
    assert.equal(query.name, '\u0004_sql\u0004_tcp\u0005mysql\u0007default\0');
    assert.equal(query.type, TYPE.SRV);
    assert.equal(query.edns?.payloadBytes, 1400);
  });
});

describe('encodeReply', () => {
  test('writes the golden answer', () => {
    const expected = hex(`1234 8580 0001 0001 0000 0000 ${QUESTION} c00c 0001 0001 00000005 0004 7f004201`);
    assert.deepEqual(encodeReply(read(PLAIN), A_REPLY, 512), expected);
  });

  test('gives the question back in the spelling of the client', () => {
    const mixed = hex('1234 0100 0001 0000 0000 0000 05 4d795371 4c 03 735643 00 0001 0001');
    const answer = decode(encodeReply(read(mixed), A_REPLY, 512));
    assert.equal(answer.questions?.[0]?.name, 'MySqL.sVC');
    assert.equal(answer.answers?.[0]?.name, 'MySqL.sVC');
  });

  test('returns an OPT record with our size and the DO bit to clients that sent one', () => {
    const bytes = encodeReply(read(WITH_OPT), A_REPLY, 1232);
    assert.deepEqual(bytes.subarray(-11), hex('00 0029 04d0 00 00 8000 0000'));
    assert.equal(bytes.readUInt16BE(10), 1);
    assert.equal(bytes.readUInt16BE(2) & 0x10, 0x10, 'CD is copied');
  });

  test('carries an extended error only to clients that speak EDNS', () => {
    const failure = emptyReply('zone', RCODE.SERVFAIL, 14);
    assert.deepEqual(encodeReply(read(WITH_OPT), failure, 1232).subarray(-8), hex('0006 000f 0002 000e'));
    assert.equal(encodeReply(read(PLAIN), failure, 512).length, PLAIN.length);
  });

  test('splits BADVERS between the header and the OPT record', () => {
    const bytes = encodeReply(read(WITH_OPT), emptyReply('protocol', RCODE.BADVERS), 1232);
    assert.equal((bytes[3] ?? 0) & 15, 0);
    assert.equal(bytes[bytes.length - 6], 1);
  });

  test('sets TC and sends no record when one byte does not fit', () => {
    const size = PLAIN.length + A_RECORD.length;
    assert.equal(encodeReply(read(PLAIN), A_REPLY, size).length, size);
    const bytes = encodeReply(read(PLAIN), A_REPLY, size - 1);
    assert.deepEqual(bytes, hex(`1234 8780 0001 0000 0000 0000 ${QUESTION}`));
  });

  test('copies long bodies whole', () => {
    const body = Buffer.concat(Array.from({ length: 40 }, () => A_RECORD));
    const bytes = encodeReply(read(PLAIN), { ...A_REPLY, answers: 40, body }, TCP_MESSAGE_BYTES);
    assert.equal(decode(bytes).answers?.length, 40);
  });
});

test('the UDP limit is 512 without EDNS and between 512 and 1232 with it', () => {
  const sized = (bytes: number): number => {
    const query = Buffer.from(WITH_OPT);
    query.writeUInt16BE(bytes, 30);
    return udpLimit(read(query));
  };
  assert.equal(udpLimit(read(PLAIN)), 512);
  assert.deepEqual([0, 511, 512, 800, 1232, 1233, 65_535].map(sized), [512, 512, 512, 800, 1232, 1232, 1232]);
});

test('an upstream query keeps question, RD, CD and DO and drops the rest', () => {
  const withCookie = hex(
    `1234 0130 0001 0000 0000 0001 ${QUESTION} 00 0029 1000 00 00 8000 000c 000a 0008 0102030405060708`,
  );
  const expected = hex(`abcd 0110 0001 0000 0000 0001 ${QUESTION} 00 0029 04d0 00 00 8000 0000`);
  assert.deepEqual(encodeUpstreamQuery(read(withCookie), 0xabcd, true), expected);
  assert.deepEqual(
    encodeUpstreamQuery(read(withCookie), 1, false),
    hex(`0001 0110 0001 0000 0000 0000 ${QUESTION}`),
  );
});

test('skipName follows no pointer forward, to itself or into the header', () => {
  const at = (name: string): number => skipName(Buffer.concat([Buffer.alloc(12), hex(name)]), 12);
  assert.equal(at('0161 00'), 15);
  for (const bad of ['c00c', 'c00d', 'c000', 'c0', '0161 c00c', '40', '05 61'])
    assert.equal(at(bad), -1, bad);
  assert.equal(skipName(Buffer.concat([Buffer.alloc(12), hex('0161 00 c00c')]), 15), 17);
});

test('questions differ by type, DO, CD and RD but not by case or size', () => {
  const key = (change: (bytes: Buffer) => void): string => {
    const bytes = Buffer.from(WITH_OPT);
    change(bytes);
    return questionKey(read(bytes));
  };
  const base = key(() => {});
  assert.equal(
    key((bytes) => bytes.write('M', 13)),
    base,
  );
  assert.equal(
    key((bytes) => bytes.writeUInt16BE(600, 30)),
    base,
  );
  assert.notEqual(
    key((bytes) => bytes.writeUInt16BE(28, 23)),
    base,
  );
  assert.notEqual(
    key((bytes) => bytes.writeUInt16BE(0, 34)),
    base,
  );
  assert.notEqual(
    key((bytes) => bytes.writeUInt16BE(0x0100, 2)),
    base,
  );
  assert.notEqual(
    key((bytes) => bytes.writeUInt16BE(0x0010, 2)),
    base,
  );
});
