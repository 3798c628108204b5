/** Unit tests of known_hosts files: OpenSSH's patterns and hashes, and lines that are added. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { matchesHost, openKnownHosts, parseKnownHosts } from './known-hosts.ts';

test('lines are read with their markers, and what is no line is passed over', () => {
  const text = '# comment\n\nnode-1 ssh-ed25519 AAAA root@x\n@revoked * ssh-rsa BBBB\nnonsense\n';
  assert.deepEqual(parseKnownHosts(text), [
    { line: 3, marker: undefined, hosts: 'node-1', type: 'ssh-ed25519', key: 'AAAA' },
    { line: 4, marker: 'revoked', hosts: '*', type: 'ssh-rsa', key: 'BBBB' },
  ]);
});

test('names match by pattern, negation and hash', () => {
  assert.equal(matchesHost('node-1', 'NODE-1'), true);
  assert.equal(matchesHost('node-1', 'node-12'), false);
  assert.equal(matchesHost('node.1', 'nodeX1'), false);
  assert.equal(matchesHost('other,node-?', 'node-7'), true);
  assert.equal(matchesHost('node-*,!node-7', 'node-7'), false);
  assert.equal(matchesHost('[node-7]:2222', 'node-7'), false);
  // a line that OpenSSH made
  const hashed = '|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=';
  assert.equal(matchesHost(hashed, '192.168.1.61'), true);
  assert.equal(matchesHost(hashed, '192.168.1.62'), false);
  assert.equal(matchesHost('|1|bad|bad', 'node-7'), false);
});

test('an added line is found, survives, and is for its owner only', async (t) => {
  const path = join(tempDir(t), 'state', 'known_hosts');
  const file = await openKnownHosts(path);
  assert.deepEqual(file.find('node-1'), []);
  await Promise.all([file.add('node-1', 'ssh-ed25519 AAAA'), file.add('node-2', 'ssh-ed25519 BBBB')]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(
    file.find('node-2').map(({ line, key }) => ({ line, key })),
    [{ line: 2, key: 'BBBB' }],
  );
  assert.deepEqual((await openKnownHosts(path)).find('node-2'), file.find('node-2'));
});

test('a file whose last line has no end gets one', async (t) => {
  const path = join(tempDir(t), 'known_hosts');
  writeFileSync(path, 'node-1 ssh-ed25519 AAAA');
  const file = await openKnownHosts(path);
  await file.add('node-2', 'ssh-ed25519 BBBB');
  assert.equal(readFileSync(path, 'utf8'), 'node-1 ssh-ed25519 AAAA\nnode-2 ssh-ed25519 BBBB\n');
  assert.equal(file.find('node-2')[0]?.line, 2);
});
