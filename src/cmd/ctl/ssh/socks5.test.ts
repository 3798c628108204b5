/** Unit tests of SOCKS 5: requests by hand, at every split point, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SocksHandshake } from './socks5.ts';
import type { SocksStep } from './socks5.ts';

const GREETING = [5, 1, 0];
const TO_DOMAIN = [5, 1, 0, 3, 2, 0x64, 0x62, 0x15, 0x38];

function feed(...chunks: Buffer[]): SocksStep {
  const handshake = new SocksHandshake();
  const steps = chunks.flatMap((chunk) => handshake.feed(chunk));
  return Object.assign({}, ...steps) as SocksStep;
}

test('a request is understood wherever it is split, and what follows is kept', () => {
  const bytes = Buffer.from([...GREETING, ...TO_DOMAIN, 1, 2]);
  for (let at = 0; at <= bytes.length - 2; at++) {
    const { target, rest, reply } = feed(bytes.subarray(0, at), bytes.subarray(at));
    assert.deepEqual(target, { host: 'db', port: 5432 });
    assert.deepEqual([...(rest ?? [])], [1, 2]);
    assert.deepEqual([...(reply ?? [])], [5, 0]);
  }
  for (let end = 0; end < bytes.length - 2; end++)
    assert.equal(feed(bytes.subarray(0, end)).target, undefined);
});

test('addresses of all three kinds', () => {
  const toIpv4 = Buffer.from([...GREETING, 5, 1, 0, 1, 10, 0, 0, 7, 0, 80]);
  assert.deepEqual(feed(toIpv4).target, { host: '10.0.0.7', port: 80 });
  const ipv6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
  assert.deepEqual(feed(Buffer.from([...GREETING, 5, 1, 0, 4, ...ipv6, 0, 80])).target, {
    host: 'fd00:0:0:0:0:0:0:7',
    port: 80,
  });
});

test('other versions, methods, commands and addresses are refused with their code', () => {
  assert.deepEqual(feed(Buffer.from([4, 1])), { isRefused: true });
  assert.deepEqual([...(feed(Buffer.from([5, 1, 2])).reply ?? [])], [5, 0xff]);
  assert.equal(feed(Buffer.from([...GREETING, 5, 2, 0, 1])).reply?.[1], 7);
  assert.equal(feed(Buffer.from([...GREETING, 5, 1, 0, 9])).reply?.[1], 8);
});
