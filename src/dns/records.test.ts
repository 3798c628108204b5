/** Answers of upstreams: what is kept, for how long, and what is malformed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { ageReply, parseUpstreamAnswer, staleReply } from './records.ts';
import type { OptAnswer, Packet } from 'dns-packet';

const QUESTION_END = 12 + 13 + 4; // example.org A
const A = (ttl: number) => ({ type: 'A', name: 'example.org', ttl, data: '192.0.2.1' }) as const;
const SOA = (ttl: number, minimum: number) =>
  ({ type: 'SOA', name: 'org', ttl, data: { mname: 'a.example', rname: 'b.example', minimum } }) as const;
const OPT: OptAnswer = {
  type: 'OPT',
  name: '.',
  udpPayloadSize: 1232,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};

function message(packet: Packet, rcode = 0): Buffer {
  return encode({
    type: 'response',
    flags: 0x180 | rcode,
    questions: [{ type: 'A', name: 'example.org' }],
    ...packet,
  });
}

function secondsOf(packet: Packet, rcode = 0): number | undefined {
  return parseUpstreamAnswer(message(packet, rcode), QUESTION_END)?.freshness?.seconds;
}

describe('how long an answer is believed', () => {
  test('the shortest TTL of its answers', () => assert.equal(secondsOf({ answers: [A(60), A(20)] }), 20));
  test('not at all with a TTL of zero', () => assert.equal(secondsOf({ answers: [A(0)] }), undefined));
  test('not at all with the top bit set', () =>
    assert.equal(secondsOf({ answers: [A(0x8000_0001)] }), undefined));
  test('a day at most', () => assert.equal(secondsOf({ answers: [A(1_000_000)] }), 86_400));
  test('NXDOMAIN as its SOA says, the smaller of TTL and minimum', () => {
    assert.equal(secondsOf({ authorities: [SOA(60, 30)] }, 3), 30);
    assert.equal(secondsOf({ authorities: [SOA(10, 30)] }, 3), 10);
  });
  test('NODATA alike, five minutes at most', () =>
    assert.equal(secondsOf({ authorities: [SOA(9000, 9000)] }), 300));
  test('a denial without SOA not at all', () => assert.equal(secondsOf({}, 3), undefined));
  test('an error not at all', () => assert.equal(secondsOf({ answers: [A(60)] }, 2), undefined));
});

test('the OPT record of the upstream is cut off, other additional records stay', () => {
  const reply = parseUpstreamAnswer(message({ answers: [A(60)], additionals: [A(60), OPT] }), QUESTION_END);
  assert.equal(reply?.additionals, 1);
  assert.equal(reply?.body.length, 2 * (13 + 14));
});

test('an extended rcode or an OPT record in a wrong section is malformed', () => {
  const bytes = message({ additionals: [OPT] });
  bytes[bytes.length - 6] = 1;
  assert.equal(parseUpstreamAnswer(bytes, QUESTION_END), undefined);
  assert.equal(parseUpstreamAnswer(message({ answers: [OPT] }), QUESTION_END), undefined);
});

test('every truncation is malformed', () => {
  const whole = message({ answers: [A(60)], authorities: [SOA(60, 30)] });
  assert.ok(parseUpstreamAnswer(whole, QUESTION_END));
  for (let length = QUESTION_END; length < whole.length; length += 1) {
    assert.equal(parseUpstreamAnswer(whole.subarray(0, length), QUESTION_END), undefined, `cut at ${length}`);
  }
});

test('ageing lowers every TTL, never below one second, and leaves the kept reply alone', () => {
  const bytes = message({ answers: [A(60)], authorities: [SOA(90, 30)], additionals: [A(5)] });
  const reply = parseUpstreamAnswer(bytes, QUESTION_END);
  assert.ok(reply);
  const ttls = (body: Buffer): (number | undefined)[] => {
    const { answers, authorities, additionals } = decode(
      Buffer.concat([bytes.subarray(0, QUESTION_END), body]),
    );
    return [...(answers ?? []), ...(authorities ?? []), ...(additionals ?? [])].map((record) =>
      'ttl' in record ? record.ttl : undefined,
    );
  };
  assert.deepEqual(ttls(ageReply(reply, 10, 0).body), [50, 80, 1]);
  assert.deepEqual(ttls(staleReply(reply, 30, 3).body), [30, 30, 30]);
  assert.deepEqual(ttls(reply.body), [60, 90, 5]);
});
