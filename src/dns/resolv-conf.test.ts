/** resolv.conf as found in the wild. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseResolvConf, withoutOwn } from './resolv-conf.ts';

test('reads what the kubelet writes', () => {
  const text =
    'search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 192.0.2.10\noptions ndots:5\n';
  assert.deepEqual(parseResolvConf(text), {
    nameservers: [{ host: '192.0.2.10', port: 53 }],
    search: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
    options: ['ndots:5'],
  });
});

test('skips comments, unknown lines, bad addresses and repeated servers', () => {
  const text = [
    '# nameserver 192.0.2.1',
    ';nameserver 192.0.2.2',
    'nameserver 192.0.2.3 # the good one',
    'nameserver\t2001:db8::1\r',
    'nameserver 192.0.2.3',
    'nameserver dns.example.org',
    'nameserver',
    'sortlist 192.0.2.0',
    '',
  ].join('\n');
  assert.deepEqual(
    parseResolvConf(text).nameservers.map(({ host }) => host),
    ['192.0.2.3', '2001:db8::1'],
  );
});

test('takes the last search or domain line, lower case, without final dots', () => {
  assert.deepEqual(parseResolvConf('search a.example\ndomain EXAMPLE.org.').search, ['example.org']);
  assert.deepEqual(parseResolvConf('domain b.example\nsearch .').search, []);
});

test('keeps every option, also over several lines', () => {
  assert.deepEqual(parseResolvConf('options ndots:2 rotate\noptions edns0').options, [
    'ndots:2',
    'rotate',
    'edns0',
  ]);
});

test('says nothing about an empty file', () => {
  assert.deepEqual(parseResolvConf(''), { nameservers: [], search: [], options: [] });
});

test('leaves out our own address, not another one or another port', () => {
  const text = 'nameserver 127.0.0.2\nnameserver 127.0.0.53';
  const hosts = parseResolvConf(text, [{ host: '127.0.0.2', port: 53 }]).nameservers.map(({ host }) => host);
  assert.deepEqual(hosts, ['127.0.0.53']);
  assert.equal(parseResolvConf(text, [{ host: '127.0.0.2', port: 5353 }]).nameservers.length, 2);
});

test('a wildcard listener owns the loopback addresses of its family', () => {
  const asked = ['127.0.0.53', '0.0.0.0', '::1', '192.0.2.1'].map((host) => ({ host, port: 53 }));
  const left = (host: string): string[] =>
    withoutOwn(asked, [{ host, port: 53 }]).map((address) => address.host);
  assert.deepEqual(left('0.0.0.0'), ['::1', '192.0.2.1']);
  assert.deepEqual(left('::'), ['127.0.0.53', '0.0.0.0', '192.0.2.1']);
  assert.deepEqual(left('127.0.0.1'), ['127.0.0.53', '::1', '192.0.2.1']);
});
