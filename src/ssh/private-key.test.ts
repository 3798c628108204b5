import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sshString } from './agent.ts';
import { makePrivateKey, readPrivateKey } from './private-key.ts';

test('every key that is made can be used', () => {
  const shown = new Set<string>();
  for (let count = 0; count < 1000; count++) {
    const { key, publicKey } = makePrivateKey();
    assert.equal(key.type, 'ssh-ed25519');
    shown.add(publicKey);
  }
  assert.equal(shown.size, 1000);
});

test('the key of a hardware token is told from a file that is none, with what to do', () => {
  const type = Buffer.from('sk-ssh-ed25519@openssh.com');
  const content = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...['none', 'none', ''].map((text) => sshString(Buffer.from(text))),
    Buffer.of(0, 0, 0, 1),
    sshString(Buffer.concat([type, Buffer.alloc(32), Buffer.from('ssh:')].map(sshString))),
  ]);
  const lines = ['-----BEGIN OPENSSH PRIVATE KEY-----', content.toString('base64'), ''];
  const text = `${lines.join('\n')}-----END OPENSSH PRIVATE KEY-----\n`;
  assert.throws(() => readPrivateKey(text, 'id_ed25519_sk'), {
    code: 'EDGE_ERR_SSH_KEY',
    message: 'id_ed25519_sk: the key of a hardware token signs through an ssh-agent only',
    hint: /ssh-add.*ssh-proxy/u,
  });
  const cut = text.replace(content.toString('base64'), content.subarray(0, 30).toString('base64'));
  assert.throws(() => readPrivateKey(cut, 'cut'), {
    code: 'EDGE_ERR_SSH_KEY',
    message: /^cut: not a private key/u,
  });
});
