/** Unit tests of host keys: what is trusted, in which order, and what the refusal says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHostKey, hostKeyAlgorithms } from './host-key.ts';
import type { HostKeyPolicy } from './host-key.ts';
import { parseKnownHosts } from './known-hosts.ts';
import type { KnownHosts } from './known-hosts.ts';

function blobOf(letter: string): Buffer {
  const type = 'ssh-ed25519';
  return Buffer.concat([Buffer.from([0, 0, 0, type.length]), Buffer.from(type + letter.repeat(32))]);
}
const lineOf = (letter: string): string => `ssh-ed25519 ${blobOf(letter).toString('base64')}`;

function fileOf(text: string): KnownHosts & { added: string[] } {
  const added: string[] = [];
  return {
    path: '/k',
    added,
    find: () => parseKnownHosts(text),
    add(host, key) {
      added.push(`${host} ${key}`);
      return Promise.resolve();
    },
  };
}

const check = (change: Partial<HostKeyPolicy>): Promise<void> =>
  checkHostKey(blobOf('a'), { node: 'n', told: [], ...change });
const refused = { code: 'EDGE_ERR_SSH_HOST_KEY' };

test('a key that the node told is trusted, another one refused', async () => {
  await check({ told: [lineOf('b'), lineOf('a')] });
  await assert.rejects(check({ told: [lineOf('b')], onUnknown: () => Promise.resolve(true) }), refused);
});

test('the known_hosts file wins over what the node told, both ways', async () => {
  await check({ told: [lineOf('b')], knownHosts: fileOf(`n ${lineOf('a')}`) });
  await assert.rejects(check({ told: [lineOf('a')], knownHosts: fileOf(`x y\nn ${lineOf('b')}`) }), {
    ...refused,
    message: /is not the one of \/k:2$/u,
    hint: /delete line 2 of \/k$/u,
  });
  await assert.rejects(check({ knownHosts: fileOf(`n ${lineOf('a')}\n@revoked * ${lineOf('a')}`) }), {
    ...refused,
    message: /revoked by \/k:2$/u,
  });
});

test('an unknown key is asked about and stored', async () => {
  const knownHosts = fileOf('');
  await check({ knownHosts, onUnknown: () => Promise.resolve(true) });
  assert.deepEqual(knownHosts.added, [`n ${lineOf('a')}`]);
  await assert.rejects(check({ onUnknown: () => Promise.resolve(false) }), refused);
  await assert.rejects(check({}), refused);
});

test('a key that is cut short is refused, not read past its end', async () => {
  await assert.rejects(checkHostKey(Buffer.from([0, 0]), { node: 'n', told: [] }), refused);
});

test('the algorithm of a known key is offered first', () => {
  const [first] = hostKeyAlgorithms({ node: 'n', told: ['ssh-rsa AAAA'] });
  assert.equal(first, 'rsa-sha2-512');
  const pinned = { node: 'n', told: ['ssh-rsa AAAA'], knownHosts: fileOf('n ecdsa-sha2-nistp384 BBBB') };
  assert.equal(hostKeyAlgorithms(pinned)[0], 'ecdsa-sha2-nistp384');
});
