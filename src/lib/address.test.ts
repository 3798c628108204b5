/** Tests of network addresses as people write them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatHostPort, ipv4ToNumber, isLoopbackHost, numberToIpv4, parseHostPort } from './address.ts';

test('parses host and port; a missing host becomes the default', () => {
  assert.deepEqual(parseHostPort('127.0.0.1:7443', 'x'), { host: '127.0.0.1', port: 7443 });
  assert.deepEqual(parseHostPort('node.example.org:1', 'x'), { host: 'node.example.org', port: 1 });
  assert.deepEqual(parseHostPort(':7000', 'x'), { host: '127.0.0.1', port: 7000 });
  assert.deepEqual(parseHostPort(':7000', 'x', '0.0.0.0'), { host: '0.0.0.0', port: 7000 });
  assert.deepEqual(parseHostPort('[::1]:0', 'x'), { host: '::1', port: 0 });
});

test('refuses what is not an address and names its source', () => {
  for (const text of ['', '7443', 'host', 'host:', 'host:65536', 'host:-1', '::1:80', '[::1]', 'a:b']) {
    assert.throws(() => parseHostPort(text, '--listen'), {
      code: 'EDGE_ERR_USAGE',
      message: `--listen: "${text}" is not an address of the form HOST:PORT`,
    });
  }
});

test('formats so that parsing gives the same back', () => {
  for (const { host, port } of [
    { host: '192.0.2.1', port: 80 },
    { host: '2001:db8::1', port: 443 },
    { host: 'example.org', port: 0 },
  ]) {
    assert.deepEqual(parseHostPort(formatHostPort(host, port), 'x'), { host, port });
  }
});

test('loopback is 127.0.0.0/8, ::1 and localhost, and no name that merely looks like it', () => {
  for (const host of ['127.0.0.1', '127.255.0.9', '::1', 'localhost'])
    assert.equal(isLoopbackHost(host), true, host);
  for (const host of ['127.example.org', '128.0.0.1', '0.0.0.0', '::', '10.0.0.1', '127.0.0']) {
    assert.equal(isLoopbackHost(host), false, host);
  }
});

test('IPv4 addresses turn into numbers and back over the whole range', () => {
  const cases: [string, number][] = [
    ['0.0.0.0', 0],
    ['127.0.66.1', 2_130_723_329],
    ['255.255.255.255', 4_294_967_295],
  ];
  for (const [text, value] of cases) {
    assert.equal(ipv4ToNumber(text), value);
    assert.equal(numberToIpv4(value), text);
  }
  for (const text of ['', '1.2.3', '256.0.0.1', '::1', '1.2.3.4.5']) {
    assert.throws(() => ipv4ToNumber(text), { code: 'EDGE_ERR_USAGE' }, text);
  }
});
