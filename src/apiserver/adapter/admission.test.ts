/** Who gets into the adapter: tokens, the machine itself, web pages of its own and of others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthenticator } from '../auth/authenticator.ts';
import { parseTokenFile } from '../auth/tokens.ts';
import { admit } from './admission.ts';
import type { Applicant } from './admission.ts';

const authenticate = createAuthenticator(parseTokenFile('a,ops,,admin\ns,side,,sidecar', 'tokens'));
const NOBODY: Applicant = { authorization: undefined, origin: undefined, host: '127.0.0.1:7480' };

function codeOf(applicant: Partial<Applicant>, isOpen: boolean, origins: string[] = []): number {
  try {
    admit({ ...NOBODY, ...applicant }, ['admin'], { authenticate, isOpen, origins });
    return 200;
  } catch (err) {
    return (err as { httpCode: number }).httpCode;
  }
}

test('where it is open callers of this machine need no token, and a wrong one is refused all the same', () => {
  for (const host of ['127.0.0.1:7480', 'localhost:7480', 'LOCALHOST', '[::1]:7480', undefined])
    assert.equal(codeOf({ host }, true), 200, host);
  assert.equal(codeOf({ host: 'evil.example.org:7480' }, true), 403, 'a name that was pointed here');
  assert.equal(codeOf({ authorization: 'Bearer wrong' }, true), 401);
  const rules = { authenticate, isOpen: true, origins: [] };
  assert.equal(admit(NOBODY, ['admin'], rules).isVerified, false);
  assert.equal(admit({ ...NOBODY, authorization: 'Bearer a' }, ['admin'], rules).isVerified, true);
});

test('elsewhere a token with a role is asked for, whatever the name', () => {
  assert.equal(codeOf({}, false), 401);
  assert.equal(codeOf({ authorization: 'Basic eDp5' }, false), 401);
  assert.equal(codeOf({ authorization: 'Bearer s' }, false), 403);
  assert.equal(codeOf({ authorization: 'Bearer a', host: 'ops.example.org' }, false), 200);
});

test('web pages get in from the own origin and from those that are named', () => {
  const token = { authorization: 'Bearer a' };
  assert.equal(codeOf({ ...token, origin: 'http://127.0.0.1:7480' }, false), 200);
  assert.equal(codeOf({ ...token, origin: 'https://127.0.0.1:7480' }, false), 200, 'behind a TLS proxy');
  for (const origin of ['http://127.0.0.1:8080', 'http://evil.example.org', 'null', '', 'x'])
    assert.equal(codeOf({ ...token, origin }, false), 403, origin);
  const named = 'https://ops.example.org';
  assert.equal(codeOf({ ...token, origin: named }, false), 403);
  assert.equal(codeOf({ ...token, origin: named }, false, [named]), 200);
});
