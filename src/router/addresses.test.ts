/** A Router advertises addresses that others can dial. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkInterfaceInfo } from 'node:os';
import { checkAdvertised, routerAddresses } from './addresses.ts';

function entry(address: string, internal = false): NetworkInterfaceInfo {
  return { address, internal, family: 'IPv4', netmask: '255.0.0.0', mac: '', cidr: null };
}

const base = { advertised: [], bindAddr: '0.0.0.0', socketPath: undefined, interfaces: {} };

test('addresses and names are told apart, doubles go', () => {
  assert.deepEqual(
    routerAddresses({ ...base, advertised: ['192.0.2.1', 'edge.example.org', '192.0.2.1', '2001:db8::1'] }),
    [
      { type: 'InternalIP', address: '192.0.2.1' },
      { type: 'Hostname', address: 'edge.example.org' },
      { type: 'InternalIP', address: '2001:db8::1' },
    ],
  );
});

test('the first address of the machine that is not loopback is the default', () => {
  const interfaces = { lo: [entry('127.0.0.1', true)], eth0: [entry('192.0.2.5')] };
  assert.deepEqual(routerAddresses({ ...base, interfaces }), [{ type: 'InternalIP', address: '192.0.2.5' }]);
  assert.deepEqual(routerAddresses(base), [{ type: 'InternalIP', address: '127.0.0.1' }]);
});

test('a server bound to one address advertises that one', () => {
  const interfaces = { eth0: [entry('192.0.2.5')] };
  assert.deepEqual(
    routerAddresses({ ...base, bindAddr: '127.0.0.1', interfaces, socketPath: '/run/edge/router.sock' }),
    [
      { type: 'InternalIP', address: '127.0.0.1' },
      { type: 'Socket', address: '/run/edge/router.sock' },
    ],
  );
});

test('texts that nobody can dial are refused', () => {
  for (const address of [
    '',
    '0.0.0.0',
    '::',
    '10.0.0.256',
    '10.0',
    'a b',
    'host:7000',
    '-x',
    'http://host',
  ]) {
    assert.throws(() => checkAdvertised(address, '--advertise-address'), { code: 'EDGE_ERR_USAGE' }, address);
  }
  for (const address of ['192.0.2.1', '2001:db8::1', 'edge-1', 'edge.example.org'])
    checkAdvertised(address, 'x');
});
