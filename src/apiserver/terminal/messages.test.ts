/** Frames of terminals: what is a message, what is typing, what is refused, and that secrets stay out of errors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLogin } from './login.ts';
import { readMessage, readSize } from './messages.ts';

const text = (value: unknown) =>
  readMessage(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), false);

test('binary frames and texts that are no message are keystrokes', () => {
  for (const typed of ['ls -l\r', '', '{', '{"type":"resize"', '{"type":"other"}', '{}', '[1]']) {
    const bytes = Buffer.from(typed);
    assert.deepEqual(readMessage(bytes, false), { kind: 'keys', bytes }, typed);
  }
  const resize = Buffer.from('{"type":"resize","cols":1,"rows":1}');
  assert.deepEqual(readMessage(resize, true), { kind: 'keys', bytes: resize });
});

test('messages are read, and wrong ones say what is wrong', () => {
  assert.deepEqual(text({ type: 'resize', cols: 120, rows: '40' }), { kind: 'resize', cols: 120, rows: 40 });
  assert.deepEqual(text({ type: 'cmd', cmd: 'bHMK' }), { kind: 'keys', bytes: Buffer.from('ls\n') });
  assert.deepEqual(text({ type: 'ack', bytes: 5 }), { kind: 'ack', bytes: 5 });
  const auth = text({ type: 'auth', user: 'root', password: 'x' });
  assert.ok(auth.kind === 'auth' && auth.login.user === 'root' && auth.login.password === 'x');
  for (const [message, why] of [
    [{ type: 'resize', cols: 0, rows: 1 }, /^resize: /u],
    [{ type: 'resize', cols: 1, rows: 1e9 }, /^resize: /u],
    [{ type: 'resize', cols: 1.5, rows: 1 }, /^resize: /u],
    [{ type: 'resize' }, /^resize: /u],
    [{ type: 'cmd', cmd: '!' }, /^cmd: /u],
    [{ type: 'cmd' }, /^cmd: /u],
    [{ type: 'ack', bytes: -1 }, /^ack: /u],
    [{ type: 'auth', user: 'a b' }, /^user: /u],
    [{ type: 'auth', password: 7 }, /^password: /u],
  ] as const) {
    const read = text(message);
    assert.ok(read.kind === 'wrong', JSON.stringify(message));
    assert.match(read.why, why);
  }
});

test('sizes come as numbers or texts, and only those that a terminal can have', () => {
  assert.deepEqual(readSize('80', 24), { cols: 80, rows: 24 });
  for (const [cols, rows] of [
    [undefined, 1],
    ['', 1],
    [1, '0'],
    [1, 'x'],
    [1001, 1],
    [Number.NaN, 1],
  ])
    assert.equal(readSize(cols, rows), undefined);
});

test('a login is checked without showing what it holds', () => {
  const login = readLogin({ user: 'root', private_key: 'KEY', certificate: 'CERT', issue: 'true', other: 1 });
  assert.deepEqual(login, {
    user: 'root',
    password: undefined,
    privateKey: 'KEY',
    passphrase: undefined,
    certificate: 'CERT',
    issue: true,
  });
  for (const fields of [
    { user: '-l root' },
    { user: 'a\nb' },
    { user: 'a'.repeat(65) },
    { certificate: 'secret-text' },
    { password: ['secret-text'] },
    { password: 'secret-text'.repeat(200) },
    { private_key: { secret: 'secret-text' } },
  ]) {
    assert.throws(
      () => readLogin(fields),
      (err: { httpCode?: number; message: string }) =>
        err.httpCode === 400 && !err.message.includes('secret-text'),
    );
  }
});
