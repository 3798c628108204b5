/** Unit tests of the maintenance service: ids, host keys, and the service they make. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { createMaintenanceHost, maintenanceExport } from './node-sshd.ts';
import type { MaintenanceHost } from './node-sshd.ts';

const HOST: MaintenanceHost = {
  hostKeys: () => [
    { path: '/etc/ssh/ssh_host_ed25519_key.pub', text: 'ssh-ed25519 AAAAC3Nza root@node-1\n' },
    { path: '/etc/ssh/ssh_host_rsa_key.pub', text: 'not a key\n' },
  ],
  macAddresses: () => ['00:16:3e:00:00:01'],
  machineId: () => '0123456789abcdef0123456789abcdef\n',
};
const SETTINGS = { target: '127.0.0.1:22', uniqueId: undefined, hostKeyDir: '/etc/ssh' };

test('the service is named by the id and tells the host keys without their comments', () => {
  const { service, files } = maintenanceExport({ ...SETTINGS, uniqueId: 'abc' }, HOST, 'node-1');
  assert.deepEqual(service, {
    name: 'ssh-abc',
    namespace: 'maintenance',
    port: 22,
    protocol: 'TCP',
    target: { host: '127.0.0.1', port: 22 },
    metas: { type: 'ssh', uniqueId: 'abc', hostKeys: 'ssh-ed25519 AAAAC3Nza' },
  });
  assert.deepEqual(files, ['/etc/ssh/ssh_host_ed25519_key.pub', '/etc/ssh/ssh_host_rsa_key.pub']);
});

test('a made id depends on the hardware address, else the machine id, else the node', () => {
  const idOf = (host: Partial<MaintenanceHost>, node = 'node-1'): string =>
    maintenanceExport(SETTINGS, { ...HOST, ...host }, node).uniqueId;
  const none = { macAddresses: () => [] };
  const bare = { ...none, machineId: () => undefined };
  assert.match(idOf({}), /^[0-9a-f]{16}$/u);
  assert.equal(idOf({}), idOf({ machineId: () => 'other' }, 'node-2'));
  assert.equal(idOf(none), idOf(none, 'node-2'));
  assert.equal(new Set([idOf({}), idOf(none), idOf(bare), idOf(bare, 'node-2')]).size, 4);
});

test('an id that is no label, or too long for one, and a target without a port are refused', () => {
  const usage = { code: 'EDGE_ERR_USAGE' };
  for (const uniqueId of ['', 'A', 'a.b', 'a'.repeat(60)])
    assert.throws(() => maintenanceExport({ ...SETTINGS, uniqueId }, HOST, 'n'), usage, uniqueId);
  assert.throws(() => maintenanceExport({ ...SETTINGS, target: 'localhost' }, HOST, 'n'), usage);
});

test('only permanent hardware addresses count, and only public host keys are read', (t) => {
  const dir = tempDir(t);
  const face = (name: string, address: string, type: string): void => {
    mkdirSync(join(dir, name));
    writeFileSync(join(dir, name, 'address'), `${address}\n`);
    writeFileSync(join(dir, name, 'addr_assign_type'), `${type}\n`);
  };
  face('lo', '00:00:00:00:00:00', '0');
  face('br0', '02:42:00:00:00:01', '3');
  face('eth1', '00:16:3e:00:00:02', '0');
  face('eth0', '00:16:3e:00:00:01', '0');
  writeFileSync(join(dir, 'ssh_host_rsa_key.pub'), 'ssh-rsa AAAA\n');
  writeFileSync(join(dir, 'ssh_host_rsa_key'), 'private\n');
  const host = createMaintenanceHost(dir);
  assert.deepEqual(host.macAddresses(), ['00:16:3e:00:00:01', '00:16:3e:00:00:02']);
  assert.deepEqual(host.hostKeys(dir), [{ path: join(dir, 'ssh_host_rsa_key.pub'), text: 'ssh-rsa AAAA\n' }]);
  assert.deepEqual(createMaintenanceHost(join(dir, 'absent')).macAddresses(), []);
  assert.deepEqual(host.hostKeys(join(dir, 'absent')), []);
});
