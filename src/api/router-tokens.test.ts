/** Tests of tokens for Routers: one for all, one each, mistakes without the secret in the message. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTokenFile, tokenFor } from './router-tokens.ts';

test('a file with one line is the token of every Router', () => {
  const tokens = parseTokenFile('s3cret:with-colon\n', 'f');
  assert.equal(tokenFor(tokens, 'node-1'), 's3cret:with-colon');
  assert.equal(tokenFor(parseTokenFile('', 'f'), 'node-1'), '');
});

test('a map gives each Router its token, and * all others', () => {
  const tokens = parseTokenFile('node-1: one\n"*": rest\n', 'f');
  assert.equal(tokenFor(tokens, 'node-1'), 'one');
  assert.equal(tokenFor(tokens, 'node-2'), 'rest');
  assert.equal(tokenFor(parseTokenFile('{node-1: one}', 'f'), 'node-2'), '');
});

test('a map with a value that is no text is refused without showing it', () => {
  assert.throws(
    () => parseTokenFile('node-1: 12345\n', 'f'),
    (err: Error) => err.message.includes('node-1') && !err.message.includes('12345'),
  );
  assert.throws(() => parseTokenFile('a\nb\n', 'f'), { code: 'EDGE_ERR_USAGE' });
});
