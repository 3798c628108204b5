import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePrivateKey } from './private-key.ts';

test('every key that is made can be used', () => {
  const shown = new Set<string>();
  for (let count = 0; count < 1000; count++) {
    const { key, publicKey } = makePrivateKey();
    assert.equal(key.type, 'ssh-ed25519');
    shown.add(publicKey);
  }
  assert.equal(shown.size, 1000);
});
