/** The reserved names, and those that only look like them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { emptyReply, encodeReply, parseQuery, RCODE } from '../wire.ts';
import { createReservedHandler } from './reserved.ts';
import type { Answer, RecordType } from 'dns-packet';

/** Rcode and records of the answer; undefined when the name is passed on. */
function ask(
  name: string,
  type: RecordType,
): { rcode: number; answers: Answer[]; soa: string[] } | undefined {
  const query = parseQuery(encode({ type: 'query', id: 1, questions: [{ type, name }] }));
  assert.ok(typeof query === 'object');
  const passedOn = emptyReply('forward', 0);
  const reply = createReservedHandler()(query, () => passedOn);
  if (reply === passedOn) return undefined;
  assert.ok(!(reply instanceof Promise));
  const { answers = [], authorities = [] } = decode(encodeReply(query, reply, 512));
  return { rcode: reply.rcode, answers, soa: authorities.map((record) => record.name) };
}

test('localhost and all below it is this machine, in both families', () => {
  for (const name of ['localhost', 'LocalHost', 'db.localhost']) {
    const data = (type: RecordType) =>
      ask(name, type)?.answers.map((record) => 'data' in record && record.data);
    assert.deepEqual([data('A'), data('AAAA')], [['127.0.0.1'], ['::1']], name);
    assert.deepEqual(ask(name, 'MX')?.answers, []);
  }
  assert.deepEqual(ask('db.localhost', 'MX')?.soa, ['localhost']);
});

test('invalid does not exist', () => {
  for (const name of ['invalid', 'a.b.invalid']) {
    const answer = ask(name, 'A');
    assert.deepEqual([answer?.rcode, answer?.soa], [RCODE.NXDOMAIN, ['invalid']], name);
  }
});

test('other names are passed on', () => {
  for (const name of ['.', 'localhost.example', 'xlocalhost', 'invalid.org', 'test'])
    assert.equal(ask(name, 'A'), undefined, name);
});
