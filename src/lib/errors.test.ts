/** Tests of the error type and of the one line that people read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EdgeError, errorCode, errorMessage, UsageError } from './errors.ts';

/** An error as Node's system calls make it. */
function systemError(code: string, fields: Record<string, unknown> = {}): Error {
  return Object.assign(new Error(`${code}: raw text`), { code, ...fields });
}

test('an error carries its code, cause, hint and whether a retry may help', () => {
  const cause = new Error('underneath');
  const err = new EdgeError('EDGE_ERR_X_Y', 'text', { cause, hint: 'do this', retryable: true });
  assert.equal(err.code, 'EDGE_ERR_X_Y');
  assert.equal(err.cause, cause);
  assert.equal(err.hint, 'do this');
  assert.equal(err.retryable, true);
  const bare = new EdgeError('EDGE_ERR_X_Y', 'text');
  assert.equal(bare.retryable, false);
  assert.equal(bare.hint, undefined);
  assert.equal('cause' in bare, false);
});

test('a usage error is an EdgeError with a code of its own', () => {
  const err = new UsageError('wrong');
  assert.ok(err instanceof EdgeError);
  assert.equal(err.code, 'EDGE_ERR_USAGE');
  assert.equal(err.name, 'UsageError');
});

test('finds the code of any error, and none where there is none', () => {
  assert.equal(errorCode(systemError('ENOENT')), 'ENOENT');
  assert.equal(errorCode(new UsageError('x')), 'EDGE_ERR_USAGE');
  for (const value of [undefined, null, 'text', new Error('x'), { code: 5 }])
    assert.equal(errorCode(value), undefined);
});

test('system errors read as words with the address or path they concern', () => {
  const refused = systemError('ECONNREFUSED', { address: '127.0.0.1', port: 7443 });
  assert.equal(errorMessage(refused), '127.0.0.1:7443: connection refused');
  assert.equal(errorMessage(systemError('ENOENT', { path: '/etc/x' })), '/etc/x: no such file or directory');
  assert.equal(
    errorMessage(systemError('ENOTFOUND', { hostname: 'a.example.org' })),
    'a.example.org: no such host',
  );
  assert.equal(errorMessage(systemError('EPIPE')), 'broken pipe');
});

test('other errors give the first line of their message', () => {
  assert.equal(errorMessage(new Error('one\ntwo')), 'one');
  assert.equal(errorMessage('just text'), 'just text');
  assert.equal(errorMessage(undefined), 'undefined');
  assert.equal(errorMessage(systemError('EWEIRD')), 'EWEIRD: raw text');
});

test('of several attempts that failed the first is told', () => {
  const both = new AggregateError([
    systemError('ECONNREFUSED', { address: '::1', port: 1 }),
    new Error('second'),
  ]);
  assert.equal(errorMessage(both), '::1:1: connection refused');
  assert.equal(errorMessage(new AggregateError([], 'none')), 'none');
});
